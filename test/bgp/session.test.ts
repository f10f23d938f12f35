// The finite state machine of RFC 4271 8 with scripted streams and virtual time.
import assert from 'node:assert/strict';
import type { SessionPeer } from '../../firmware/bgp/negotiation.ts';
import { BgpSession } from '../../firmware/bgp/session.ts';
import type { SessionInput, SessionOutput } from '../../firmware/bgp/session.ts';
import type { Capabilities } from '../../firmware/wire/bgp/capability.ts';
import { NO_CAPABILITIES } from '../../firmware/wire/bgp/capability.ts';
import { SDWAN4, UNICAST4, VPN4 } from '../../firmware/wire/bgp/family.ts';
import {
  HEADER_BYTES, KEEPALIVE, NOTIFICATION, OPEN, UPDATE, encodeMessage, encodeNotification, encodeOpen, encodeRouteRefresh, shutdownText,
} from '../../firmware/wire/bgp/message.ts';
import { encodeEndOfRib } from '../../firmware/wire/bgp/update.ts';
import { fromHex, toHex } from '../../platform/bytes.ts';
import { SeededRandom, randomBelow } from '../../platform/random.ts';
import { instant } from '../../platform/time.ts';

const KEEPALIVE_MESSAGE = encodeMessage(KEEPALIVE);
const RESTART = { restarted: false, notification: true, restartSeconds: 120, families: [{ family: VPN4, forwardingPreserved: true }] };
const THEIR_CAPABILITIES: Capabilities = { ...NO_CAPABILITIES, families: [VPN4], routeRefresh: true, gracefulRestart: RESTART };

function theirOpen(more: { asNumber?: number; holdSeconds?: number; routerId?: string; capabilities?: Partial<Capabilities> } = {}): Uint8Array {
  const { asNumber = 65000, holdSeconds = 90, routerId = '10.0.0.2' } = more;
  return encodeOpen({ asNumber, holdSeconds, routerId, capabilities: { ...THEIR_CAPABILITIES, ...more.capabilities } });
}

/** Our end of a session, its clock, and what it did last. */
class Bench {
  readonly session: BgpSession;
  now = instant(0);
  outputs: SessionOutput[] = [];

  constructor(more: Partial<SessionPeer> = {}) {
    const peer: SessionPeer = {
      asNumber: 65000, routerId: '10.0.0.1', remoteAs: 65000, external: false, passive: false, families: [VPN4, SDWAN4], holdSeconds: 90, restarted: () => false, ...more,
    };
    this.session = new BgpSession(peer, new SeededRandom('session'), { next: 1 });
  }

  do(input: SessionInput | { kind: 'timeout' }): SessionOutput[] {
    this.session.handle(input, this.now);
    this.outputs = [];
    for (let output = this.session.poll(); output !== undefined; output = this.session.poll()) if (output.kind !== 'log') this.outputs.push(output);
    return this.outputs;
  }

  receive(stream: number, bytes: Uint8Array): SessionOutput[] {
    return this.do({ kind: 'data', stream, bytes });
  }

  /** Lets time pass to the next deadline; returns how long that took. */
  wait(): number {
    const before = this.now;
    this.now = instant(this.session.deadline()!);
    this.do({ kind: 'timeout' });
    return this.now - before;
  }

  /** What was done, one word per output; messages by type, NOTIFICATIONs with their codes. */
  get did(): string[] {
    return this.outputs.map((output) => {
      if (output.kind !== 'write') return output.kind;
      const type = output.bytes[18]!;
      if (type === NOTIFICATION) return `NOTIFICATION ${output.bytes[19]}/${output.bytes[20]}`;
      return type === OPEN ? 'OPEN' : type === KEEPALIVE ? 'KEEPALIVE' : `type ${type}`;
    });
  }

  establish(open = theirOpen()): this {
    this.do({ kind: 'start' });
    this.do({ kind: 'connected', stream: 1, incoming: false });
    this.receive(1, open);
    this.receive(1, KEEPALIVE_MESSAGE);
    assert.equal(this.session.state, 'Established');
    return this;
  }
}

describe('a BGP session', () => {
  it('is established by the side that connects', () => {
    const bench = new Bench();
    assert.equal(bench.session.state, 'Idle');
    bench.do({ kind: 'start' });
    assert.deepEqual(bench.outputs, [{ kind: 'connect', stream: 1 }]);
    assert.equal(bench.session.state, 'Connect');
    // TCP up                    OPEN -->
    bench.do({ kind: 'connected', stream: 1, incoming: false });
    assert.deepEqual(bench.did, ['OPEN']);
    assert.equal(bench.session.state, 'OpenSent');
    //                      <--  OPEN
    //                           KEEPALIVE -->
    bench.receive(1, theirOpen({ holdSeconds: 30 }));
    assert.deepEqual(bench.did, ['KEEPALIVE']);
    assert.equal(bench.session.state, 'OpenConfirm');
    //                      <--  KEEPALIVE
    bench.receive(1, KEEPALIVE_MESSAGE);
    assert.deepEqual(bench.did, ['up']);
    assert.equal(bench.session.state, 'Established');
    const up = bench.outputs[0]!;
    assert.ok(up.kind === 'up');
    assert.deepEqual(up.negotiated.families, [VPN4], 'only what both speak');
    assert.equal(up.negotiated.holdMs, 30_000, 'the shorter hold time');
    assert.equal(up.negotiated.mostBytes, 4096, 'the peer takes no extended messages');
  });

  it('is established by the side that is called, and stays quiet when passive', () => {
    const bench = new Bench({ passive: true });
    bench.do({ kind: 'start' });
    assert.deepEqual(bench.outputs, []);
    assert.equal(bench.session.state, 'Active');
    bench.do({ kind: 'connected', stream: -1, incoming: true });
    assert.deepEqual(bench.did, ['OPEN']);
    bench.receive(-1, theirOpen());
    bench.receive(-1, KEEPALIVE_MESSAGE);
    assert.deepEqual(bench.did, ['up']);
  });

  it('sends keepalives with jitter at a third of the hold time and lets the session go when the peer is silent', () => {
    const bench = new Bench().establish(theirOpen({ holdSeconds: 30 }));
    const intervals: number[] = [];
    while (!bench.did.includes('down')) {
      intervals.push(bench.wait());
      if (bench.did.includes('KEEPALIVE')) assert.ok(intervals.at(-1)! >= 7_500 && intervals.at(-1)! <= 10_000, `${intervals.at(-1)} ms`);
    }
    assert.equal(bench.now, 30_000);
    assert.ok(new Set(intervals).size > 1, 'intervals differ');
    assert.deepEqual(bench.did, ['NOTIFICATION 4/0', 'close', 'down']);
    assert.equal(bench.session.lastError, 'hold timer expired');
  });

  it('is kept up by keepalives, UPDATEs and route refreshes alike', () => {
    const bench = new Bench().establish(theirOpen({ holdSeconds: 30 }));
    const messages = [KEEPALIVE_MESSAGE, encodeMessage(UPDATE, encodeEndOfRib(VPN4)), encodeRouteRefresh({ family: VPN4, subtype: 0 })];
    for (let i = 0; i < 12; i++) {
      bench.now = instant(bench.now + 25_000);
      bench.receive(1, messages[i % 3]!);
      bench.do({ kind: 'timeout' });
      assert.equal(bench.session.state, 'Established');
    }
  });

  it('has no timers when the hold time is zero', () => {
    const bench = new Bench().establish(theirOpen({ holdSeconds: 0 }));
    assert.equal(bench.session.deadline(), undefined);
  });

  it('waits longer after each failed attempt, up to a minute', () => {
    const bench = new Bench();
    bench.do({ kind: 'start' });
    const waits: number[] = [];
    for (let stream = 1; stream <= 9; stream++) {
      bench.do({ kind: 'closed', stream, cause: 'refused' });
      assert.equal(bench.session.state, 'Active');
      waits.push(bench.wait());
      assert.deepEqual(bench.did, ['connect']);
    }
    for (const [i, wait] of waits.entries()) {
      const most = Math.min(60_000, 1000 * 2 ** i);
      assert.ok(wait >= 0.75 * most && wait <= most, `attempt ${i}: ${wait} ms`);
    }
  });

  it('gives up a connection that does not come about, and a peer that does not open', () => {
    const bench = new Bench();
    bench.do({ kind: 'start' });
    assert.equal(bench.wait(), 30_000);
    assert.deepEqual(bench.did, ['close']);
    bench.wait();
    assert.deepEqual(bench.did, ['connect']);
    bench.do({ kind: 'connected', stream: 2, incoming: false });
    assert.equal(bench.wait(), 60_000);
    assert.deepEqual(bench.did, ['NOTIFICATION 4/0', 'close']);
  });

  const unsuitable: readonly [string, Uint8Array, string][] = [
    ['another AS than configured', theirOpen({ asNumber: 65001 }), '2/2'],
    ['our own identifier', theirOpen({ routerId: '10.0.0.1' }), '2/3'],
    ['identifier zero', theirOpen({ routerId: '0.0.0.0' }), '2/3'],
    ['a hold time of two seconds', theirOpen({ holdSeconds: 2 }), '2/6'],
    ['no family in common', theirOpen({ capabilities: { families: [UNICAST4] } }), '2/7'],
    ['no 4-octet AS numbers', encodeMessage(OPEN, fromHex('04fde8005a0a00000208 0206 0104 00010080'.replaceAll(' ', ''))), '2/7'],
    ['BGP 3', encodeMessage(OPEN, fromHex('03fde8005a0a00000200')), '2/1'],
  ];
  for (const [name, open, code] of unsuitable) {
    it(`refuses an OPEN with ${name}`, () => {
      const bench = new Bench();
      bench.do({ kind: 'start' });
      bench.do({ kind: 'connected', stream: 1, incoming: false });
      bench.receive(1, open);
      assert.deepEqual(bench.did, [`NOTIFICATION ${code}`, 'close']);
      assert.notEqual(bench.session.lastError, '');
      assert.equal(bench.session.state, 'Active');
    });
  }

  const unexpected: readonly [string, number, Uint8Array, string][] = [
    ['KEEPALIVE in OpenSent', 0, KEEPALIVE_MESSAGE, '5/1'],
    ['UPDATE in OpenConfirm', 1, encodeMessage(UPDATE, encodeEndOfRib(VPN4)), '5/2'],
    ['a second OPEN in OpenConfirm', 1, theirOpen(), '5/2'],
    ['OPEN in Established', 2, theirOpen(), '5/3'],
    ['a bad marker in Established', 2, new Uint8Array(19), '1/1'],
    ['a malformed UPDATE in Established', 2, encodeMessage(UPDATE, fromHex('00050000')), '3/1'],
  ];
  for (const [name, steps, bytes, code] of unexpected) {
    it(`answers ${name} with ${code}`, () => {
      const bench = new Bench();
      bench.do({ kind: 'start' });
      bench.do({ kind: 'connected', stream: 1, incoming: false });
      for (const message of [theirOpen(), KEEPALIVE_MESSAGE].slice(0, steps)) bench.receive(1, message);
      bench.receive(1, bytes);
      assert.equal(bench.did[0], `NOTIFICATION ${code}`);
      assert.equal(bench.did[1], 'close');
      assert.equal(bench.did.includes('down'), steps === 2);
    });
  }

  it('reads nothing more after it closed a stream', () => {
    const bench = new Bench().establish();
    const bad = encodeMessage(UPDATE, fromHex('00050000'));
    const good = encodeMessage(UPDATE, encodeEndOfRib(VPN4));
    bench.receive(1, new Uint8Array([...bad, ...good]));
    assert.deepEqual(bench.did, ['NOTIFICATION 3/1', 'close', 'down']);
    assert.deepEqual(bench.receive(1, good), []);
  });

  it('is stopped with words, and refuses connections until it is started', () => {
    const bench = new Bench().establish(theirOpen({ capabilities: { gracefulRestart: undefined } }));
    bench.do({ kind: 'stop', reason: 'maintenance' });
    assert.deepEqual(bench.did, ['NOTIFICATION 6/2', 'close', 'down']);
    const written = bench.outputs[0]!;
    assert.ok(written.kind === 'write');
    assert.equal(toHex(written.bytes.slice(HEADER_BYTES + 2)), toHex(shutdownText('maintenance')));
    assert.equal(bench.session.state, 'Idle');
    assert.deepEqual(bench.do({ kind: 'connected', stream: -1, incoming: true }), [{ kind: 'close', stream: -1 }]);
    bench.do({ kind: 'start' });
    assert.deepEqual(bench.did, ['connect']);
  });
});

describe('losing a session', () => {
  const keeps = (bench: Bench): boolean | undefined => bench.outputs.flatMap((output) => (output.kind === 'down' ? [output.keepRoutes] : []))[0];
  const PLAIN = { ...RESTART, notification: false };

  interface Loss {
    readonly name: string;
    readonly lose: (bench: Bench) => void;
    /** With RFC 8538, with RFC 4724 alone, with neither. */
    readonly keeps: readonly [boolean, boolean, boolean];
  }
  const losses: readonly Loss[] = [
    { name: 'a closed connection', lose: (bench) => bench.do({ kind: 'closed', stream: 1 }), keeps: [true, true, false] },
    {
      name: 'an expired hold timer',
      lose: (bench) => {
        while (!bench.did.includes('down')) bench.wait();
      },
      keeps: [true, false, false],
    },
    { name: 'a NOTIFICATION', lose: (bench) => bench.receive(1, encodeNotification({ code: 6, subcode: 4, data: new Uint8Array(0) })), keeps: [true, false, false] },
    { name: 'a hard reset', lose: (bench) => bench.receive(1, encodeNotification({ code: 6, subcode: 9, data: fromHex('0602') })), keeps: [false, false, false] },
    { name: "the peer's error", lose: (bench) => bench.receive(1, new Uint8Array(19)), keeps: [true, false, false] },
    { name: 'our own stop', lose: (bench) => bench.do({ kind: 'stop', reason: 'maintenance' }), keeps: [false, false, false] },
  ];
  for (const { name, lose, keeps: expected } of losses) {
    for (const [i, gracefulRestart] of [RESTART, PLAIN, undefined].entries()) {
      const words = ['with RFC 8538', 'with RFC 4724', 'without graceful restart'][i]!;
      it(`by ${name} ${words} ${expected[i] ? 'keeps' : 'drops'} the routes`, () => {
        const bench = new Bench().establish(theirOpen({ capabilities: { gracefulRestart } }));
        lose(bench);
        assert.equal(keeps(bench), expected[i]);
      });
    }
  }

  it('wraps our stop in a hard reset, so that the peer drops our routes too', () => {
    const bench = new Bench().establish();
    bench.do({ kind: 'stop', reason: 'gone' });
    const written = bench.outputs[0]!;
    assert.ok(written.kind === 'write');
    assert.equal(toHex(written.bytes.slice(HEADER_BYTES)), '06090602' + toHex(shutdownText('gone')));
  });
});

describe('connection collision', () => {
  // RFC 4271 6.8: the connection of the side with the higher identifier stays.
  for (const [routerId, stays] of [['10.0.0.2', -1], ['10.0.0.0', 1]] as const) {
    it(`keeps the ${stays < 0 ? "peer's" : 'own'} connection against ${routerId}`, () => {
      for (const order of [[1, -1], [-1, 1]]) {
        const bench = new Bench();
        bench.do({ kind: 'start' });
        bench.do({ kind: 'connected', stream: 1, incoming: false });
        bench.do({ kind: 'connected', stream: -1, incoming: true });
        bench.receive(order[0]!, theirOpen({ routerId }));
        assert.equal(bench.session.state, 'OpenConfirm');
        bench.receive(order[1]!, theirOpen({ routerId }));
        const closed = bench.outputs.flatMap((output) => (output.kind === 'close' ? [output.stream] : []));
        assert.deepEqual(closed, [-stays]);
        assert.ok(bench.did.includes('NOTIFICATION 6/7'));
        bench.receive(stays, KEEPALIVE_MESSAGE);
        assert.equal(bench.session.state, 'Established');
      }
    });
  }

  it('closes the other half-open connection once one is established', () => {
    const bench = new Bench();
    bench.do({ kind: 'start' });
    bench.do({ kind: 'connected', stream: 1, incoming: false });
    bench.receive(1, theirOpen());
    bench.do({ kind: 'connected', stream: -1, incoming: true });
    bench.receive(1, KEEPALIVE_MESSAGE);
    assert.deepEqual(bench.did, ['NOTIFICATION 6/7', 'close', 'up']);
  });

  it('lets a peer that came back take over an old session, without losing its routes', () => {
    const bench = new Bench().establish();
    bench.now = instant(6_000);
    bench.do({ kind: 'connected', stream: -1, incoming: true });
    assert.equal(bench.session.state, 'Established', 'not before the new OPEN was checked');
    bench.receive(-1, theirOpen());
    assert.deepEqual(bench.did, ['close', 'down', 'KEEPALIVE']);
    assert.deepEqual(bench.outputs[1], { kind: 'down', cause: 'the peer opened a new session', keepRoutes: true });
    bench.receive(-1, KEEPALIVE_MESSAGE);
    assert.deepEqual(bench.did, ['up']);
  });

  it('refuses a second session while the first is young, or when the peer does no graceful restart', () => {
    for (const [age, gracefulRestart] of [[1_000, RESTART], [600, undefined]] as const) {
      const bench = new Bench().establish(theirOpen({ capabilities: { gracefulRestart } }));
      bench.now = instant(age);
      bench.do({ kind: 'connected', stream: -1, incoming: true });
      bench.receive(-1, theirOpen());
      assert.deepEqual(bench.did, ['NOTIFICATION 6/7', 'close']);
      assert.equal(bench.session.state, 'Established');
    }
  });

  it('keeps one half-open connection however often the peer calls', () => {
    const bench = new Bench({ passive: true });
    bench.do({ kind: 'start' });
    const open = new Set<number>();
    for (let stream = -1; stream > -100; stream--) {
      open.add(stream);
      for (const output of bench.do({ kind: 'connected', stream, incoming: true })) if (output.kind === 'close') open.delete(output.stream);
    }
    assert.equal(open.size, 1);
  });
});

describe('a hostile peer', () => {
  it('gets no further than a closed stream with any octets', () => {
    const random = new SeededRandom('hostile peer');
    const pieces = [theirOpen(), KEEPALIVE_MESSAGE, encodeMessage(UPDATE, encodeEndOfRib(VPN4)), encodeNotification({ code: 6, subcode: 2, data: shutdownText('x') })];
    const bench = new Bench();
    bench.do({ kind: 'start' });
    let stream = 0;
    for (let i = 0; i < 3000; i++) {
      bench.now = instant(bench.now + randomBelow(random, 3_000));
      if (randomBelow(random, 4) === 0) bench.do({ kind: 'connected', stream: --stream, incoming: true });
      let bytes = pieces[randomBelow(random, pieces.length)]!.slice();
      if (randomBelow(random, 2) === 0) bytes[randomBelow(random, bytes.length)]! ^= 1 << randomBelow(random, 8);
      if (randomBelow(random, 8) === 0) bytes = random.bytes(40);
      bench.receive(stream, bytes);
      bench.do({ kind: 'timeout' });
    }
    assert.ok(bench.session.counters.notificationsOut > 100);
  });
});
