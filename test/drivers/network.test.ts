// The control plane's sockets: in the process's own namespace and inside virtual routers.
import { strict as assert } from 'node:assert';
import { requireNative } from '../../drivers/native/addon.ts';
import { NativeOpener } from '../../drivers/native/sockets.ts';
import type { DatagramSocket, Listener, Network, SocketAddress, StreamHandlers, StreamSocket } from '../../drivers/port.ts';
import { NodeNetwork, STREAM_QUEUE_BYTES } from '../../drivers/portable/sockets.ts';
import { OperationalError } from '../../platform/errors.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { sleep } from '../../platform/time.ts';
import { connectNamespaces, withNamespace } from './namespaces.ts';

async function eventually(what: string, holds: () => boolean): Promise<void> {
  for (let turn = 0; turn < 3000 && !holds(); turn++) await sleep(1);
  assert.ok(holds(), what);
}

function withCode(code: string): (error: unknown) => boolean {
  return (error) => error instanceof OperationalError && error.code === code;
}

/** What a stream's owner was told, in order. */
class Story implements StreamHandlers {
  readonly events: string[] = [];
  received = '';
  error: Error | undefined;

  onConnected(): void {
    this.events.push('connected');
  }

  onData(bytes: Uint8Array): void {
    this.received += fromUtf8(bytes);
  }

  onClosed(error: Error | undefined): void {
    this.events.push('closed');
    this.error = error;
  }
}

interface Place {
  readonly name: string;
  readonly vr: string | undefined;
  readonly otherVr: string | undefined;
  /** Addresses in `vr` and `otherVr` that reach each other. */
  readonly near: string;
  readonly far: string;
}

function listenOn(network: Network, vr: string | undefined, local: SocketAddress): { listener: Listener; streams: StreamSocket[]; stories: Story[]; errors: Error[] } {
  const streams: StreamSocket[] = [];
  const stories: Story[] = [];
  const errors: Error[] = [];
  const onStream = (stream: StreamSocket): void => {
    const story = new Story();
    stream.handlers = story;
    streams.push(stream);
    stories.push(story);
  };
  const listener = network.listenStream({ vr, local, onStream, onError: (error) => errors.push(error) });
  return { listener, streams, stories, errors };
}

function networkContract(place: Place, network: () => Network): void {
  const PORT = 5179;
  const open = (vr: string | undefined, local: SocketAddress, got: string[], errors: Error[] = []): DatagramSocket =>
    network().openDatagram({
      vr,
      local,
      onDatagram: (bytes, remote) => got.push(`${remote.address} ${remote.port} ${fromUtf8(bytes)}`),
      onError: (error) => errors.push(error),
    });

  describe(place.name, () => {
    it('carries datagrams with their sender, and knows the local port at once', async () => {
      const [atNear, atFar]: [string[], string[]] = [[], []];
      const near = open(place.vr, { address: place.near, port: 0 }, atNear);
      const far = open(place.otherVr, { address: place.far, port: 0 }, atFar);
      assert.ok(near.local.port > 0 && far.local.port > 0);
      near.send(utf8('there'), far.local);
      await eventually('the datagram arrives', () => atFar.length === 1);
      far.send(utf8('and back'), near.local);
      await eventually('the answer arrives', () => atNear.length === 1);
      assert.deepEqual(atFar, [`${place.near} ${near.local.port} there`]);
      assert.deepEqual(atNear, [`${place.far} ${far.local.port} and back`]);
      near.close();
      far.close();
    });

    it('reports a refused datagram through onError, never as an exception', async () => {
      const errors: Error[] = [];
      const near = open(place.vr, { address: place.near, port: 0 }, [], errors);
      near.send(new Uint8Array(70_000), { address: place.far, port: PORT });
      near.send(utf8('x'), { address: place.far, port: 0 });
      near.send(utf8('x'), { address: 'no address', port: PORT });
      await eventually('three errors', () => errors.length === 3);
      assert.ok(errors.every((error) => error instanceof OperationalError));
      assert.ok(errors.some(withCode('EMSGSIZE')));
      near.close();
      near.close();
      near.send(utf8('x'), { address: place.far, port: PORT });
    });

    it('throws the name of the error when a datagram address cannot be bound', () => {
      const first = open(place.vr, { address: place.near, port: PORT }, []);
      assert.throws(() => open(place.vr, { address: place.near, port: PORT }, []), withCode('EADDRINUSE'));
      assert.throws(() => open(place.vr, { address: '198.51.100.77', port: 0 }, []), withCode('EADDRNOTAVAIL'));
      first.close();
    });

    it('connects a stream, carries octets both ways and ends in order', async () => {
      const { listener, streams, stories } = listenOn(network(), place.otherVr, { address: place.far, port: PORT });
      const mine = new Story();
      const remote = { address: place.far, port: PORT };
      const stream = network().connectStream({ vr: place.vr, localAddress: place.near, remote, handlers: mine });
      const greeting = utf8('hello');
      stream.write(greeting);
      greeting.fill(0);
      await eventually('the listener reads', () => stories[0]?.received === 'hello');
      assert.equal(streams[0]!.remote.address, place.near);
      assert.equal(stream.local?.address, place.near);
      streams[0]!.write(utf8('welcome'));
      streams[0]!.close();
      await eventually('both ends close', () => mine.events.includes('closed') && stories[0]!.events.includes('closed'));
      assert.equal(mine.received, 'welcome');
      assert.deepEqual(mine.events, ['connected', 'closed']);
      assert.equal(mine.error, undefined);
      stream.write(utf8('too late'));
      stream.close();
      listener.close();
      listener.close();
    });

    it('closes a stream that is refused, exactly once and with the cause', async () => {
      const mine = new Story();
      network().connectStream({ vr: place.vr, localAddress: undefined, remote: { address: place.far, port: 9 }, handlers: mine });
      await eventually('the stream closes', () => mine.events.length > 0);
      await sleep(5);
      assert.deepEqual(mine.events, ['closed']);
      assert.ok(withCode('ECONNREFUSED')(mine.error));
    });

    it('closes a stream whose source address is not here, with the cause', async () => {
      const mine = new Story();
      network().connectStream({ vr: place.vr, localAddress: '198.51.100.77', remote: { address: place.far, port: 9 }, handlers: mine });
      await eventually('the stream closes', () => mine.events.length > 0);
      assert.deepEqual(mine.events, ['closed']);
      assert.ok(withCode('EADDRNOTAVAIL')(mine.error));
    });

    it('closes a stream whose peer does not read when too much waits', async () => {
      const { listener, streams, stories } = listenOn(network(), place.otherVr, { address: place.far, port: PORT });
      const mine = new Story();
      const stream = network().connectStream({ vr: place.vr, localAddress: undefined, remote: { address: place.far, port: PORT }, handlers: mine });
      // In one turn of the event loop nobody reads.
      for (let written = 0; written <= STREAM_QUEUE_BYTES; written += 1 << 20) stream.write(new Uint8Array(1 << 20));
      await eventually('the stream closes', () => mine.events.includes('closed'));
      assert.ok(withCode('ENOBUFS')(mine.error));
      listener.close();
      for (const left of streams) left.close();
      await eventually('the other end closes', () => stories.every((story) => story.events.includes('closed')));
    });

    it('names the error of a listener whose port is in use', async () => {
      const first = listenOn(network(), place.vr, { address: place.near, port: PORT });
      const told: unknown[] = [];
      try {
        const second = listenOn(network(), place.vr, { address: place.near, port: PORT });
        await eventually('onError', () => second.errors.length === 1);
        told.push(second.errors[0]);
        second.listener.close();
      } catch (error) {
        told.push(error);
      }
      assert.equal(told.length, 1);
      assert.ok(withCode('EADDRINUSE')(told[0]));
      first.listener.close();
    });
  });
}

describe('network', () => {
  const a = withNamespace('net-a');
  const b = withNamespace('net-b');
  before(() => connectNamespaces(a, b));
  const native = (): Network => new NodeNetwork(new NativeOpener(requireNative()));

  networkContract({ name: 'between virtual routers over IPv4', vr: a, otherVr: b, near: '192.0.2.1', far: '192.0.2.2' }, native);
  networkContract({ name: 'between virtual routers over IPv6', vr: a, otherVr: b, near: '2001:db8::1', far: '2001:db8::2' }, native);
  networkContract({ name: 'in the own namespace', vr: undefined, otherVr: undefined, near: '127.0.0.1', far: '127.0.0.1' }, () => new NodeNetwork());

  it('says what is missing when a virtual router is asked of the portable network', () => {
    const options = { vr: a, local: { address: '192.0.2.1', port: 0 }, onDatagram: () => undefined, onError: () => undefined };
    assert.throws(() => new NodeNetwork().openDatagram(options), withCode('NO_ADDON'));
  });

  it('opens the same port in two virtual routers', () => {
    const handlers = { onDatagram: (): void => undefined, onError: (): void => undefined };
    const sockets = [a, b, undefined].map((vr) => native().openDatagram({ vr, local: { address: '0.0.0.0', port: 45_173 }, ...handlers }));
    assert.deepEqual(sockets.map((socket) => socket.local.port), [45_173, 45_173, 45_173]);
    for (const socket of sockets) socket.close();
  });
});
