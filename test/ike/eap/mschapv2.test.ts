// The server's side of EAP-MSCHAPv2 as clients meet it that ask a person again, and clients that meet a wrong server.
import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import type { EapCredentials } from '../../../firmware/ike/eap/method.ts';
import { MsChapV2Client, MsChapV2Server } from '../../../firmware/ike/eap/mschapv2.ts';
import { ntResponse } from '../../../firmware/ike/eap/mschapv2-keys.ts';
import { ntHash } from '../../../firmware/ike/eap/nt-hash.ts';
import { CHALLENGE_BYTES, decodeMsChapV2, encodeMsChapV2, parseFailure, successText } from '../../../firmware/wire/eap-mschapv2.ts';
import { utf8 } from '../../../platform/bytes.ts';
import { RealSuite } from '../../../platform/crypto-real.ts';
import { SeededRandom } from '../../../platform/random.ts';

const suite = new RealSuite();
const NAME = 'alice';
const PASSWORD = 'correct horse';

function server(lookup: () => EapCredentials | undefined = () => ({ password: PASSWORD }), identity = NAME): MsChapV2Server {
  return new MsChapV2Server({ suite, random: new SeededRandom(1) }, { identity, lookup }, 'gateway');
}

function client(): MsChapV2Client {
  return new MsChapV2Client({ suite, random: new SeededRandom(2) }, NAME, PASSWORD);
}

function challengeOf(data: Uint8Array): { id: number; challenge: Uint8Array } {
  const packet = decodeMsChapV2(data);
  if (packet.op === 'challenge') return packet;
  ok(packet.op === 'failure');
  return { id: packet.id + 1, challenge: parseFailure(packet.text)!.challenge! };
}

/** What a client answers whose person types this. */
function typed(password: string, data: Uint8Array, name = NAME): Uint8Array {
  const { id, challenge } = challengeOf(data);
  const peerChallenge = new Uint8Array(CHALLENGE_BYTES).fill(7);
  const response = ntResponse(suite, ntHash(password), { authenticator: challenge, peer: peerChallenge, name: utf8(name) });
  return encodeMsChapV2({ op: 'response', id, peerChallenge, ntResponse: response, name: utf8(name) });
}

describe('ike: EAP-MSCHAPv2, try by try', () => {
  it('lets a person try again with another challenge', () => {
    const machine = server();
    const first = machine.begin();
    const refused = machine.receive(typed('wrong', first));
    ok(refused.kind === 'request');
    equal(refused.attempt, 'the password is wrong');
    // Each try has its own challenge: an answer to the former one is worth nothing.
    const stale = machine.receive(typed(PASSWORD, first));
    ok(stale.kind === 'request');
    equal(stale.attempt, 'the password is wrong');
    const good = machine.receive(typed(PASSWORD, stale.data));
    ok(good.kind === 'request');
    equal(decodeMsChapV2(good.data).op, 'success');
    equal(machine.receive(encodeMsChapV2({ op: 'success-acknowledged' })).kind, 'success');
  });

  it('takes no fourth try', () => {
    const machine = server();
    let step = machine.receive(typed('wrong', machine.begin()));
    const retries: boolean[] = [];
    for (let tries = 1; tries < 4 && step.kind === 'request'; tries++) {
      const packet = decodeMsChapV2(step.data);
      ok(packet.op === 'failure');
      retries.push(parseFailure(packet.text)!.retry);
      step = machine.receive(typed('wrong', step.data));
    }
    deepStrictEqual(retries, [true, true, false]);
    deepStrictEqual(step, { kind: 'failure', cause: 'EAP-MSCHAPv2 response is not expected now' });
  });

  it('asks at each try who is known, so that a lock-out in between counts', () => {
    let known = true;
    const machine = server(() => (known ? { password: PASSWORD } : undefined));
    const refused = machine.receive(typed('wrong', machine.begin()));
    ok(refused.kind === 'request');
    known = false;
    const locked = machine.receive(typed(PASSWORD, refused.data));
    equal(locked.kind === 'request' ? locked.attempt : '', 'the user is not known');
  });

  it('refuses a response in the name of somebody else', () => {
    const machine = server();
    const step = machine.receive(typed(PASSWORD, machine.begin(), 'mallory'));
    equal(step.kind === 'request' ? step.attempt : '', 'the name in the response is not the EAP identity');
  });

  it('takes a name with its domain where the identity has none', () => {
    const machine = server();
    const step = machine.receive(typed(PASSWORD, machine.begin(), `EXAMPLE\\${NAME}`));
    ok(step.kind === 'request');
    equal(decodeMsChapV2(step.data).op, 'success');
  });

  it('gives no key before the client has acknowledged the proof', () => {
    const machine = server();
    match(JSON.stringify(machine.receive(encodeMsChapV2({ op: 'success-acknowledged' }))), /success-acknowledged is not expected now/);
  });

  it('does not believe a server that does not know the password', () => {
    const machine = client();
    machine.receive(server().begin());
    const step = machine.receive(encodeMsChapV2({ op: 'success', id: 1, text: successText(new Uint8Array(20)) }));
    deepStrictEqual(step, { kind: 'failure', cause: 'the server does not show that it knows the password' });
    equal(machine.msk, undefined);
  });

  it('answers one challenge only', () => {
    const machine = client();
    machine.receive(server().begin());
    deepStrictEqual(machine.receive(server().begin()), { kind: 'failure', cause: 'the server sends a second challenge' });
  });

  it('names what the server has against the user', () => {
    const machine = client();
    machine.receive(server().begin());
    for (const [text, cause] of [
      ['E=691 R=1 M=x', /the user name or the password is wrong \(E=691\)/],
      ['E=647 R=0', /the account is disabled \(E=647\)/],
      ['what?', /no known reason \(E=0\)/],
    ] as const) {
      const step = machine.receive(encodeMsChapV2({ op: 'failure', id: 1, text }));
      match(step.kind === 'refused' ? step.cause : step.kind, cause);
    }
  });
});
