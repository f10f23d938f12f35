import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { sha1 } from '../../firmware/ike/sha1.ts';
import { concat } from '../../platform/bytes.ts';
import { SeededRandom } from '../../platform/random.ts';
import { natHash, OracleInitiator } from '../oracle/ike-initiator.ts';
import type { Node, World } from './pair.ts';
import { KEY, pair } from './pair.ts';

const REMOTE = { address: '192.0.2.50', port: 500 };
const ESP_SPI = Uint8Array.of(0xc0, 0xff, 0xee, 0x01);

function send(world: World, controller: Node, bytes: Uint8Array): Uint8Array {
  const before = world.packets.length;
  world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: REMOTE, bytes: new Uint8Array(bytes) });
  equal(world.packets.length, before + 1);
  return world.packets.at(-1)!.send.bytes;
}

describe('ike: against an independent initiator', () => {
  function established(key: Uint8Array = KEY): { world: World; controller: Node; oracle: OracleInitiator; payloads: ReturnType<OracleInitiator['open']> } {
    const { world, controller } = pair();
    const random = new SeededRandom('oracle');
    const oracle = new OracleInitiator('b9@acme.example', key, (length) => random.bytes(length));
    oracle.takeInitAnswer(send(world, controller, oracle.initRequest()));
    return { world, controller, oracle, payloads: oracle.open(send(world, controller, oracle.authRequest(ESP_SPI))) };
  }

  it('completes IKE_SA_INIT and IKE_AUTH and proves itself to it', () => {
    const { controller, oracle, payloads } = established();
    deepStrictEqual(payloads.map((payload) => payload.type), [36, 39, 33, 44, 45]);
    ok(oracle.responderIsAuthentic(payloads));
    equal(controller.of('ike-up')[0]?.remoteIdentity.value, 'b9@acme.example');
    equal(controller.of('ike-up')[0]?.nat.local, false);
  });

  it('derives the same child keys', () => {
    const { controller, oracle } = established();
    const [child] = controller.of('child-up');
    const keys = oracle.childKeys();
    deepStrictEqual(Buffer.from(concat(child!.inbound.key, child!.inbound.salt)), keys.out);
    deepStrictEqual(Buffer.from(concat(child!.outbound.key, child!.outbound.salt)), keys.in);
    equal(child!.outbound.spi, 0xc0ffee01);
    equal(child!.inbound.esn, false);
  });

  it('sends no cause and no private notify to a peer without our Vendor ID', () => {
    const { payloads } = established(Uint8Array.of(...KEY, 1));
    deepStrictEqual(payloads.map((payload) => [payload.type, payload.body.toString('hex')]), [[41, '00000018']]);
  });

  it('answers liveness, a child Delete and an IKE Delete', () => {
    const { world, controller, oracle } = established();
    const inbound = controller.of('child-up')[0]!.inbound.spi;
    deepStrictEqual(oracle.open(send(world, controller, oracle.informational([]))), []);
    const deletion = oracle.open(send(world, controller, oracle.informational([{ type: 42, body: Buffer.from([3, 4, 0, 1, ...ESP_SPI]) }])));
    deepStrictEqual(deletion.map((payload) => [payload.type, payload.body.toString('hex')]), [[42, `03040001${inbound.toString(16).padStart(8, '0')}`]]);
    equal(controller.of('child-down')[0]?.reason, 'the peer deleted it');
    deepStrictEqual(oracle.open(send(world, controller, oracle.informational([{ type: 42, body: Buffer.from([1, 0, 0, 0]) }]))), []);
    equal(controller.of('ike-down').length, 1);
  });

  it('has the SHA-1 that everybody else has', () => {
    const random = new SeededRandom('sha1');
    for (let length = 0; length < 200; length++) {
      const bytes = random.bytes(length);
      deepStrictEqual(Buffer.from(sha1(bytes)), natHash(bytes));
    }
  });
});
