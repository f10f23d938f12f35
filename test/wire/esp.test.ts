import assert from 'node:assert/strict';
import {
  espBytes, espNextHeader, espPayloadBytes, espSequence, espSpi, isEsp, writeEspHeader, writeEspTrailer, ESP_PAYLOAD_OFFSET, ESP_SHORTEST_BYTES,
} from '../../firmware/wire/esp.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';

describe('ESP', () => {
  it('writes SPI, sequence number and the 64-bit number as IV', () => {
    const bytes = new Uint8Array(16);
    writeEspHeader(bytes, 0, 0x0200_24bc, 1, 0x8000_0001 | 0);
    assert.equal(toHex(bytes), '020024bc80000001' + '0000000180000001');
    assert.equal(espSpi(bytes, 0), 0x0200_24bc);
    assert.equal(espSequence(bytes, 0), 0x8000_0001);
  });

  it('pads every payload length to 4 octets with 1, 2, 3 and reads it back', () => {
    for (let payload = 0; payload <= 70; payload++) {
      const bytes = new Uint8Array(espBytes(payload));
      const end = ESP_PAYLOAD_OFFSET + payload;
      writeEspTrailer(bytes, end, payload, 47);
      assert.equal((bytes.length - ESP_PAYLOAD_OFFSET - 16) % 4, 0);
      assert.equal(espNextHeader(bytes, 0, bytes.length), 47);
      assert.equal(espPayloadBytes(bytes, 0, bytes.length), payload);
      assert.equal(toHex(bytes.subarray(end, bytes.length - 18)), toHex(fromHex('010203')).slice(0, 2 * (bytes.length - 18 - end)));
    }
  });

  it('costs 86 octets on IPv4 for the largest inner packet of a 1500-octet path', () => {
    assert.equal(20 + 8 + 8 + 8 + espBytes(4 + 4 + 1414), 1500);
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
      const payload = espPayloadBytes(bytes, 0, bytes.length);
      assert.ok(payload === -1 || (payload >= 0 && payload <= bytes.length - ESP_PAYLOAD_OFFSET - 18));
    }
  });
});
