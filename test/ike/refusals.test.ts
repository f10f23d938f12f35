import { equal, match, ok } from 'node:assert/strict';
import { NotifyType } from '../../firmware/wire/ike/numbers.ts';
import { decodeMessage, encodeMessage } from '../../firmware/wire/ike/message.ts';
import { notify } from '../../firmware/wire/ike/payloads.ts';
import { utf8 } from '../../platform/bytes.ts';
import { pair } from './pair.ts';

const OTHER_KEY = { kind: 'psk', key: utf8('some other key, as long as that') } as const;

describe('ike: refusals', () => {
  it('names a wrong pre-shared key on both ends', () => {
    const { world, branch, controller } = pair({ controller: { localAuth: OTHER_KEY, remoteAuth: OTHER_KEY } });
    // IKE_AUTH { IDi, AUTH, ... } -->   <-- { N(AUTHENTICATION_FAILED) }
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed')[0]?.cause, 'peer refuses: pre-shared key does not match');
    equal(controller.logged('IKE request refused')[0]?.['cause'], 'pre-shared key does not match');
    const [refused] = controller.of('peer-refused');
    equal(refused?.identity?.value, 'b1@acme.example');
    equal(refused?.cause, 'pre-shared key does not match');
    equal(controller.of('history')[0]?.entry.event, 'IKE Failed');
    world.run(60_000);
    equal(branch.endpoint.snapshot().ikeSas.length + controller.endpoint.snapshot().ikeSas.length, 0);
    equal(branch.endpoint.deadline(), undefined);
  });

  it('tells a responder whose key is wrong, when only its own is', () => {
    const { world, branch, controller } = pair({ controller: { localAuth: OTHER_KEY } });
    // <-- { IDr, AUTH, ... }   INFORMATIONAL { N(AUTHENTICATION_FAILED) } -->
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed')[0]?.cause, 'pre-shared key does not match');
    equal(controller.of('ike-down')[0]?.reason, 'peer refuses: pre-shared key does not match');
    equal(controller.of('child-down').length, 1);
  });

  it('refuses a responder with another identity than expected', () => {
    const { world, branch, controller } = pair({ branch: { remoteIdentity: { kind: 'email', value: 'c2@acme.example' } } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed')[0]?.cause, 'the peer presents the identity c1@acme.example, expected is c2@acme.example');
  });

  it('names an identity that nobody knows', () => {
    const { world, branch, controller } = pair({ controller: { remoteAuth: { kind: 'lookup' } }, controllerOptions: { lookupPeer: () => undefined } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed')[0]?.cause, 'peer refuses: the identity b1@acme.example is not known');
  });

  it('uses the key that is looked up for a peer both ways', () => {
    const { world, branch, controller } = pair({
      branch: { localAuth: OTHER_KEY, remoteAuth: OTHER_KEY },
      controller: { localAuth: { kind: 'lookup' }, remoteAuth: { kind: 'lookup' } },
      controllerOptions: { lookupPeer: (_profile, identity) => (identity.value === 'b1@acme.example' ? OTHER_KEY : undefined) },
    });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('ike-up').length, 1, world.story());
  });

  it('passes the cause of an authorization refusal to the initiator', () => {
    const cause = 'serial SN-1 is not enrolled for identity b1@acme.example';
    const { world, branch, controller } = pair({ branch: { deviceSerial: 'SN-1' }, controllerOptions: { authorize: () => ({ ok: false, cause }) } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed')[0]?.cause, `peer refuses: ${cause}`);
    equal(controller.of('peer-refused')[0]?.serial, 'SN-1');
  });

  it('reports an unacceptable IKE proposal after the time that a better answer would have had', () => {
    const { world, branch, controller } = pair({ controller: { proposals: [{ encryption: ['aes-128-gcm-16'], prf: ['sha256'], groups: [20] }] }, branch: { proposals: [{ encryption: ['aes-256-gcm-16'], prf: ['sha256'], groups: [31] }] } });
    world.initiate(branch, controller, 'to-controller');
    world.run(1000);
    equal(branch.of('connect-failed').length, 0);
    world.run(5000);
    const [failed] = branch.of('connect-failed');
    equal(failed?.cause, 'the peer answered NO_PROPOSAL_CHOSEN to IKE_SA_INIT');
    equal(failed?.nextStep, 'compare the IKE proposals of both ends');
    equal(controller.endpoint.snapshot().ikeSas.length, 0);
  });

  it('is not stopped by a forged refusal of IKE_SA_INIT', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    const { header } = decodeMessage(world.packets[0]!.send.bytes);
    const bytes = encodeMessage({ ...header, fromInitiator: false, response: true }, [notify(NotifyType.NO_PROPOSAL_CHOSEN)]);
    world.input(branch, { kind: 'datagram', socket: 'wan', natt: false, local: { address: branch.address, port: 500 }, remote: { address: controller.address, port: 500 }, bytes });
    world.run(10_000);
    equal(branch.of('ike-up').length, 1, world.story());
    equal(branch.of('connect-failed').length, 0);
  });

  it('reports an unacceptable ESP proposal on both ends and leaves nothing behind', () => {
    const { world, branch, controller } = pair({
      branch: { childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [true], groups: [], pfs: 'none' }] },
      controller: { childProposals: [{ encryption: ['aes-256-gcm-16'], esn: [false], groups: [], pfs: 'none' }] },
    });
    world.initiate(branch, controller, 'to-controller');
    world.run(20_000);
    equal(branch.of('connect-failed')[0]?.cause, 'the peer refuses the child SA: peer offered only esn; allowed: no-esn');
    equal(controller.of('ike-down').length, 1);
    equal(branch.endpoint.snapshot().ikeSas.length + controller.endpoint.snapshot().ikeSas.filter((sa) => sa.state !== 'closed').length, 0);
  });

  it('gives up on a silent peer and says what to check', () => {
    const { world, branch } = pair();
    world.initiate(branch, '192.0.2.200', 'to-controller');
    world.run(120_000);
    const [failed] = branch.of('connect-failed');
    equal(failed?.cause, 'the peer did not answer 6 sendings');
    match(failed!.nextStep, /UDP 500 and 4500/);
    const gaps = world.packets.slice(1).map((packet, i) => packet.index - world.packets[i]!.index);
    ok(gaps.every((gap) => gap === 1));
    equal(world.packets.length, 6);
    equal(branch.endpoint.deadline(), undefined);
  });

  it('answers a message for an unknown SPI with INVALID_IKE_SPI, at most ten a second', () => {
    const { world, branch, controller } = pair();
    world.initiate(branch, controller, 'to-controller');
    world.run(100);
    const auth = world.packets.find((packet) => packet.from === branch && packet.send.bytes[18] === 35)!.send.bytes.slice();
    auth[8]! ^= 1;
    const before = world.packets.length;
    for (let i = 0; i < 50; i++) {
      world.input(controller, { kind: 'datagram', socket: 'wan', natt: false, local: { address: controller.address, port: 500 }, remote: { address: '203.0.113.7', port: 500 }, bytes: auth });
    }
    const answers = world.packets.slice(before);
    equal(answers.length, 10);
    const { payloads } = decodeMessage(answers[0]!.send.bytes);
    ok(payloads[0]?.kind === 'Notify' && payloads[0].type === NotifyType.INVALID_IKE_SPI);
  });
});
