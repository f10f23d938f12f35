import assert from 'node:assert/strict';
import {
  espBytes, espNextHeader, espPayloadBytes, espSequence, espPayloadOffset, espSpi, isEsp, writeEspHeader, writeEspTrailer, ESP_SHORTEST_BYTES,
} from '../../firmware/wire/esp.ts';
import { toHex } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';

/** IV, ICV and block: AEADs, and AES-CBC with HMAC-SHA2-256 and -512. */
const AEAD = [8, 16, 4] as const;
const SHAPES = [AEAD, [16, 16, 16], [16, 32, 16]] as const;

describe('ESP', () => {
  it('writes SPI, sequence number and the 64-bit number as IV', () => {
    const bytes = new Uint8Array(16);
    writeEspHeader(bytes, 0, 8, 0x0200_24bc, 1, 0x8000_0001 | 0);
    assert.equal(toHex(bytes), '020024bc80000001' + '0000000180000001');
    assert.equal(espSpi(bytes, 0), 0x0200_24bc);
    assert.equal(espSequence(bytes, 0), 0x8000_0001);
  });

  it('leaves zeros behind the number where AES-CBC has its IV', () => {
    const bytes = new Uint8Array(32).fill(9);
    writeEspHeader(bytes, 0, 16, 0x0200_24bc, 1, 2);
    assert.equal(toHex(bytes), '020024bc00000002' + '0000000100000002' + '0000000000000000' + '0909090909090909');
  });

  for (const [iv, icv, block] of SHAPES) {
    it(`pads every payload length to ${block} octets with 1, 2, 3 ... in front of ${icv} octets of ICV and reads it back`, () => {
      for (let payload = 0; payload <= 70; payload++) {
        const bytes = new Uint8Array(espBytes(payload, iv, icv, block));
        const end = espPayloadOffset(iv) + payload;
        writeEspTrailer(bytes, end, payload, block, 47);
        assert.equal((bytes.length - espPayloadOffset(iv) - icv) % block, 0);
        assert.equal(espNextHeader(bytes, 0, bytes.length, icv), 47);
        assert.equal(espPayloadBytes(bytes, 0, bytes.length, iv, icv), payload);
        const padding = [...bytes.subarray(end, bytes.length - icv - 2)];
        assert.ok(padding.length < block);
        assert.deepEqual(padding, padding.map((_, i) => i + 1));
      }
    });
  }

  it('costs 86 octets on IPv4 for the largest inner packet of a 1500-octet path', () => {
    assert.equal(20 + 8 + 8 + 8 + espBytes(4 + 4 + 1414, ...AEAD), 1500);
  });

  it('refuses what is too short, and the reserved SPIs', () => {
    const bytes = new Uint8Array(64).fill(1);
    assert.ok(!isEsp(bytes, 0, ESP_SHORTEST_BYTES - 1));
    assert.ok(isEsp(bytes, 0, ESP_SHORTEST_BYTES));
    assert.ok(!isEsp(Uint8Array.of(0, 0, 0, 255, ...bytes), 0, 64));
  });

  it('refuses every pad length that reaches into the header', () => {
    const random = new SeededRandom('esp');
    for (let i = 0; i < 2000; i++) {
      const bytes = random.bytes(ESP_SHORTEST_BYTES + 4 * (random.uint32() % 8));
      const payload = espPayloadBytes(bytes, 0, bytes.length, 8, 16);
      assert.ok(payload === -1 || (payload >= 0 && payload <= bytes.length - espPayloadOffset(8) - 18));
    }
  });
});
