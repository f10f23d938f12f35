// Path MTU probing: what the path carries is found out inside the SA, and the LAN is told.
import assert from 'node:assert/strict';
import { LEAST_MTU, PathSearch } from '../../firmware/dataplane/path-search.ts';
import { PROBE_ANSWER, PROBE_BYTES, PROBE_QUESTION, probeInnerBytes, probeKind, probeNumber, writeProbe } from '../../firmware/wire/path-probe.ts';
import { fromHex } from '../../platform/bytes.ts';
import { after, instant, type Instant } from '../../platform/time.ts';
import { pair, side, udpPacket, type Box, type Pair } from './boxes.ts';

const SECOND_MS = 1000;
const OUTER_OVERHEAD = 1500 - 20 - 8 - 1414;

/** Runs a search against a path; returns how often it asked. */
function search(path: PathSearch, carries: () => number, fromMs: number, ms: number): number {
  let asked = 0;
  for (let now = fromMs; now < fromMs + ms; now += 100) {
    const question = path.next(instant(now));
    if (question === undefined) continue;
    asked++;
    if (question.innerBytes <= carries()) path.answered(question.innerBytes, instant(now + 20));
  }
  return asked;
}

describe('path MTU search', () => {
  it('needs two questions on a path that carries what was hoped for', () => {
    const path = new PathSearch(1414, 7, instant(0));
    assert.equal(search(path, () => 9000, 0, 60 * SECOND_MS), 2);
    assert.equal(path.mtu, 1414);
  });

  it('comes within 8 octets of every narrower path, never above it', () => {
    for (let carries = LEAST_MTU; carries <= 1414; carries += 13) {
      const path = new PathSearch(1414, carries, instant(0));
      search(path, () => carries, 0, 120 * SECOND_MS);
      assert.ok(path.mtu <= carries && path.mtu > carries - 9, `${path.mtu} for a path of ${carries}`);
    }
  });

  it('leaves the configured MTU to a peer that never answers, and asks again after ten minutes', () => {
    const path = new PathSearch(1414, 1, instant(0));
    assert.equal(search(path, () => 0, 0, 500 * SECOND_MS), 3);
    assert.equal(path.mtu, 1414);
    assert.equal(search(path, () => 9000, 500_000, 300 * SECOND_MS), 2);
  });

  it('finds a path that became narrower, and later one that became wider', () => {
    const path = new PathSearch(1414, 3, instant(0));
    let carries = 1414;
    search(path, () => carries, 0, 60 * SECOND_MS);
    carries = 1200;
    search(path, () => carries, 60_000, 800 * SECOND_MS);
    assert.ok(path.mtu <= 1200 && path.mtu > 1191, String(path.mtu));
    carries = 1300;
    search(path, () => carries, 860_000, 800 * SECOND_MS);
    assert.ok(path.mtu <= 1300 && path.mtu > 1291, String(path.mtu));
  });

  it('sends no more than the least MTU after the host refused, until larger packets were answered', () => {
    const path = new PathSearch(1414, 3, instant(0));
    search(path, () => 1414, 0, 60 * SECOND_MS);
    path.refused(instant(60_000));
    assert.equal(path.mtu, LEAST_MTU);
    search(path, () => 1250, 60_000, 120 * SECOND_MS);
    assert.ok(path.mtu <= 1250 && path.mtu > 1241, String(path.mtu));
  });

  it('keeps to an MTU below the least one', () => {
    const path = new PathSearch(900, 3, instant(0));
    search(path, () => 900, 0, 60 * SECOND_MS);
    assert.equal(path.mtu, 900);
    path.refused(instant(60_000));
    assert.equal(path.mtu, 900);
  });

  it('spreads the searches of many peers in time', () => {
    const begin = (seed: number): Instant => new PathSearch(1414, seed, instant(0)).due;
    const starts = new Set(Array.from({ length: 100 }, (_, seed) => Math.floor(begin(seed) / 100)));
    assert.ok(starts.size >= 8, `${starts.size} of 10 tenths of a second are used`);
    assert.ok(Array.from({ length: 100 }, (_, seed) => begin(seed)).every((due) => due <= after(instant(0), SECOND_MS)));
  });
});

describe('path MTU probe', () => {
  const GOLDEN = fromHex('534c5650 02 00 0586 deadbeef');

  it('is written and read as documented', () => {
    const bytes = new Uint8Array(PROBE_BYTES);
    writeProbe(bytes, 0, PROBE_ANSWER, 1414, 0xdeadbeef);
    assert.deepEqual(bytes, GOLDEN);
    assert.deepEqual([probeKind(GOLDEN, 0, GOLDEN.length), probeInnerBytes(GOLDEN, 0), probeNumber(GOLDEN, 0)], [PROBE_ANSWER, 1414, 0xdeadbeef]);
  });

  it('is a dummy like any other when it is cut short, or any bit of its magic or kind is wrong', () => {
    for (let length = 0; length < PROBE_BYTES; length++) assert.equal(probeKind(GOLDEN, 0, length), 0);
    for (let bit = 0; bit < 40; bit++) {
      const bytes = GOLDEN.slice();
      bytes[bit >> 3]! ^= 0x80 >> (bit & 7);
      assert.ok([0, PROBE_QUESTION].includes(probeKind(bytes, 0, bytes.length)));
    }
  });
});

describe('path MTU probing', () => {
  /** Both boxes probe; the hub carries outer UDP payloads up to the size that an inner packet of `inner` octets needs. */
  function probing(mtu = 1414): Pair {
    const made = pair({ mtu });
    for (const [box, end, remote] of [[made.a, 1, made.b.address], [made.b, 2, made.a.address]] as const) {
      const state = side({ end, remote, mtu });
      box.forwarder.apply({ ...state, version: 2, tunnels: state.tunnels.map((t) => (t.kind === 'vxlan-esp' ? { ...t, probesMtu: true } : t)) });
    }
    return made;
  }

  function run({ a, b }: Pair, seconds: number): void {
    for (let tenth = 0; tenth < seconds * 10; tenth++) {
      for (const box of [a, b]) {
        box.nowMs += 100;
        box.breathe();
      }
    }
  }

  function narrow({ hub }: Pair, inner: number): void {
    hub.onDatagram = (datagram) => datagram.bytes.length <= inner + OUTER_OVERHEAD;
  }

  const found = (box: Box): number | undefined => box.eventsOf('path-mtu').at(-1)?.mtu;

  it('keeps the configured MTU where the path carries it', () => {
    const made = probing();
    run(made, 10);
    assert.deepEqual([found(made.a), found(made.b)], [1414, 1414]);
    assert.ok(made.a.drops()['path-probe']! >= 2);
  });

  it('finds a narrower path and answers the LAN with "too big" and the right next MTU', () => {
    const made = probing();
    narrow(made, 1300);
    run(made, 120);
    const mtu = found(made.a)!;
    assert.ok(mtu <= 1300 && mtu > 1291, String(mtu));
    const lan = made.a.hosts.get(103)!;
    lan.send(udpPacket('10.1.0.5', '10.2.0.7', 1400 - 28));
    run(made, 1);
    const answer = lan.take()!;
    assert.deepEqual(answer.subarray(20, 22), fromHex('0304'));
    assert.equal((answer[26]! << 8) | answer[27]!, mtu);
    lan.send(udpPacket('10.1.0.5', '10.2.0.7', mtu - 28));
    run(made, 1);
    assert.equal(made.b.hosts.get(103)!.take()?.length, mtu);
  });

  it('keeps what was found over a new state', () => {
    const made = probing();
    narrow(made, 1200);
    run(made, 120);
    const mtu = found(made.a);
    const state = side({ end: 1, remote: made.b.address });
    made.a.forwarder.apply({ ...state, version: 3, tunnels: state.tunnels.map((t) => (t.kind === 'vxlan-esp' ? { ...t, probesMtu: true } : t)) });
    const lan = made.a.hosts.get(103)!;
    lan.send(udpPacket('10.1.0.5', '10.2.0.7', 1400 - 28));
    run(made, 1);
    const answer = lan.take()!;
    assert.equal((answer[26]! << 8) | answer[27]!, mtu);
  });

  it('changes nothing with a peer that does not know probes', () => {
    const { a, b } = pair({ mtu: 1414 });
    const state = side({ end: 1, remote: b.address });
    a.forwarder.apply({ ...state, version: 2, tunnels: state.tunnels.map((t) => (t.kind === 'vxlan-esp' ? { ...t, probesMtu: true } : t)) });
    // Its answers never come.
    a.hub.onDatagram = (datagram) => datagram.to.address !== a.address;
    for (let second = 0; second < 30; second++) {
      a.nowMs += SECOND_MS;
      a.breathe();
      b.breathe();
    }
    assert.equal(found(a), 1414);
    a.hosts.get(103)!.send(udpPacket('10.1.0.5', '10.2.0.7', 1414 - 28));
    a.breathe();
    b.breathe();
    assert.equal(b.hosts.get(103)!.take()?.length, 1414);
  });
});
