// UDP and raw ESP ports of the addon between two namespaces, on a cable with an MTU.
import { strict as assert } from 'node:assert';
import { createBurst, LARGEST_READ, Next, packetAt, slotStart } from '../../drivers/burst.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices } from '../../drivers/native/sockets.ts';
import { OperationalError } from '../../platform/errors.ts';
import { connectNamespaces, ip, withNamespace } from './namespaces.ts';
import { addressed, pattern, readAll } from './port-contract.ts';

const EMSGSIZE = 90;

describe('ports between two namespaces', () => {
  const a = withNamespace('out-a');
  const b = withNamespace('out-b');
  const devices = (): NativeDevices => new NativeDevices(requireNative());
  before(() => connectNamespaces(a, b));

  const PAIRS = [
    { family: 4, near: '192.0.2.1', far: '192.0.2.2', headers: 20 },
    { family: 6, near: '2001:db8::1', far: '2001:db8::2', headers: 40 },
  ];
  for (const { family, near, far, headers } of PAIRS) {
    it(`carries raw ESP over IPv${family} both ways, starting with the SPI`, async () => {
      const [left, right] = [devices().openEsp(a, near), devices().openEsp(b, far)];
      const out = createBurst();
      for (let i = 0; i < 50; i++) addressed(out, pattern(100 + i, i), { address: far, port: 0 });
      assert.equal(left.write(out, Next.seal), 50);
      const burst = await readAll(right, 50);
      for (let i = 0; i < 50; i++) {
        assert.deepEqual(packetAt(burst, i), pattern(100 + i, i));
        assert.equal(burst.offset[i], slotStart(i));
        assert.equal(burst.family[i], family);
        assert.equal(burst.port[i], 0);
      }
      // The remote's address of a read packet is the destination of the answer.
      burst.next.fill(Next.seal, 0, 50);
      assert.equal(right.write(burst, Next.seal), 50);
      assert.deepEqual(packetAt(await readAll(left, 50), 49), pattern(149, 49));
      left.close();
      right.close();
    });

    it(`reports EMSGSIZE over IPv${family} for each packet above the path's MTU and sends the others`, async () => {
      const [left, right] = [devices().openUdp(a, { address: near, port: 0 }), devices().openUdp(b, { address: far, port: 0 })];
      const fits = 1500 - headers - 8;
      const out = createBurst();
      for (const length of [fits, fits + 1, fits + 1, fits, 200, fits + 1]) addressed(out, pattern(length, length), right.local);
      assert.equal(left.write(out, Next.seal), 3);
      assert.deepEqual([...out.next.subarray(0, 6)], [Next.done, Next.drop, Next.drop, Next.done, Next.done, Next.drop]);
      assert.deepEqual([...out.reason.subarray(0, 6)], [0, -EMSGSIZE, -EMSGSIZE, 0, 0, -EMSGSIZE]);
      const burst = await readAll(right, 3);
      assert.deepEqual([...burst.length.subarray(0, 3)], [fits, fits, 200]);
      left.close();
      right.close();
    });

    it(`carries the traffic class over IPv${family} per packet`, async () => {
      const [left, right] = [devices().openUdp(a, { address: near, port: 0 }), devices().openUdp(b, { address: far, port: 0 })];
      const out = createBurst();
      const marks = [0, 0xb8, 0xb8, 0x02, 0];
      for (const mark of marks) out.mark[addressed(out, pattern(80, 1), right.local)] = mark;
      assert.equal(left.write(out, Next.seal), marks.length);
      assert.deepEqual([...(await readAll(right, marks.length)).mark.subarray(0, marks.length)], marks);
      left.close();
      right.close();
    });
  }

  it('gives an empty packet for a datagram that no slot holds, and keeps those behind it', async () => {
    for (const vr of [a, b]) ip('-n', vr, 'link', 'set', 'wan0', 'mtu', '9000');
    const [left, right] = [devices().openUdp(a, { address: '192.0.2.1', port: 0 }), devices().openUdp(b, { address: '192.0.2.2', port: 0 })];
    const out = createBurst();
    addressed(out, pattern(300, 1), right.local);
    const large = addressed(out, pattern(10, 2), right.local);
    out.length[large] = LARGEST_READ + 1;
    addressed(out, pattern(400, 3), right.local);
    assert.equal(left.write(out, Next.seal), 3);
    const burst = await readAll(right, 3);
    assert.deepEqual([0, 1, 2].map((i) => packetAt(burst, i)), [pattern(300, 1), new Uint8Array(0), pattern(400, 3)]);
    left.close();
    right.close();
    for (const vr of [a, b]) ip('-n', vr, 'link', 'set', 'wan0', 'mtu', '1500');
  });

  it('refuses packets that lie outside the arena', () => {
    const left = devices().openUdp(a, { address: '192.0.2.1', port: 0 });
    const out = createBurst();
    const runs = [[-1, 10], [0, -1], [out.bytes.length - 5, 6], [out.bytes.length, 1], [2 ** 31 - 1, 2 ** 31 - 1]] as const;
    for (const [offset, length] of runs) {
      const i = addressed(out, pattern(10, 1), { address: '192.0.2.2', port: 9 });
      out.offset[i] = offset;
      out.length[i] = length;
    }
    assert.equal(left.write(out, Next.seal), 0);
    assert.deepEqual([...out.reason.subarray(0, runs.length)], runs.map(() => -14));
    left.close();
  });

  it('keeps the names of the errors of bind', () => {
    const first = devices().openUdp(a, { address: '192.0.2.1', port: 4790 });
    const code = (wanted: string) => (error: unknown): boolean => error instanceof OperationalError && error.code === wanted;
    assert.throws(() => devices().openUdp(a, { address: '192.0.2.1', port: 4790 }), code('EADDRINUSE'));
    for (let i = 0; i < 200; i++) assert.throws(() => devices().openUdp(a, { address: '192.0.2.77', port: 4790 }), code('EADDRNOTAVAIL'));
    assert.throws(() => devices().openEsp('no-such-vr', '192.0.2.1'), code('ENOENT'));
    first.close();
  });
});
