// Control traffic (IKE, BGP, probes) keeps flowing when the data path is saturated: every port is served once per breath
// with a bounded burst, whatever waits elsewhere, and what does not fit is dropped and counted where it came from.
import assert from 'node:assert/strict';
import { BURST_PACKETS } from '../../drivers/burst.ts';
import { ipDestinationAt } from '../../firmware/wire/ip.ts';
import { FakeAead } from '../sim/fake-aead.ts';
import { pair, settle, udpPacket, type Pair } from './boxes.ts';

const BREATHS = 20;
const DATA = udpPacket('10.1.0.5', '10.2.0.7', 200);
const CONTROL = udpPacket('10.255.0.1', '10.255.0.2', 60, [179, 179]);

/** As many LAN packets as the queue takes, so that the forwarder never finds it empty. */
function flood({ a }: Pair): void {
  const lan = a.hosts.get(103)!;
  for (let i = 0; i < BURST_PACKETS; i++) lan.send(DATA);
}

function countControl({ b }: Pair): number {
  let count = 0;
  const tvi = b.hosts.get(102)!;
  for (let packet = tvi.take(); packet !== undefined; packet = tvi.take()) if (packet[ipDestinationAt(packet, 0)] === 10) count++;
  return count;
}

describe('fairness', () => {
  it('control packets of the encrypted TVI leave with the very breath in which a LAN floods', () => {
    const made = pair({}, () => new FakeAead());
    for (let breath = 1; breath <= BREATHS; breath++) {
      flood(made);
      made.a.hosts.get(102)!.send(CONTROL);
      made.a.breathe();
      made.b.breathe();
      assert.equal(countControl(made), 1, `breath ${breath}`);
      const lan = made.b.hosts.get(103)!;
      while (lan.take() !== undefined);
    }
  });

  it('IKE of the control plane leaves at once while a LAN floods', () => {
    const made = pair({}, () => new FakeAead());
    for (let breath = 0; breath < 20; breath++) {
      flood(made);
      made.a.forwarder.sendIke(1, { address: made.b.address, port: 4500 }, Uint8Array.of(breath, 2, 3, 4, 5, 6, 7, 8));
      made.a.breathe();
      made.b.breathe();
      const heard = made.b.eventsOf('ike').map(({ bytes }) => bytes[0]);
      assert.equal(heard.at(-1), breath);
      const lan = made.b.hosts.get(103)!;
      while (lan.take() !== undefined);
    }
  });

  it("one tenant's flood takes no breath from another tenant's LAN", () => {
    const made = pair({}, () => new FakeAead());
    // The link of a LAN that no state speaks of is emptied as well, so it counts for nothing.
    made.a.link(203);
    for (let breath = 0; breath < 50; breath++) {
      flood(made);
      made.a.hosts.get(203)!.send(DATA);
      made.a.breathe();
      assert.equal(made.a.hosts.get(203)!.lost, 0);
    }
  });

  it('a full queue drops what does not fit, counts it, and goes on when there is room again', () => {
    const made = pair({}, () => new FakeAead());
    // Nobody takes from the far LAN: its queue fills up.
    for (let breath = 0; breath < 20; breath++) {
      flood(made);
      made.a.breathe();
      made.b.breathe();
    }
    const far = made.b.hosts.get(103)!;
    const kept = far.waiting;
    assert.ok(kept > 0);
    while (far.take() !== undefined);
    made.a.hosts.get(103)!.send(DATA);
    settle(made.a, made.b);
    assert.ok(far.waiting > 0);
  });
});
