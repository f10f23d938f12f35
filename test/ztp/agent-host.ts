// What an agent under test runs on: real connections over the loopback interface, everything else in memory.
import assert from 'node:assert/strict';
import type { Site } from '../../firmware/services/service.ts';
import { NodeNetwork } from '../../drivers/portable/sockets.ts';
import { Alarms } from '../../platform/alarms.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SystemRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import type { Store } from '../../platform/store.ts';
import { FlooredClock } from '../../platform/time-floor.ts';
import { SystemClock, sleep } from '../../platform/time.ts';
import { suite } from '../director/director-fixture.ts';

export interface AgentHost {
  readonly site: Site;
  /** Which VRs were asked for. */
  readonly vrs: (string | undefined)[];
  readonly log: MemorySink;
}

export interface HostNetwork {
  /** Of the loopback interface; Director counts requests by address. */
  readonly address?: string;
  /** Asked with every piece that comes from Director; when it says so, the connection breaks. */
  readonly cuts?: (bytes: number) => boolean;
}

export function host(name: string, store: Store = new MemoryStore(), clock: SystemClock | FlooredClock = new SystemClock(), { address, cuts = () => false }: HostNetwork = {}): AgentHost {
  const log = new MemorySink();
  const vrs: (string | undefined)[] = [];
  const real = new NodeNetwork();
  const network: Site['network'] = {
    openDatagram: (options) => real.openDatagram(options),
    listenStream: (options) => real.listenStream(options),
    connectStream(options) {
      vrs.push(options.vr);
      const { handlers } = options;
      const stream = real.connectStream({
        ...options,
        vr: undefined,
        localAddress: address,
        handlers: {
          onConnected: () => handlers.onConnected(),
          onClosed: (error) => handlers.onClosed(error),
          onData: (bytes) => {
            if (cuts(bytes.length)) stream.close();
            else handlers.onData(bytes);
          },
        },
      });
      return stream;
    },
  };
  const kernel: Site['kernel'] = { ensureVr: async () => {}, adoptDevice: async () => {}, releaseDevice: async () => {}, apply: async () => {}, removeVr: async () => {} };
  const sinkLog = new SinkLog([log], () => clock.unixMs());
  const alarms = new Alarms(sinkLog.channel('alarms'), () => clock.unixMs());
  const wrong = clock instanceof FlooredClock ? { timeFloor: clock, suite: new RealSuite(() => clock.behindMs > 0) } : { suite };
  return { vrs, log, site: { name, clock, random: new SystemRandom(), ...wrong, log: sinkLog, alarms, store, network, kernel } };
}

export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (await holds()) return;
    await sleep(20);
  }
  assert.fail(`never came: ${what}`);
}
