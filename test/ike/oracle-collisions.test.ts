// Exchanges that cross on the wire (RFC 7296 2.8.1, 2.8.2, 2.25), with a peer that shares no code with ours and whose
// nonces decide who wins.
import { deepStrictEqual, equal } from 'node:assert/strict';
import type { ChildUp } from '../../firmware/ike/input-output.ts';
import { concat } from '../../platform/bytes.ts';
import { notifiesOf, payload } from '../oracle/ike-session.ts';
import { FIRST_SPI, OracleWorld } from './oracle-world.ts';

const TEMPORARY_FAILURE = 43;
const CHILD_SA_NOT_FOUND = 44;
const CREATE_CHILD_SA = 36;
const INFORMATIONAL = 37;
const LOWEST = Buffer.alloc(24);
const HIGHEST = Buffer.alloc(24, 0xff);
const SECOND_SPI = Buffer.from('c0ffee02', 'hex');
const THIRD_SPI = Buffer.from('c0ffee03', 'hex');
const IKE_SPI = Buffer.from('0badcafe00000001', 'hex');
const OTHER_IKE_SPI = Buffer.from('0badcafe00000002', 'hex');

function keysOf({ inbound, outbound }: ChildUp): Buffer[] {
  return [Buffer.from(concat(inbound.key, inbound.salt)), Buffer.from(concat(outbound.key, outbound.salt))];
}

describe('ike: collisions with an independent peer', () => {
  for (const loser of ['theirs', 'ours'] as const) {
    it(`child rekeys that cross: the child of the lowest nonce goes, when that is ${loser}`, () => {
      const oracle = new OracleWorld();
      const { controller, session } = oracle;
      const { child } = controller.of('child-up')[0]!;
      // CREATE_CHILD_SA { N(REKEY_SA) } -->   <-- CREATE_CHILD_SA { N(REKEY_SA) }
      const [request] = oracle.orders({ kind: 'rekey-child', child });
      const ours = session.request(CREATE_CHILD_SA, session.child(SECOND_SPI, loser === 'theirs' ? LOWEST : HIGHEST, FIRST_SPI));
      const made = session.takeAnswer(oracle.answerTo(ours));
      const theirs = session.open(request!).payloads;
      const [next] = oracle.says(session.answer(request!, session.child(THIRD_SPI, loser === 'ours' ? LOWEST : HIGHEST)));
      // Each end deletes the child that it made in vain; the winner deletes the old one.
      const deletion = session.open(next!);
      equal(deletion.exchange, INFORMATIONAL);
      const gone = payload(deletion.payloads, 42).subarray(4);
      const oursAt = payload(theirs, 33).subarray(8, 12);
      const theirsAt = payload(made, 33).subarray(8, 12);
      deepStrictEqual(gone, loser === 'ours' ? oursAt : oracle.first);
      oracle.says(session.answer(next!, [session.deleteChild(loser === 'ours' ? THIRD_SPI : FIRST_SPI)]));
      const mine = loser === 'theirs' ? SECOND_SPI : FIRST_SPI;
      session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteChild(mine)])));
      const survivor = loser === 'ours' ? `${theirsAt.toString('hex')}/c0ffee02` : `${oursAt.toString('hex')}/c0ffee03`;
      deepStrictEqual(oracle.children(), [survivor], oracle.world.story());
      const up = controller.of('child-up').find(({ inbound }) => survivor.startsWith(inbound.spi.toString(16).padStart(8, '0')))!;
      const keys = loser === 'ours' ? session.childKeys(HIGHEST, payload(made, 40)) : session.childKeys(payload(theirs, 40), HIGHEST);
      deepStrictEqual(keysOf(up), loser === 'ours' ? [keys.fromInitiator, keys.fromResponder] : [keys.fromResponder, keys.fromInitiator]);
    });
  }

  it('a child that is being deleted is not rekeyed, for the moment', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: oracle.controller.of('child-up')[0]!.child });
    const [deletion] = oracle.says(session.answer(request!, session.child(SECOND_SPI, HIGHEST)));
    // INFORMATIONAL { D(old) } -->   <-- CREATE_CHILD_SA { N(REKEY_SA, old) }
    const refused = session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(THIRD_SPI, HIGHEST, FIRST_SPI))));
    deepStrictEqual(notifiesOf(refused), [TEMPORARY_FAILURE]);
    oracle.says(session.answer(deletion!, [session.deleteChild(FIRST_SPI)]));
    equal(oracle.children().length, 1);
  });

  it('a child that the peer has replaced and never deletes is deleted here', () => {
    const oracle = new OracleWorld();
    const { session, world } = oracle;
    session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(SECOND_SPI, HIGHEST, FIRST_SPI))));
    const before = world.packets.length;
    world.run(59_000);
    equal(world.packets.length, before);
    world.run(1_000);
    const deletion = Buffer.from(world.packets[before]!.send.bytes);
    deepStrictEqual(payload(session.open(deletion).payloads, 42).subarray(4), oracle.first);
    oracle.says(session.answer(deletion, [session.deleteChild(FIRST_SPI)]));
    deepStrictEqual(oracle.children().map((spis) => spis.split('/')[1]), ['c0ffee02']);
    equal(oracle.controller.of('child-down')[0]!.reason, 'rekeyed');
  });

  it('a child of whose making the answer is not here yet is not denied', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: oracle.controller.of('child-up')[0]!.child });
    // CREATE_CHILD_SA { N(REKEY_SA, first) } -->   <-- its answer is lost   <-- CREATE_CHILD_SA { N(REKEY_SA, second) }
    const lost = session.answer(request!, session.child(SECOND_SPI, HIGHEST));
    const refused = session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(THIRD_SPI, HIGHEST, SECOND_SPI))));
    deepStrictEqual(notifiesOf(refused), [TEMPORARY_FAILURE]);
    const [deletion] = oracle.says(lost);
    oracle.says(session.answer(deletion!, [session.deleteChild(FIRST_SPI)]));
    // Known by now, it is rekeyed as any other.
    session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(THIRD_SPI, HIGHEST, SECOND_SPI))));
    session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteChild(SECOND_SPI)])));
    deepStrictEqual(oracle.children().map((spis) => spis.split('/')[1]), ['c0ffee03']);
  });

  it('a child that the peer deletes before its answer about it is here ends at once', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: oracle.controller.of('child-up')[0]!.child });
    // CREATE_CHILD_SA { N(REKEY_SA, first) } -->   <-- its answer is late   <-- INFORMATIONAL { D(second) }
    const late = session.answer(request!, session.child(SECOND_SPI, HIGHEST));
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteChild(SECOND_SPI)]))), []);
    const [deletion] = oracle.says(late);
    oracle.says(session.answer(deletion!, [session.deleteChild(FIRST_SPI)]));
    deepStrictEqual(oracle.children(), []);
    deepStrictEqual(oracle.controller.of('child-down').map(({ reason }) => reason).toSorted(), ['rekeyed', 'the peer deleted it']);
  });

  it('a child that is deleted while we rekey it is gone, and the rekey with it', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: oracle.controller.of('child-up')[0]!.child });
    // <-- INFORMATIONAL { D(old) }   INFORMATIONAL { D(old) } -->   <-- CREATE_CHILD_SA { N(CHILD_SA_NOT_FOUND) }
    const deleted = session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteChild(FIRST_SPI)])));
    deepStrictEqual(payload(deleted, 42).subarray(4), oracle.first);
    oracle.says(session.answer(request!, [session.notify(CHILD_SA_NOT_FOUND)]));
    deepStrictEqual([oracle.children(), oracle.ikeSas().length], [[], 1]);
  });

  it('a child that both delete at once is answered for without a Delete', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: oracle.controller.of('child-up')[0]!.child });
    const [deletion] = oracle.says(session.answer(request!, session.child(SECOND_SPI, HIGHEST)));
    // INFORMATIONAL { D(old) } -->   <-- INFORMATIONAL { D(old) }   both answers are empty (RFC 7296 1.4.1)
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteChild(FIRST_SPI)]))), []);
    oracle.says(session.answer(deletion!, []));
    equal(oracle.children().length, 1);
    equal(oracle.controller.of('child-down').length, 1);
  });

  it('a child that nobody knows cannot be rekeyed, and the answer names it', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const answer = session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(SECOND_SPI, HIGHEST, THIRD_SPI))));
    // Protocol ESP, SPI size 4, type 44, the SPI of the REKEY_SA (RFC 7296 3.10.1).
    deepStrictEqual(answer.map(({ type, body }) => [type, body.toString('hex')]), [[41, '0304002cc0ffee03']]);
  });

  for (const loser of ['theirs', 'ours'] as const) {
    it(`IKE rekeys that cross: the SA of the lowest nonce goes, when that is ${loser}`, () => {
      const oracle = new OracleWorld();
      const { session } = oracle;
      const [request] = oracle.orders({ kind: 'rekey-ike', ikeSa: oracle.ikeSa });
      const theirs = session.open(request!).payloads;
      const mine = session.beginIkeRekey(IKE_SPI, loser === 'theirs' ? LOWEST : HIGHEST);
      const answered = session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.ikeRekey(mine))));
      const begun = session.successor(mine, answered, true);
      const reply = session.beginIkeRekey(OTHER_IKE_SPI, loser === 'ours' ? LOWEST : HIGHEST);
      const made = session.successor(reply, theirs, false);
      const [next] = oracle.says(session.answer(request!, session.ikeRekey(reply)));
      // The winner deletes the old SA, the loser the one that it made.
      const [vain, kept] = loser === 'ours' ? [made, begun] : [begun, made];
      if (loser === 'ours') {
        deepStrictEqual(vain.open(next!).payloads.map(({ type }) => type), [42]);
        oracle.says(vain.answer(next!, []));
        deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteIke()]))), []);
      } else {
        deepStrictEqual(session.open(next!).payloads.map(({ type }) => type), [42]);
        oracle.says(session.answer(next!, []));
        deepStrictEqual(vain.takeAnswer(oracle.answerTo(vain.request(INFORMATIONAL, [vain.deleteIke()]))), []);
      }
      equal(oracle.ikeSas().length, 1, oracle.world.story());
      deepStrictEqual(kept.takeAnswer(oracle.answerTo(kept.request(INFORMATIONAL, []))), []);
      deepStrictEqual([oracle.children().length, oracle.controller.of('ike-down').length, oracle.controller.of('child-down').length], [1, 0, 0]);
    });
  }

  it('an IKE SA that is deleted while we rekey it is gone, and the rekey with it', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    oracle.orders({ kind: 'rekey-ike', ikeSa: oracle.ikeSa });
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteIke()]))), []);
    deepStrictEqual([oracle.ikeSas(), oracle.controller.of('ike-down').length], [[], 1]);
  });

  it('an IKE SA that we are deleting is not rekeyed', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [deletion] = oracle.orders({ kind: 'terminate', ikeSa: oracle.ikeSa, reason: 'the test says so' });
    const refused = session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, session.ikeRekey(session.beginIkeRekey(IKE_SPI, HIGHEST)))));
    deepStrictEqual(notifiesOf(refused), [TEMPORARY_FAILURE]);
    oracle.says(session.answer(deletion!, []));
    deepStrictEqual(oracle.ikeSas(), []);
  });

  it('an IKE SA that both delete at once is gone when both have answered', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [deletion] = oracle.orders({ kind: 'terminate', ikeSa: oracle.ikeSa, reason: 'the test says so' });
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteIke()]))), []);
    oracle.says(session.answer(deletion!, []));
    deepStrictEqual([oracle.ikeSas(), oracle.controller.of('ike-down').length], [[], 1]);
  });

  it('an IKE rekey waits for a child exchange of ours, and a child exchange for our IKE rekey', () => {
    const first = new OracleWorld();
    first.orders({ kind: 'rekey-child', child: first.controller.of('child-up')[0]!.child });
    const ike = first.session.request(CREATE_CHILD_SA, first.session.ikeRekey(first.session.beginIkeRekey(IKE_SPI, HIGHEST)));
    deepStrictEqual(notifiesOf(first.session.takeAnswer(first.answerTo(ike))), [TEMPORARY_FAILURE]);
    const second = new OracleWorld();
    second.orders({ kind: 'rekey-ike', ikeSa: second.ikeSa });
    for (const rekeys of [FIRST_SPI, undefined]) {
      const child = second.session.request(CREATE_CHILD_SA, second.session.child(SECOND_SPI, HIGHEST, rekeys));
      deepStrictEqual(notifiesOf(second.session.takeAnswer(second.answerTo(child))), [TEMPORARY_FAILURE]);
    }
  });
});
