import { deepStrictEqual, equal, match } from 'node:assert/strict';
import { Certificates } from '../../firmware/services/certificates.ts';
import type { Site } from '../../firmware/services/service.ts';
import { Alarms } from '../../platform/alarms.ts';
import type { RevocationCheck } from '../../platform/crypto.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { FlooredClock } from '../../platform/time-floor.ts';
import { createAuthority, createCsr, generateKeyPair, issueCrl, issueFromCsr } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';
import { CONFIGURATION } from '../ztp/configuration-fixture.ts';
import { ManualClock } from './manual-clock.ts';

const DAY = 86_400_000;
const DEVICE_ALARM = 'device Branch-1';

describe('services/certificates', () => {
  const start = new ManualClock().unixMs();
  let authority: Authority;

  before(async () => {
    authority = await createAuthority({ commonName: 'Provider trust anchor', unixMs: start, days: 60 });
  });

  async function device(days: number, unixMs = start): Promise<{ certificateChain: Uint8Array[]; privateKey: Uint8Array }> {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: 'x' });
    const names = { subject: 'Branch-1', emails: [], uris: [], dnsNames: [], ipAddresses: [], client: true, server: false };
    return { privateKey, certificateChain: [await issueFromCsr(authority, csr, { ...names, days, unixMs, serialNumber: '4a01' })] };
  }

  function watch(extra: Partial<Site> = {}) {
    const clock = new ManualClock();
    const alarms = new Alarms(new SinkLog([], () => 0).channel('alarms'), () => clock.unixMs());
    const site = { clock, random: new SeededRandom(1), suite: new RealSuite(), alarms, log: new SinkLog([], () => 0), ...extra } as unknown as Site;
    const told: RevocationCheck[] = [];
    const service = new Certificates(site, { responder: '', ask: () => Promise.reject(new Error('nobody is asked')), revocations: (check) => void told.push(check) });
    const anchored = { ...CONFIGURATION, trustAnchors: [Buffer.from(authority.certificate).toString('base64')] };
    return { clock, alarms, service, told, use: (identity: Awaited<ReturnType<typeof device>>) => service.use(anchored, identity) };
  }

  it('raises an alarm 30, 14, 7 and 1 days before the own certificate ends, and at its end, and clears it when it was renewed', async () => {
    const { clock, alarms, service, use } = watch();
    use(await device(40));
    await service.start();
    const seen: string[] = [];
    for (let hour = 0; hour <= 41 * 24; hour++) {
      const alarm = alarms.active().find(({ object }) => object === DEVICE_ALARM);
      const text = alarm === undefined ? 'none' : `${alarm.severity} ${/in (\d+) days? or less|ended/.exec(alarm.cause)![0]}`;
      if (seen.at(-1)?.endsWith(text) !== true) seen.push(`day ${Math.floor(hour / 24)}: ${text}`);
      clock.advance(3_600_000);
    }
    deepStrictEqual(seen, [
      'day 0: none', 'day 10: warning in 30 days or less', 'day 26: minor in 14 days or less', 'day 33: major in 7 days or less',
      'day 39: critical in 1 day or less', 'day 40: critical ended',
    ]);
    use(await device(40, clock.unixMs()));
    deepStrictEqual(alarms.active().map(({ object }) => object), ['trust anchor Provider trust anchor']);
    await service.stop();
    equal(clock.waiting, 0);
  });

  it('shows certificates with their ends and what the revocation list says of them', async () => {
    const { service, told, use } = watch();
    use(await device(40));
    const [own, anchor] = service.view().certificates;
    deepStrictEqual(
      [own, anchor].map((row) => [row!.kind, row!.serialNumber.slice(0, 4), row!.subject, row!.issuer, row!.daysLeft, row!.revocation]),
      [['device', '4a01', 'Branch-1', 'Provider trust anchor', 40, 'unknown'], ['trust anchor', anchor!.serialNumber.slice(0, 4), 'Provider trust anchor', 'Provider trust anchor', 60, '-']],
    );
    for (const [revoked, word] of [[[], 'good'], [[{ serialNumber: '4a01', revokedUnixMs: start }], 'revoked']] as const) {
      const crls = [await issueCrl(authority, { revoked, unixMs: start, days: 30, number: 7 })];
      service.revocations({ crls, policy: 'soft' }, true);
      deepStrictEqual(told.at(-1), { crls, policy: 'soft', ocspResponses: [] });
      equal(service.view().certificates[0]!.revocation, word);
      deepStrictEqual(service.view().revocationLists, [
        { issuer: 'Provider trust anchor', number: '7', thisUpdate: '2023-11-14T22:13:20.000Z', nextUpdate: '2023-12-14T22:13:20.000Z', current: true, revoked: revoked.length },
      ]);
    }
  });

  it('says that the clock of the host is behind, and stops saying so when it was set', async () => {
    const right = new ManualClock();
    let host = 0;
    const floored = new FlooredClock({ now: () => right.now(), at: (when, run) => right.at(when, run), unixMs: () => host }, start);
    const { alarms, service } = watch({ clock: floored, timeFloor: floored });
    await service.start();
    deepStrictEqual(alarms.active().map(({ name }) => name), ['host-clock-behind']);
    match(service.status().detail, /^the host's clock said 1970-01-01T00:00:00.000Z when it was 2023-11-14T22:13:20.000Z at the least/);
    host = start + DAY;
    right.advance(2 * 3_600_000);
    deepStrictEqual([alarms.active(), service.status().detail, service.view().clock], [[], '', '']);
  });
});
