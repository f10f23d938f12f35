// The sockets of IKE follow the configuration.
import { deepStrictEqual } from 'node:assert/strict';
import type { DatagramOptions } from '../../drivers/port.ts';
import type { IkeEndpoint } from '../../firmware/ike/endpoint.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import { IkeService } from '../../firmware/services/ike.ts';
import type { Site } from '../../firmware/services/service.ts';
import { SinkLog } from '../../platform/log.ts';
import { ManualClock } from './manual-clock.ts';

function make(): { service: IkeService; open: string[] } {
  const open: string[] = [];
  const openDatagram = ({ vr, local }: DatagramOptions): { send(): void; close(): void } => {
    const what = `${vr} ${local.address}`;
    open.push(what);
    return { send: () => undefined, close: () => void open.splice(open.indexOf(what), 1) };
  };
  const site = { clock: new ManualClock(), log: new SinkLog([], () => 0), network: { openDatagram } } as unknown as Site;
  const endpoint = { handle: () => undefined, poll: () => undefined, deadline: () => undefined } as unknown as IkeEndpoint;
  const forwarding = new ForwardingService(site, {} as ForwarderHandle);
  const service = new IkeService(site, forwarding, endpoint, { tunnelContext: () => 'none', onOutput: () => undefined });
  return { service, open };
}

describe('services/ike sockets', () => {
  it('listens on the new address of a circuit, and no longer on the former one', () => {
    const { service, open } = make();
    service.openSocket('wan:1:4', 'A-Transport-VR', '192.0.2.1');
    service.openSocket('wan:1:4', 'A-Transport-VR', '192.0.2.1');
    service.openSocket('wan:1:4', 'A-Transport-VR', '192.0.2.7');
    deepStrictEqual(open, ['A-Transport-VR 192.0.2.7']);
  });

  it('closes the sockets that are no longer configured', () => {
    const { service, open } = make();
    service.openSocket('wan:1:4', 'A-Transport-VR', '192.0.2.1');
    service.openSocket('clear:2', 'Org-Control-VR', '10.0.0.2');
    service.retainSockets(new Set(['clear:2']));
    deepStrictEqual(open, ['Org-Control-VR 10.0.0.2']);
  });
});
