// The lab's verdicts on made-up findings: what no network on one machine shows at will.
import { strict as assert } from 'node:assert';
import type { DhkeyView, IkeSaView } from '../../firmware/views.ts';
import { SystemClock } from '../../platform/time.ts';
import { judgeTasks } from '../../provisioning/lab/checks.ts';
import { judgeDecryption } from '../../provisioning/lab/decryption-check.ts';
import { judgeLoad, lostPackets } from '../../provisioning/lab/load.ts';
import type { StreamCounts } from '../../provisioning/lab/ping-stream.ts';
import { allQuestions, judgeReachability, reachabilityTable } from '../../provisioning/lab/reachability.ts';
import { branchKeys, incompleteChildRekey, incompleteRekey, oldKeysLeft } from '../../provisioning/lab/rekey-check.ts';
import type { BranchKeys } from '../../provisioning/lab/rekey-check.ts';
import { exitCodeOf, reachabilityLines, reportLines } from '../../provisioning/lab/report.ts';
import type { LabReport } from '../../provisioning/lab/report.ts';
import { judgeThroughput, readIperf3 } from '../../provisioning/lab/throughput.ts';
import { hostsOf, labTopology } from '../../provisioning/lab/topology.ts';
import { verdictOf } from '../../provisioning/lab/verdict.ts';
import { waitFor } from '../../provisioning/lab/wait-for.ts';

const HOSTS = hostsOf(labTopology());

function rightAnswers() {
  return allQuestions(HOSTS).map((question) => {
    const tenant = HOSTS.find(({ name }) => name === question.from)!.tenant;
    return { ...question, answeredBy: HOSTS.find((host) => host.tenant === tenant && host.addresses.includes(question.address))!.name as string | undefined };
  });
}

describe('the verdict on reachability', () => {
  it('asks every host for every address over both transports', () => assert.equal(allQuestions(HOSTS).length, 4 * 4 * 2));

  it('holds for right answers only, and not without an answer', () => {
    assert.equal(judgeReachability(HOSTS, rightAnswers()).held, true);
    assert.equal(judgeReachability(HOSTS, rightAnswers().slice(1)).held, false);
    assert.equal(judgeReachability(HOSTS, []).held, false);
  });

  it('shows a pair as reached only by its own name', () => {
    const table = reachabilityTable(HOSTS, rightAnswers());
    assert.equal(table.length, 4 * 3 * 4);
    for (const { expected, reaches } of table) assert.equal(reaches, expected);
    assert.deepEqual(reachabilityLines(table).slice(0, 3), [
      'From             To               IPv4 TCP  IPv4 UDP  IPv6 TCP  IPv6 UDP  Should',
      'tenant2-branch1  tenant3-branch1  no        no        no        no        no',
      'tenant2-branch1  tenant2-branch2  yes       yes       yes       yes       yes',
    ]);
    const leaking = rightAnswers().map((answer) => (answer.from === 'tenant2-branch1' && answer.address === '10.2.0.10' ? { ...answer, answeredBy: 'tenant3-branch2' } : answer));
    const leak = reachabilityTable(HOSTS, leaking).filter(({ reaches, expected }) => reaches && !expected);
    assert.deepEqual(leak.map(({ from, to }) => `${from} ${to}`), ['tenant2-branch1 tenant3-branch2', 'tenant2-branch1 tenant3-branch2']);
  });
});

describe('the verdict on a stream', () => {
  const counts = (sent: number, received: number, more: Partial<StreamCounts> = {}): StreamCounts => ({ sent, received, duplicates: 0, foreign: 0, longestGapMs: 9, seconds: 4, ...more });
  const stream = (sender: StreamCounts, echo: StreamCounts) => [{ from: 'a', to: 'b', address: '192.0.2.1', sender, echo }];

  it('holds when sent is received on both ends', () => {
    assert.equal(judgeLoad(stream(counts(500, 500), counts(500, 500))).held, true);
    assert.equal(lostPackets(stream(counts(500, 500), counts(500, 500))), 0);
  });

  it('fails for one lost either way, a duplicate, a stranger and a low rate', () => {
    assert.match(judgeLoad(stream(counts(500, 499), counts(499, 499))).cause, /500 sent, 499 received/);
    assert.equal(lostPackets(stream(counts(500, 498), counts(499, 499))), 2);
    assert.match(judgeLoad(stream(counts(500, 499), counts(500, 500))).cause, /b back to a: 500 sent, 499 received/);
    assert.match(judgeLoad(stream(counts(500, 500, { duplicates: 1 }), counts(500, 500))).cause, /twice/);
    assert.match(judgeLoad(stream(counts(500, 500), counts(500, 500, { foreign: 1 }))).cause, /not of the stream/);
    assert.match(judgeLoad(stream(counts(396, 396), counts(396, 396))).cause, /99\.0 datagrams per second/);
  });
});

describe('the verdict on a rekey', () => {
  function keys(branch: string, siteId: number, peer: number, key: number, more: { state?: string; pair?: string; sa?: string; old?: boolean } = {}): BranchKeys {
    const association = { nodeId: '', suite: '', group: 31, ageSeconds: 0, secondsLeft: 0, spiIn: 1, spiOut: 2 };
    const self = (id: number, state: string) => ({ id, rekeyCounter: `0x${(0x100000000 + id).toString(16)}`, state, ageSeconds: 0, secondsLeft: 0, groups: [] });
    const associations = [{ ...association, id: more.pair ?? `00${peer}:0x0${key}:0x0${key}`, state: more.sa ?? 'up', sends: true }];
    if (more.old === true) associations.push({ ...association, id: `00${peer}:0x01:0x01`, state: 'linger', sends: false });
    const view = { siteId, selfKeys: [...(more.old === true ? [self(key - 1, 'retiring')] : []), self(key, more.state ?? 'current')], associations } as Partial<DhkeyView>;
    return branchKeys(branch, view as DhkeyView)!;
  }
  const both = (key: number, more: Parameters<typeof keys>[4] = {}) => [keys('branch-1', 101, 102, key, more), keys('branch-2', 102, 101, key)];
  const before = both(1);

  it('is complete when every branch sends on the newest keys of both, and they are up', () => {
    assert.equal(incompleteRekey(before, both(2)), undefined);
    assert.equal(incompleteRekey(before, both(2, { old: true })), undefined);
  });

  it('is not complete on old keys, on a key that is not current, on mixed keys or on an SA that nothing came on', () => {
    assert.match(incompleteRekey(before, before)!, /branch-1 has no newer key/);
    assert.match(incompleteRekey(before, [keys('branch-1', 101, 102, 2), keys('branch-2', 102, 101, 1)])!, /not yet on 2 and 1/);
    assert.match(incompleteRekey(before, both(2, { state: 'published' }))!, /published, not current/);
    assert.match(incompleteRekey(before, both(2, { pair: '00102:0x02:0x01' }))!, /sends to branch-2 on keys 1 and 2, not yet on 2 and 2/);
    assert.match(incompleteRekey(before, both(2, { sa: 'new' }))!, /is new, not up/);
    assert.match(incompleteRekey(before, both(2, { pair: '00103:0x02:0x02' }))!, /sends to branch-2 on no SA/);
  });

  it('waits for old keys and SAs', () => {
    assert.equal(oldKeysLeft(both(2)), undefined);
    assert.match(oldKeysLeft(both(2, { old: true }))!, /branch-1 still has 2 keys and 1 superseded SAs/);
  });

  it('takes no child SA for rekeyed that is old, missing or not up', () => {
    const view = (...children: readonly [string, string][]) => [{ peer: 'p', state: 'established', cause: '', children: children.map(([spis, state]) => ({ spis, state })) }] as unknown as IkeSaView[];
    assert.equal(incompleteChildRekey('n', ['a/b'], view(['c/d', 'up'])), undefined);
    assert.match(incompleteChildRekey('n', ['a/b'], view(['c/d', 'up'], ['a/b', 'up']))!, /a\/b of n with p is still the old one/);
    assert.match(incompleteChildRekey('n', ['a/b'], view(['c/d', 'deleting']))!, /deleting/);
    assert.match(incompleteChildRekey('n', ['a/b'], view())!, /no child SA/);
    assert.match(incompleteChildRekey('n', ['a/b'], [])!, /no IKE SA/);
  });
});

describe('other verdicts of the lab', () => {
  it('reads what iperf3 says, and fails for an error or a trickle', () => {
    const report = JSON.stringify({ end: { sum_received: { bits_per_second: 1.5e9 }, sum_sent: { retransmits: 3 } } });
    assert.deepEqual(readIperf3({ code: 0, stdout: report, stderr: '' }), { gbps: 1.5, retransmits: 3 });
    assert.throws(() => readIperf3({ code: 1, stdout: '{"error":"unable to connect"}', stderr: '' }), /unable to connect/);
    assert.throws(() => readIperf3({ code: undefined, stdout: '', stderr: '' }), /no report/);
    assert.equal(judgeThroughput([{ from: 'a', to: 'b', gbps: 1, retransmits: 0, cause: '' }]).held, true);
    assert.equal(judgeThroughput([{ from: 'a', to: 'b', gbps: 0.001, retransmits: 0, cause: '' }]).held, false);
    assert.equal(judgeThroughput([{ from: 'a', to: 'b', gbps: 0, retransmits: 0, cause: 'stalled' }]).cause, 'a to b: stalled');
  });

  it('wants all layers around the decrypted packet, and none without keys', () => {
    const packet = (protocols: string, vni = '274') => ({ frame: '1', vni, spi: '0x1', protocols: protocols.split(':') });
    assert.equal(judgeDecryption([packet('eth:ip:udp:selvage_ext:selvage_esp:esp:gre:mpls:ip:udp:data')], 0).held, true);
    assert.equal(judgeDecryption([packet('eth:ip:udp:selvage_ext:selvage_esp:esp:gre:mpls:ip:udp:data', '')], 0).held, false);
    assert.equal(judgeDecryption([], 0).held, false);
    assert.equal(judgeDecryption([packet('eth:ip:udp:selvage_ext:gre:mpls:esp:ip:udp')], 0).held, false);
    assert.match(judgeDecryption([packet('selvage_ext:esp:gre:mpls')], 1).cause, /without any key/);
  });

  it('wants one COMPLETED Task per branch', () => {
    const lab = (...status: readonly string[]) => ({ tasks: status.map((s) => ({ serial: 'X', status: s, percentage: s === 'COMPLETED' ? 100 : 60 })), onboardingSeconds: { 'branch-1': 3 } });
    assert.equal(judgeTasks(lab('COMPLETED'), ['branch-1']).held, true);
    assert.match(judgeTasks(lab('FAILED'), ['branch-1']).cause, /FAILED at 60 %/);
    assert.match(judgeTasks(lab('COMPLETED', 'COMPLETED'), ['branch-1']).cause, /2 onboarding Tasks for 1 branches/);
    assert.match(judgeTasks(lab('COMPLETED'), ['branch-2']).cause, /branch-2 was not onboarded/);
  });

  it('tells some causes and counts the rest', () => {
    assert.deepEqual(verdictOf([]), { held: true, cause: '' });
    assert.equal(verdictOf(Array.from({ length: 10 }, (_, i) => `c${i}`)).cause, 'c0; c1; c2; c3; c4; c5; c6; c7; and 2 more');
  });

  it('waits for a state, gives up after its time, at once for a final one, and takes an exception for not yet', async () => {
    const waiting = { clock: new SystemClock(), timeoutMs: 50, pauseMs: 1 };
    let looks = 0;
    const third = await waitFor(waiting, async () => {
      if (++looks === 1) throw new Error('not there');
      return looks === 3 ? { ok: true, value: looks } : { ok: false, cause: 'early' };
    });
    assert.deepEqual(third, { ok: true, value: 3 });
    assert.deepEqual(await waitFor({ ...waiting, timeoutMs: 0 }, async () => ({ ok: false, cause: 'no' })), { ok: false, cause: 'after 0 s no' });
    assert.deepEqual(await waitFor({ ...waiting, timeoutMs: 60_000 }, async () => ({ ok: false, cause: 'dead', final: true })), { ok: false, cause: 'dead', final: true });
  });

  it('reports a failed check with its cause, and ends with 1 for it', () => {
    const report: LabReport = {
      tasks: [{ serial: 'X', status: 'COMPLETED', percentage: 100, steps: [{ name: 'ike', state: 'COMPLETED' }] }], reachability: reachabilityTable(HOSTS, rightAnswers()), throughputGbps: 1,
      onboardingSeconds: { 'branch-1': 4.25 }, rekeyLostPackets: 0, drivers: { 'branch-1': 'native addon' }, nodes: [{ name: 'branch-1', role: 'branch', processId: 7 }], nat: 'drop',
      startedAt: '', throughput: [], rekey: null, decryption: null, wan: null, recoverySeconds: {}, checks: [{ name: 'pause', held: false, cause: 'it went on', seconds: 1 }], held: false,
    };
    const text = reportLines(report).join('\n');
    assert.match(text, /branch-1 {2}branch {2}process 7 {2}native addon/);
    assert.match(text, /FAILED {2}pause \(1\.0 s\): it went on\n1 of 1 checks failed\./);
    assert.match(text, /branch-1 was onboarded in 4\.3 s/);
    assert.equal(exitCodeOf(report), 1);
    assert.equal(exitCodeOf({ ...report, held: true }), 0);
  });
});
