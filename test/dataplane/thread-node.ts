// A forwarder on worker threads over real devices, for tests: its log, its events, and one end of a state.
import assert from 'node:assert/strict';
import { openDrivers } from '../../drivers/open.ts';
import { createWakeup } from '../../drivers/threads.ts';
import type { ForwarderEvent, ForwardingState } from '../../firmware/model.ts';
import { ThreadForwarder } from '../../firmware/services/forwarder-thread.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { sleep, SystemClock } from '../../platform/time.ts';
import { side } from './boxes.ts';

export class ThreadNode {
  readonly sink = new MemorySink();
  readonly events: ForwarderEvent[] = [];
  readonly handle: ThreadForwarder;

  constructor() {
    const log = new SinkLog([this.sink], () => 0).channel('forwarder');
    this.handle = new ThreadForwarder({
      devices: openDrivers().devices, clock: new SystemClock(), log, createWakeup, capacity: { tunnels: 16, sas: 16 },
    });
    this.handle.onEvent = (event) => this.events.push(event);
  }
}

/** The state of one end with its devices named, and only the insides that this test uses. */
export function threadState(end: 1 | 2, vr: string): ForwardingState {
  const state = side({ end, remote: `192.0.2.${3 - end}` });
  return {
    ...state,
    insides: state.insides.filter(({ kind }) => kind === 'encrypted-tvi').map((inside) => ({ ...inside, vr, name: `tvi-0/${end}` })),
    outsides: [{ id: 1, name: 'vni-0/0', vr, addresses: [`192.0.2.${end}`] }],
  };
}

/** Fails when the condition does not come about in ten seconds. */
export async function until(what: string, holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500; i++) {
    if (holds()) return;
    await sleep(20);
  }
  assert.fail(`never: ${what}`);
}
