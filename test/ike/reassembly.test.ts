import { deepStrictEqual, equal } from 'node:assert/strict';
import { Reassembly } from '../../firmware/ike/reassembly.ts';

describe('ike: reassembly', () => {
  it('gives the whole when the last fragment is in, whatever its place', () => {
    const reassembly = new Reassembly();
    equal(reassembly.add(1, { number: 2, total: 3 }, Uint8Array.of(2), 0), undefined);
    equal(reassembly.add(1, { number: 3, total: 3 }, Uint8Array.of(3), 0), undefined);
    equal(reassembly.add(1, { number: 3, total: 3 }, Uint8Array.of(9), 0), undefined);
    deepStrictEqual(reassembly.add(1, { number: 1, total: 3 }, Uint8Array.of(1), 35), { inner: Uint8Array.of(1, 2, 3), firstPayload: 35 });
  });

  it('begins anew when the sender turns to smaller fragments, and ignores the larger ones then', () => {
    const reassembly = new Reassembly();
    reassembly.add(1, { number: 1, total: 2 }, Uint8Array.of(1), 35);
    reassembly.add(1, { number: 1, total: 3 }, Uint8Array.of(1), 35);
    equal(reassembly.add(1, { number: 2, total: 2 }, Uint8Array.of(2), 0), undefined);
    reassembly.add(1, { number: 2, total: 3 }, Uint8Array.of(2), 0);
    deepStrictEqual(reassembly.add(1, { number: 3, total: 3 }, Uint8Array.of(3), 0)?.inner, Uint8Array.of(1, 2, 3));
  });

  it('holds one message at a time', () => {
    const reassembly = new Reassembly();
    reassembly.add(1, { number: 1, total: 2 }, Uint8Array.of(1), 35);
    reassembly.add(2, { number: 1, total: 2 }, Uint8Array.of(1), 35);
    equal(reassembly.add(1, { number: 2, total: 2 }, Uint8Array.of(2), 0), undefined);
  });

  it('takes neither more than 64 fragments nor more than 32 KiB', () => {
    const reassembly = new Reassembly();
    equal(reassembly.add(1, { number: 1, total: 65 }, Uint8Array.of(1), 35), undefined);
    for (let number = 1; number <= 9; number++) equal(reassembly.add(2, { number, total: 9 }, new Uint8Array(4096), 35), undefined);
  });
});
