// One box, several workers: a tunnel has one of them, and whatever arrives at another is handed over.
import assert from 'node:assert/strict';
import { MemoryDatagramHub, type MemoryDatagram } from '../../drivers/memory.ts';
import { espSequence, espSpi } from '../../firmware/wire/esp.ts';
import { SeededRandom } from '../../platform/random.ts';
import { merge, udpPacket, type Box } from './boxes.ts';
import { Crew, CREW_ADDRESS, hostAddress, overlayAddress, peerAddress, peerBox, settleCrew, spiOf, tenantState } from './crew.ts';

const OWN = 100;
const LAN = 3;
const HEADERS = 28;
const ESP_AT = 16;
const TENANTS = [1, 2, 3];

interface World {
  readonly hub: MemoryDatagramHub;
  readonly crew: Crew;
  readonly peers: ReadonlyMap<number, Box>;
  readonly random: SeededRandom;
}

/** `workerOf` says which worker has a tunnel. */
function world(seed: string, workers: number, peerCount: number, ringBytes?: number, workerOf = (tenant: number, peer: number): number => (tenant * 7 + peer) % workers): World {
  const hub = new MemoryDatagramHub();
  const random = new SeededRandom(seed);
  const numbers = Array.from({ length: peerCount }, (_, i) => i + 1);
  const state = merge(...TENANTS.map((tenant) => tenantState(tenant, OWN, numbers.map((peer) => ({ peer, address: peerAddress(peer), worker: workerOf(tenant, peer) })))));
  const crew = new Crew(hub, state, workers, ringBytes);
  const peers = new Map(numbers.map((peer) => {
    const own = merge(...TENANTS.map((tenant) => tenantState(tenant, peer, [{ peer: OWN, address: CREW_ADDRESS, worker: 0 }])));
    return [peer, peerBox(hub, own, peerAddress(peer))];
  }));
  return { hub, crew, peers, random };
}

/** Delivers to the socket of some worker, always the same one for a tunnel: the kernel keeps flows together, right or wrong. */
function misdeliver({ hub, crew, random }: World): void {
  const sockets = new Map<string, number>();
  hub.onDatagram = (datagram) => {
    if (datagram.to.address !== CREW_ADDRESS) return true;
    const key = `${datagram.from.address} ${datagram.bytes[6]}`;
    if (!sockets.has(key)) sockets.set(key, random.uint32() % crew.workers.length);
    crew.workers[sockets.get(key)!]!.socket.waiting.push(datagram);
    return false;
  };
}

function numbered(from: string, to: string, number: number): Uint8Array {
  return udpPacket(from, to, Uint8Array.of(number >> 8, number & 0xff, ...new Uint8Array((number * 37) % 200)));
}

const numberOf = (packet: Uint8Array): number => (packet[HEADERS]! << 8) | packet[HEADERS + 1]!;
const inOrder = (numbers: readonly number[]): boolean => numbers.every((number, i) => i === 0 || number > numbers[i - 1]!);

/** Sends `packets` each way for every tunnel, some of each in a round; returns nothing: hosts have them. */
function carry(w: World, packets: number): void {
  const flows = TENANTS.flatMap((tenant) => [...w.peers.keys()].map((peer) => ({ tenant, peer, queue: w.random.uint32() % w.crew.workers.length, out: 0, into: 0 })));
  while (flows.some(({ out, into }) => out < packets || into < packets)) {
    for (const flow of flows) {
      const { tenant, peer } = flow;
      for (let n = w.random.uint32() % 9; n > 0 && flow.out < packets; n--) {
        w.crew.workers[flow.queue]!.hosts.get(tenant * 1000 + LAN)!.send(numbered(hostAddress(tenant, OWN), hostAddress(tenant, peer), flow.out++));
      }
      for (let n = w.random.uint32() % 9; n > 0 && flow.into < packets; n--) {
        w.peers.get(peer)!.hosts.get(tenant * 1000 + LAN)!.send(numbered(hostAddress(tenant, peer), hostAddress(tenant, OWN), flow.into++));
      }
    }
    settleCrew(w.crew, [...w.peers.values()]);
  }
}

function datagramsOf(w: World, peer: number): MemoryDatagram[] {
  const caught: MemoryDatagram[] = [];
  w.hub.onDatagram = (datagram) => (datagram.from.address === peerAddress(peer) && caught.push(datagram), false);
  return caught;
}

describe('several workers', () => {
  for (const workers of [2, 3, 4]) {
    it(`${workers} of them carry many peers and tenants wherever packets arrive: all get there, flows in order`, () => {
      const w = world(`carry ${workers}`, workers, 5);
      misdeliver(w);
      carry(w, 60);
      for (const tenant of TENANTS) {
        const received = w.crew.received(tenant * 1000 + LAN);
        assert.equal(received.length, 60 * w.peers.size);
        for (const peer of w.peers.keys()) {
          const numbers = received.filter((packet) => packet[13] === peer).map(numberOf);
          assert.equal(numbers.length, 60);
          assert.ok(inOrder(numbers), `in: tenant ${tenant}, peer ${peer}`);
          const host = w.peers.get(peer)!.hosts.get(tenant * 1000 + LAN)!;
          const out = Array.from({ length: host.waiting }, () => numberOf(host.take()!));
          assert.equal(out.length, 60);
          assert.ok(inOrder(out), `out: tenant ${tenant}, peer ${peer}`);
        }
      }
      assert.deepEqual(w.crew.drops(), {});
      assert.ok(w.crew.handedOver() > 0);
    });
  }

  it('an SA is sealed by one of them, with numbers that leave none out', () => {
    const w = world('numbers', 4, 5);
    carry(w, 40);
    const workerOf = new Map<number, number>();
    const last = new Map<number, number>();
    for (const [worker, { socket }] of w.crew.workers.entries()) {
      for (const bytes of socket.sent) {
        const [spi, sequence] = [espSpi(bytes, ESP_AT), espSequence(bytes, ESP_AT)];
        assert.equal(workerOf.get(spi) ?? worker, worker);
        assert.equal(sequence, (last.get(spi) ?? 0) + 1);
        workerOf.set(spi, worker);
        last.set(spi, sequence);
      }
    }
    assert.equal(workerOf.size, 15);
    assert.deepEqual([...new Set(last.values())], [40]);
    assert.equal(new Set(workerOf.values()).size, 4);
  });

  it('a replayed packet is refused at whichever socket the copy arrives', () => {
    const w = world('replay', 3, 1);
    const caught = datagramsOf(w, 1);
    for (let n = 0; n < 5; n++) w.peers.get(1)!.hosts.get(1000 + LAN)!.send(numbered(hostAddress(1, 1), hostAddress(1, OWN), n));
    settleCrew(w.crew, [...w.peers.values()]);
    assert.equal(caught.length, 5);
    for (const { socket } of w.crew.workers) socket.waiting.push(...caught);
    settleCrew(w.crew, []);
    assert.equal(w.crew.received(1000 + LAN).length, 5);
    assert.deepEqual(w.crew.drops(), { replay: 10 });
  });

  it('counts what a full queue between two of them does not take, and goes on', () => {
    const w = world('full', 2, 1, 4096, () => 1);
    const host = w.crew.workers[0]!.hosts.get(1000 + LAN)!;
    for (let round = 0; round < 3; round++) {
      for (let n = 0; n < 100; n++) host.send(numbered(hostAddress(1, OWN), hostAddress(1, 1), n));
      settleCrew(w.crew, [...w.peers.values()]);
    }
    const arrived = w.peers.get(1)!.hosts.get(1000 + LAN)!.waiting;
    const { 'worker-queue-full': full, ...others } = w.crew.drops();
    assert.ok(arrived > 30 && full! > 0, `${arrived} arrived, ${full} found no room`);
    assert.equal(arrived + full!, 300);
    assert.deepEqual(others, {});
  });

  it('SAs with one SPI in different workers each get their packets', () => {
    const hub = new MemoryDatagramHub();
    const same = spiOf(9, 9, 9);
    const alike = <S extends { spi: number; key: Uint8Array }>(spec: S, peer: number): S => ({ ...spec, spi: same, key: new Uint8Array(32).fill(peer) });
    const withOneSpi = (own: number, others: Parameters<typeof tenantState>[2]) => {
      const state = tenantState(1, own, others);
      const peerOf = (name: string): number => (own === OWN ? Number(name.slice('peer-'.length)) : own);
      return { ...state, tunnels: state.tunnels.map((spec) => ({ ...spec, tx: spec.tx && alike(spec.tx, peerOf(spec.peer)), rx: spec.rx.map((rx) => alike(rx, peerOf(spec.peer))) })) };
    };
    const numbers = [1, 2, 3];
    const crew = new Crew(hub, withOneSpi(OWN, numbers.map((peer) => ({ peer, address: peerAddress(peer), worker: peer % 3 }))), 3);
    const peers = numbers.map((peer) => peerBox(hub, withOneSpi(peer, [{ peer: OWN, address: CREW_ADDRESS, worker: 0 }]), peerAddress(peer)));
    for (const { socket } of crew.workers) {
      hub.onDatagram = (datagram) => (socket.waiting.push(datagram), false);
      for (const [i, peer] of numbers.entries()) peers[i]!.hosts.get(1000 + LAN)!.send(numbered(hostAddress(1, peer), hostAddress(1, OWN), peer));
      settleCrew(crew, peers);
      assert.deepEqual(crew.received(1000 + LAN).map(numberOf).sort(), numbers);
    }
    // Each packet was tried in all three, and two tags were bad each time.
    const { 'spi-collision-miss': misses, 'aead-failed': failed, ...others } = crew.drops();
    assert.equal(misses! + (failed ?? 0), 18);
    assert.deepEqual(others, {});
  });

  it('clear IKE comes to the one that reads the clear TVI, and its answer goes back', () => {
    const w = world('clear', 3, 1);
    misdeliver(w);
    const [own, other] = [overlayAddress(254, 1, OWN), overlayAddress(254, 1, 1)];
    for (const { socket, hosts } of w.crew.workers) {
      const caught = datagramsOf(w, 1);
      w.peers.get(1)!.hosts.get(1001)!.send(udpPacket(other, own, 40, [500, 500]));
      settleCrew(w.crew, [...w.peers.values()]);
      socket.waiting.push(...caught);
      settleCrew(w.crew, []);
      assert.equal(w.crew.received(1001).length, 1);
      hosts.get(1001)!.send(udpPacket(own, other, 40, [500, 500]));
      settleCrew(w.crew, [...w.peers.values()]);
      assert.equal(w.peers.get(1)!.hosts.get(1001)!.waiting, 1);
      w.peers.get(1)!.hosts.get(1001)!.take();
    }
    assert.deepEqual(w.crew.drops(), {});
  });

  it('a packet that two of them each believe to be the other one’s is dropped and counted', () => {
    const w = world('disagree', 2, 1, undefined, () => 1);
    const moved = merge(...TENANTS.map((tenant) => tenantState(tenant, OWN, [{ peer: 1, address: peerAddress(1), worker: 0 }])));
    w.crew.workers[1]!.forwarder.apply(moved);
    w.crew.workers[0]!.hosts.get(1000 + LAN)!.send(numbered(hostAddress(1, OWN), hostAddress(1, 1), 1));
    settleCrew(w.crew, [...w.peers.values()]);
    assert.deepEqual(w.crew.drops(), { 'wrong-worker': 1 });
  });
});
