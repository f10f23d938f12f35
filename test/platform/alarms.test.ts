import { deepStrictEqual, strictEqual } from 'node:assert/strict';
import { Alarms, type AlarmCondition } from '../../platform/alarms.ts';
import { MemorySink, SinkLog } from '../../platform/log.ts';

const EXPIRY: AlarmCondition = { name: 'certificate-expires', object: 'own', severity: 'minor', cause: '30 days are left', nextStep: 'renew it' };

function make(): { alarms: Alarms; lines: () => string[]; at: (unixMs: number) => void } {
  let unixMs = 1000;
  const sink = new MemorySink();
  const alarms = new Alarms(new SinkLog([sink], () => unixMs).channel('alarms'), () => unixMs);
  return { alarms, lines: () => sink.records.map((r) => `${r.sentence} ${r.fields['alarm']} ${r.fields['cause'] ?? ''}`.trim()), at: (ms) => (unixMs = ms) };
}

describe('platform/alarms', () => {
  it('logs a condition once while it lasts, and once when it ends', () => {
    const { alarms, lines } = make();
    alarms.raise(EXPIRY);
    alarms.raise(EXPIRY);
    alarms.clear('certificate-expires', 'own');
    alarms.clear('certificate-expires', 'own');
    deepStrictEqual(lines(), ['alarm raised certificate-expires 30 days are left', 'alarm cleared certificate-expires']);
    deepStrictEqual(alarms.active(), []);
  });

  it('keeps since when what is said about a condition changes', () => {
    const { alarms, at, lines } = make();
    alarms.raise(EXPIRY);
    at(9000);
    alarms.raise({ ...EXPIRY, severity: 'critical', cause: '1 day is left' });
    deepStrictEqual(alarms.active(), [{ ...EXPIRY, severity: 'critical', cause: '1 day is left', sinceUnixMs: 1000 }]);
    strictEqual(lines().length, 2);
  });

  it('keeps conditions of one name about several objects apart', () => {
    const { alarms } = make();
    alarms.raise(EXPIRY);
    alarms.raise({ ...EXPIRY, object: 'anchor' });
    alarms.clear('certificate-expires', 'own');
    deepStrictEqual(alarms.active().map((a) => a.object), ['anchor']);
  });

  it('changes its version with every change and with nothing else', () => {
    const { alarms } = make();
    const versions = [() => alarms.raise(EXPIRY), () => alarms.raise(EXPIRY), () => alarms.clear('other'), () => alarms.clear('certificate-expires', 'own')].map((act) => (act(), alarms.version));
    deepStrictEqual(versions, [1, 1, 1, 2]);
  });

  it('keeps at most 500, and logs the rest', () => {
    const { alarms, lines } = make();
    for (let i = 0; i < 600; i++) alarms.raise({ ...EXPIRY, object: String(i) });
    strictEqual(alarms.active().length, 500);
    strictEqual(lines().length, 600);
  });
});
