import { deepStrictEqual, equal, match, ok } from 'node:assert/strict';
import { Alarms } from '../../platform/alarms.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { LARGEST_CRL_BYTES, decodeCrl } from '../../platform/crl.ts';
import { OperationalError } from '../../platform/errors.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { createAuthority, issueCrl } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';
import { RevocationListKeeper } from '../../provisioning/ztp/revocation-list.ts';
import { ManualClock } from '../services/manual-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

describe('ztp/revocation-list', () => {
  const start = new ManualClock().unixMs();
  let authority: Authority;

  before(async () => {
    authority = await createAuthority({ commonName: 'Provider', unixMs: start, days: 3650 });
  });

  function list(number: number, revoked: readonly string[] = [], days = 30, issuer = authority): Promise<Uint8Array> {
    return issueCrl(issuer, { revoked: revoked.map((serialNumber) => ({ serialNumber, revokedUnixMs: start })), unixMs: start, days, number });
  }

  function keeper(policy: RevocationCheck['policy'] = 'soft', store = new MemoryStore()) {
    const clock = new ManualClock();
    const sink = new MemorySink();
    const changes: string[] = [];
    const log = new SinkLog([sink], () => clock.unixMs()).channel('ztp');
    const alarms = new Alarms(new SinkLog([], () => 0).channel('alarms'), () => clock.unixMs());
    const kept = new RevocationListKeeper({
      site: { clock, random: new SeededRandom(1), store, alarms },
      log,
      policy,
      anchor: () => authority.certificate,
      changed: ({ crls }, more) => changes.push(`${crls.map((crl) => decodeCrl(crl).number).join()}${more ? ' more' : ''}`),
    });
    kept.restore();
    return { kept, clock, store, alarms, changes, lines: () => sink.records.map(({ sentence, fields }) => `${sentence}: ${fields['cause'] ?? fields['revoked']}`) };
  }

  it('asks at once, then hourly with jitter, and half-way to the end of a list that ends sooner', async () => {
    const { kept, clock } = keeper();
    const asked: number[] = [];
    const days = [30, 1 / 48, 30];
    for (let minute = 0; minute < 180; minute++) {
      await kept.refreshIfDue(async () => {
        asked.push(minute);
        return list(minute + 1, [], days[asked.length - 1] ?? 30);
      });
      clock.advance(60_000);
    }
    equal(asked[0], 0);
    ok(asked[1]! >= 45 && asked[1]! <= 76, `${asked[1]}`);
    // The second list had ended before it came: it is replaced after the least time.
    ok(asked[2]! - asked[1]! <= 3, `${asked}`);
    ok(asked[3]! - asked[2]! >= 45, `${asked}`);
  });

  it('refuses an older list, one of another authority, one that is not a list, and keeps what it has', async () => {
    const { kept, clock, changes, lines } = keeper();
    const stranger = await createAuthority({ commonName: 'Provider', unixMs: start, days: 1 });
    const [good, older, foreign] = [await list(7, ['0a']), await list(6), await list(8, [], 30, stranger)];
    for (const der of [good, older, foreign, good.slice(0, 40), new Uint8Array(LARGEST_CRL_BYTES + 1)]) {
      await kept.refreshIfDue(async () => der);
      clock.advance(2 * HOUR);
    }
    deepStrictEqual(changes, [' more', '7 more']);
    deepStrictEqual(lines().slice(0, 3), [
      'Revocation list received: 1',
      'Revocation list could not be fetched: the list has number 6, number 7 is known already',
      'Revocation list could not be fetched: the list is not signed by the trust anchor',
    ]);
    match(lines()[3]!, /claims|remain/);
    match(lines()[4]!, /at most 8388608 are read/);
    equal(kept.check.crls[0], good);
  });

  it('says when more is revoked than before, and nothing of a list that only is newer', async () => {
    const { kept, clock, changes, lines } = keeper();
    for (const [number, revoked] of [[1, []], [2, ['0a']], [3, ['0a']], [4, ['0a', '0b']]] as const) {
      await kept.refreshIfDue(() => list(number, revoked));
      clock.advance(2 * HOUR);
    }
    deepStrictEqual(changes, [' more', '1 more', '2 more', '3', '4 more']);
    deepStrictEqual(lines(), ['Revocation list received: 0', 'Revocation list received: 1', 'Revocation list received: 2']);
  });

  it('waits longer after every failure, and hurries when something was revoked', async () => {
    const { kept, clock, lines, alarms } = keeper();
    const asked: number[] = [];
    const ask = () => kept.refreshIfDue(() => (asked.push(clock.now()), Promise.reject(new OperationalError('director-unreachable', 'no answer', 'check the tunnel'))));
    for (let i = 0; i < 600; i++) {
      await ask();
      clock.advance(10_000);
    }
    const pauses = asked.slice(1).map((at, i) => at - asked[i]!);
    ok(pauses[0]! <= 50_000 && pauses.at(-1)! >= 1_200_000 && asked.length < 12, `${pauses}`);
    equal(lines()[0], 'Revocation list could not be fetched: no answer; next: check the tunnel');
    equal(alarms.active()[0]!.cause, 'there is no revocation list yet (no answer; next: check the tunnel): newer revocations are not known, peers still connect (soft fail)');
    const before = asked.length;
    kept.hurry(5_000);
    clock.advance(5_000);
    await ask();
    equal(asked.length, before + 1);
  });

  it('keeps its list over a restart, and forgets it with the provider', async () => {
    const first = keeper();
    await first.kept.refreshIfDue(() => list(5, ['0a']));
    const second = keeper('soft', first.store);
    deepStrictEqual(second.changes, ['5 more']);
    second.kept.forget();
    deepStrictEqual(second.changes, ['5 more', '']);
    deepStrictEqual(keeper('soft', first.store).changes, [' more']);
  });

  it('raises an alarm when a list has ended, with what follows by the policy, until a newer one comes', async () => {
    for (const [policy, follows] of [['soft', 'newer revocations are not known, peers still connect (soft fail)'], ['hard', 'peers are refused until a newer one comes (hard fail)']] as const) {
      const { kept, clock, alarms } = keeper(policy);
      await kept.refreshIfDue(() => list(1, [], 2));
      clock.advance(2 * DAY - 1);
      equal(alarms.active().length, 0);
      clock.advance(1);
      deepStrictEqual(alarms.active().map(({ name, cause }) => [name, cause]), [['revocation-list-stale', `the revocation list ended at 2023-11-16T22:13:20.000Z: ${follows}`]]);
      equal(kept.check.policy, policy);
      await kept.refreshIfDue(() => list(2));
      equal(alarms.active().length, 0);
    }
  });
});
