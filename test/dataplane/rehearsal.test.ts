import assert from 'node:assert/strict';
import { createBurst, Next } from '../../drivers/burst.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { rehearse } from '../../firmware/dataplane/rehearsal.ts';

describe('rehearsal of a forwarder', () => {
  it('ends when its time is over', () => {
    let left = 14;
    assert.equal(rehearse(new PortableAead(), [createBurst(), createBurst()], { isOver: () => left-- === 0 }), 24);
  });

  it('carries every packet of its own, super-packets too, and leaves no key behind', () => {
    const aead = new PortableAead();
    const bursts = [createBurst(), createBurst()] as const;
    // Seven packets of the LAN, one of them a super-packet of two, two of other workers and one without a route, and one of the TVI in each round.
    assert.equal(rehearse(aead, bursts, { rounds: 14 }), 24);
    const [burst] = bursts;
    for (let handle = 0; handle < 12; handle++) {
      burst.sa[handle] = handle;
      burst.next[handle] = Next.seal;
      burst.esp[handle] = 0;
      burst.espLength[handle] = 100;
      burst.segment[handle] = 0;
    }
    burst.count = 12;
    aead.seal(burst, Next.seal, Next.send, 1);
    assert.ok(burst.next.subarray(0, 12).every((next) => next === Next.drop));
  });
});
