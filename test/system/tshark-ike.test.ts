// Wireshark as the judge of exported IKE keys: with them it reads what only the two ends should know.
import { strict as assert } from 'node:assert';
import { CBC_IKE_PROPOSAL, CLASSIC_IKE_PROPOSAL, DEFAULT_IKE_PROPOSALS, type IkeProposal } from '../../firmware/ike/algorithms.ts';
import { ikeLine } from '../../firmware/services/wireshark-tables.ts';
import { pair } from '../ike/pair.ts';
import { ipv4Packet, pcapOf, udpDatagram } from './packet-capture.ts';
import { dissect } from './tshark.ts';

interface Recorded {
  readonly capture: Uint8Array;
  readonly lines: readonly string[];
}

/** An IKE SA that comes up and is rekeyed. */
function record(proposals: readonly IkeProposal[]): Recorded {
  const { world, branch, controller } = pair({ branch: { proposals }, controller: { proposals }, controllerOptions: { exportsKeys: () => true } });
  world.initiate(branch, controller, 'to-controller');
  world.run(500);
  world.input(branch, { kind: 'rekey-ike', ikeSa: 1 });
  world.run(500);
  const datagrams = world.packets.map(({ send }) => ipv4Packet(17, send.local.address, send.remote.address, udpDatagram(send.local.port, send.remote.port, send.bytes)));
  const lines = new Map(controller.of('session-keys').map(({ keys }) => [Buffer.from(keys.spiInitiator).toString('hex'), ikeLine(keys)!]));
  return { capture: pcapOf(datagrams), lines: [...lines.values()] };
}

function identities({ capture }: Recorded, lines: readonly string[]): readonly string[] {
  return dissect(capture, [], lines).flatMap((packet) => packet.values('isakmp.id.data.user_fqdn'));
}

describe('exported IKE keys', function () {
  this.timeout(60_000);

  for (const [cipher, proposal] of Object.entries({ 'AES-GCM': { ...CLASSIC_IKE_PROPOSAL, encryption: ['aes-256-gcm-16'] }, 'AES-CBC': CBC_IKE_PROPOSAL } satisfies Record<string, IkeProposal>)) {
    it(`let Wireshark read IKE_AUTH in ${cipher}, and nothing does without them`, () => {
      const recorded = record([proposal]);
      assert.deepEqual(new Set(identities(recorded, recorded.lines)), new Set(['b1@acme.example', 'c1@acme.example']));
      assert.deepEqual(identities(recorded, []), []);
    });
  }

  it('let Wireshark read IKE_AUTH after an additional key exchange, and an IKE SA after its rekey', () => {
    const recorded = record(DEFAULT_IKE_PROPOSALS);
    assert.equal(recorded.lines.length, 2, 'the first IKE SA and the one that replaces it');
    const packets = dissect(recorded.capture, [], recorded.lines);
    assert.ok(packets.some((packet) => packet.values('isakmp.id.data.user_fqdn').includes('b1@acme.example')));
    // The Delete of the old SA, and the nonces of the rekey inside the old SA's protection.
    assert.ok(packets.some((packet) => packet.values('isakmp.delete.protoid').length > 0));
  });
});
