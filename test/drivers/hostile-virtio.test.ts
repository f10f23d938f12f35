// Virtio headers that no kernel of good faith writes. The addon reads them from any descriptor, so a UDP socket plays
// the device: each datagram is a header and what it claims to describe.
import { strict as assert } from 'node:assert';
import { createBurst, LARGEST_READ, Next, OUTPUT_START, packetsIn, type Burst } from '../../drivers/burst.ts';
import { NativeAead } from '../../drivers/native/aead.ts';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeDevices } from '../../drivers/native/sockets.ts';
import type { DatagramPort } from '../../drivers/port.ts';
import { PortableAead } from '../../drivers/portable/aead.ts';
import { equalBytes } from '../../platform/bytes.ts';
import { randomBelow, SeededRandom } from '../../platform/random.ts';
import { withNamespace } from './namespaces.ts';
import { addressed } from './port-contract.ts';

const HEADER_BYTES = 10;
const ROUNDS = 1500;
const KEY = { suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(3), salt: new Uint8Array(4), esn: true } as const;
const OUTER_BYTES = 40;
const ESP_AT = 16;

/** Mostly something that could be meant, with every field wrong now and then. */
function hostile(random: SeededRandom): Uint8Array {
  const [v6, udp] = [randomBelow(random, 2) === 1, randomBelow(random, 2) === 1];
  const transport = v6 ? 40 : 20;
  const length = 1 + randomBelow(random, [60, 1500, 20_000][randomBelow(random, 3)]!);
  const bytes = random.bytes(HEADER_BYTES + length);
  const view = new DataView(bytes.buffer);
  const odd = (usual: number): number => (randomBelow(random, 6) === 0 ? random.uint32() & 0xffff : usual);
  bytes[0] = randomBelow(random, 8) === 0 ? random.uint32() : 1;
  bytes[1] = [0, udp ? 5 : v6 ? 4 : 1, udp ? 5 : v6 ? 4 : 1, random.uint32() & 255][randomBelow(random, 4)]!;
  view.setUint16(2, odd(transport + 20), true);
  view.setUint16(4, odd([1, 64, 536, 1360][randomBelow(random, 4)]!), true);
  view.setUint16(6, odd(transport), true);
  view.setUint16(8, odd(udp ? 6 : 16), true);
  if (randomBelow(random, 8) > 0) bytes[HEADER_BYTES] = v6 ? 0x60 : 0x45;
  if (randomBelow(random, 4) > 0 && length > transport + 12) bytes[HEADER_BYTES + transport + 12] = 0x50;
  return bytes;
}

/** Readies row `i` for sealing as the forwarder would. */
function wrap(burst: Burst, i: number, handle: number): void {
  const inner = burst.offset[i]!;
  burst.bytes.fill(0x11, inner - OUTER_BYTES, inner);
  burst.offset[i] = inner - OUTER_BYTES;
  burst.esp[i] = inner - OUTER_BYTES + ESP_AT;
  burst.sa[i] = handle;
  burst.trailer[i] = 47;
  burst.seqHi[i] = 0x1111_1111;
  burst.next[i] = Next.seal;
  burst.length[i]! += OUTER_BYTES;
  if (burst.segment[i]! > 0) burst.inner[i] = inner;
  else burst.espLength[i] = (burst.length[i]! - ESP_AT + 2 + 16 + 3) & ~3;
}

describe('hostile virtio headers', () => {
  const vr = withNamespace('virtio');
  let device: DatagramPort;
  let host: DatagramPort;
  before(() => {
    const devices = new NativeDevices(requireNative());
    device = devices.openUdp(vr, { address: '127.0.0.1', port: 0 });
    host = devices.openUdp(vr, { address: '127.0.0.1', port: 0 });
  });
  after(() => {
    device.close();
    host.close();
  });

  function offer(bytes: Uint8Array): void {
    const out = createdOnce.out;
    out.count = 0;
    const i = addressed(out, bytes.subarray(0, 0), device.local);
    out.bytes.set(bytes, out.offset[i]);
    out.length[i] = bytes.length;
    assert.equal(host.write(out, out.next[i]!), 1);
  }

  const createdOnce = { out: createBurst(), burst: createBurst(), twin: createBurst() };

  it('become rows that lie in the arena and that both engines seal alike, or empty packets', () => {
    const random = new SeededRandom('virtio');
    const addon = requireNative();
    const engines = [new NativeAead(addon), new PortableAead()] as const;
    const handles = engines.map((engine) => engine.install(KEY));
    let [supers, empty] = [0, 0];
    for (let round = 0; round < ROUNDS; round++) {
      offer(hostile(random));
      const { burst, twin } = createdOnce;
      burst.count = addon.readTun(device.fd, burst.memory, 0);
      assert.ok(burst.count <= 1);
      if (burst.count === 0) continue;
      const [start, length, segment, headers] = [burst.offset[0]!, burst.length[0]!, burst.segment[0]!, burst.headers[0]!];
      assert.ok(start > 0 && length >= 0 && start + length <= OUTPUT_START);
      if (length === 0) {
        assert.equal(segment, 0);
        empty++;
        continue;
      }
      if (segment > 0) assert.ok(headers + segment <= LARGEST_READ && headers < length && burst.transport[0]! < headers && packetsIn(burst, 0) >= 1);
      else assert.ok(length <= LARGEST_READ);
      wrap(burst, 0, handles[0]!);
      new Uint8Array(twin.memory, 0, burst.bytes.byteOffset).set(new Uint8Array(burst.memory, 0, burst.bytes.byteOffset));
      twin.bytes.set(burst.bytes.subarray(burst.offset[0], burst.offset[0]! + burst.length[0]! + 64), burst.offset[0]);
      twin.count = 1;
      twin.sa[0] = handles[1]!;
      engines[0].seal(burst, Next.seal, Next.send, 1);
      engines[1].seal(twin, Next.seal, Next.send, 1);
      assert.deepEqual([burst.next[0], burst.offset[0], burst.length[0], burst.segment[0]], [twin.next[0], twin.offset[0], twin.length[0], twin.segment[0]]);
      const [from, to] = segment > 0 ? [burst.offset[0]!, burst.offset[0]! + burst.length[0]!] : [burst.esp[0]!, burst.esp[0]! + burst.espLength[0]!];
      assert.ok(equalBytes(burst.bytes.slice(from, to), twin.bytes.slice(from, to)), `round ${round}`);
      if (segment > 0) supers++;
    }
    assert.ok(supers > ROUNDS / 20 && empty > ROUNDS / 20, `${supers} super-packets, ${empty} empty packets`);
  });
});
