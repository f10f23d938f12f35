// An independent peer that has come up and then sends what nobody should: message ids out of their turn, and authentic
// messages whose contents are broken. It can end its own IKE SA with that, and nothing else.
import { deepStrictEqual, equal } from 'node:assert/strict';
import { join, u16 } from '../oracle/octets.ts';
import { notifiesOf } from '../oracle/ike-session.ts';
import type { RawPayload } from '../oracle/octets.ts';
import { FIRST_SPI, OracleWorld } from './oracle-world.ts';

const INFORMATIONAL = 37;
const CREATE_CHILD_SA = 36;
const INVALID_SYNTAX = 7;
const UNSUPPORTED_CRITICAL_PAYLOAD = 1;
const SET_WINDOW_SIZE = 16385;
const SECOND_SPI = Buffer.from('c0ffee02', 'hex');
const NONCE = Buffer.alloc(24, 7);

describe('ike: hostile message ids from an independent peer', () => {
  const far: readonly (readonly [string, (next: number) => number])[] = [
    ['that is yet to come', (next) => next + 1],
    ['far ahead', (next) => next + 1_000],
    ['at the end of the numbers', () => 0xffff_ffff],
    ['long used', (next) => next - 2],
  ];
  for (const [name, idOf] of far) {
    it(`drops a request with an id ${name}, and goes on`, () => {
      const oracle = new OracleWorld();
      const { session } = oracle;
      session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [])));
      deepStrictEqual(oracle.says(session.request(INFORMATIONAL, [session.deleteIke()], idOf(session.nextId))), []);
      deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, []))), []);
      equal(oracle.ikeSas().length, 1);
      deepStrictEqual(oracle.controller.of('dropped').map(({ reason }) => reason), ['unexpected']);
    });
  }

  it('answers a used id with the same octets, whatever is under it now', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const used = session.nextId;
    const answer = oracle.answerTo(session.request(INFORMATIONAL, []));
    session.takeAnswer(answer);
    deepStrictEqual(oracle.answerTo(session.request(INFORMATIONAL, [session.deleteIke()], used)), answer);
    deepStrictEqual(oracle.answerTo(session.request(CREATE_CHILD_SA, session.child(SECOND_SPI, NONCE, FIRST_SPI), used)), answer);
    deepStrictEqual([oracle.ikeSas().length, oracle.children().length], [1, 1]);
  });

  it('takes one answer to its request: not one under another id, not a second one, not one that nobody asked for', () => {
    const oracle = new OracleWorld();
    const { controller, session } = oracle;
    const [request] = oracle.orders({ kind: 'rekey-child', child: controller.of('child-up')[0]!.child });
    const other = Buffer.from(request!);
    for (const change of [1, 2, 0x8000_0000]) {
      other.writeUInt32BE((request!.readUInt32BE(20) + change) >>> 0, 20);
      deepStrictEqual(oracle.says(session.answer(other, session.child(SECOND_SPI, NONCE))), []);
    }
    equal(oracle.says(session.answer(request!, session.child(SECOND_SPI, NONCE))).length, 1);
    deepStrictEqual(oracle.says(session.answer(request!, session.child(Buffer.from('c0ffee09', 'hex'), NONCE))), []);
    deepStrictEqual(oracle.children().map((spis) => spis.split('/')[1]).sort(), ['c0ffee01', 'c0ffee02']);
  });

  it('sends one request at a time, also to a peer whose window is larger (SET_WINDOW_SIZE)', () => {
    const oracle = new OracleWorld();
    const { controller, session } = oracle;
    const wide: RawPayload = { type: 41, body: join(0, 0, u16(SET_WINDOW_SIZE), 0, 0, 0, 8) };
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [wide]))), []);
    const [request] = oracle.orders({ kind: 'rekey-child', child: controller.of('child-up')[0]!.child });
    deepStrictEqual(oracle.orders({ kind: 'terminate', ikeSa: oracle.ikeSa, reason: 'enough' }), []);
    const [next] = oracle.says(session.answer(request!, session.child(SECOND_SPI, NONCE)));
    equal(session.open(next!).messageId, session.open(request!).messageId + 1);
  });

  it('knows no SA for a message under the flag of the other end, and drops an IKE_SA_INIT for an SA that is up', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const bytes = session.request(INFORMATIONAL, [session.deleteIke()]);
    bytes[19] = 0;
    // Of the two SPIs that flag makes the first one ours (RFC 7296 3.1): plain INVALID_IKE_SPI, type 4.
    deepStrictEqual(oracle.answerTo(bytes).subarray(28).toString('hex'), '0000000800000004');
    const init = session.request(INFORMATIONAL, []);
    init[18] = 34;
    deepStrictEqual(oracle.says(init), []);
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, []))), []);
  });
});

describe('ike: broken contents from an independent peer', () => {
  const sa = (body: Buffer): RawPayload[] => [{ type: 33, body }, { type: 40, body: NONCE }];
  const broken: readonly (readonly [string, number, readonly RawPayload[]])[] = [
    ['an SA payload that is cut', CREATE_CHILD_SA, sa(Buffer.from('0000002801030402', 'hex'))],
    ['a proposal that claims more transforms than it has', CREATE_CHILD_SA, sa(join(0, 0, u16(12), 1, 3, 4, 200, SECOND_SPI))],
    ['a transform longer than its proposal', CREATE_CHILD_SA, sa(join(0, 0, u16(20), 1, 3, 4, 1, SECOND_SPI, 0, 0, u16(400), 1, 0, u16(20)))],
    ['a Delete that claims more SPIs than it has', INFORMATIONAL, [{ type: 42, body: join(3, 4, u16(1_000), FIRST_SPI) }]],
    ['a notify whose SPI is longer than itself', INFORMATIONAL, [{ type: 41, body: join(3, 255, u16(16393)) }]],
    ['traffic selectors that end before they begin', CREATE_CHILD_SA, [{ type: 44, body: join(200, 0, 0, 0, 7, 0, u16(16)) }]],
    ['a nonce that is too short', CREATE_CHILD_SA, [{ type: 40, body: Buffer.alloc(3) }]],
  ];

  for (const [name, exchange, payloads] of broken) {
    it(`ends the IKE SA of a peer that sends ${name}, and no other`, () => {
      const oracle = new OracleWorld();
      const bystander = new OracleWorld(oracle, 'b8@acme.example', '198.51.100.8');
      const { session } = oracle;
      deepStrictEqual(notifiesOf(session.takeAnswer(oracle.answerTo(session.request(exchange, payloads)))), [INVALID_SYNTAX]);
      deepStrictEqual(bystander.session.takeAnswer(bystander.answerTo(bystander.session.request(INFORMATIONAL, []))), []);
      deepStrictEqual([oracle.controller.of('ike-down').length, oracle.ikeSas().length, oracle.children().length], [1, 1, 1]);
    });
  }

  it('takes a Delete that names nothing for what it is', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, [{ type: 42, body: join(3, 0, u16(65_535)) }]))), []);
    equal(oracle.children().length, 1);
  });

  it('refuses a critical payload that it does not know, and goes on', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const request = session.request(INFORMATIONAL, [{ type: 200, body: Buffer.from([1, 2, 3]), isCritical: true }]);
    deepStrictEqual(session.takeAnswer(oracle.answerTo(request)).map(({ body }) => body.toString('hex')), [`0000${u16(UNSUPPORTED_CRITICAL_PAYLOAD).toString('hex')}c8`]);
    deepStrictEqual(session.takeAnswer(oracle.answerTo(session.request(INFORMATIONAL, []))), []);
  });

  it('refuses an exchange that lacks a payload, and goes on with the IKE SA', () => {
    const oracle = new OracleWorld();
    const { session } = oracle;
    const [, ...withoutSa] = session.child(SECOND_SPI, NONCE);
    deepStrictEqual(notifiesOf(session.takeAnswer(oracle.answerTo(session.request(CREATE_CHILD_SA, withoutSa)))), [INVALID_SYNTAX]);
    deepStrictEqual([oracle.ikeSas().length, oracle.children().length], [1, 1]);
  });
});
