import { strict as assert } from 'node:assert';
import { createSocket } from 'node:dgram';
import { Worker } from 'node:worker_threads';
import { BURST_PACKETS, createBurst } from '../../drivers/burst.ts';
import { layoutDifference, loadNative, nativeLoadError, requireNative } from '../../drivers/native/addon.ts';
import { openDrivers } from '../../drivers/open.ts';
import { createWaiter, createWakeup, nativeAead } from '../../drivers/threads.ts';

const WORKER = `
  import { parentPort, workerData } from 'node:worker_threads';
  const { adoptWakeup, createWaiter, nativeAead } = await import(workerData.threads);
  const wakeup = adoptWakeup(workerData.fd);
  const key = { suite: 'aes-256-gcm-16', key: new Uint8Array(32), salt: new Uint8Array(4), esn: true };
  parentPort.postMessage({ engine: nativeAead().name, handle: nativeAead().install(key) });
  const waiter = createWaiter([wakeup.fd]);
  const woken = waiter.wait(10000);
  wakeup.drain();
  parentPort.postMessage({ woken, after: waiter.wait(0) });
`;

describe('native addon', () => {
  it('loads, and agrees with drivers/burst.ts on the layout', () => {
    assert.equal(nativeLoadError(), undefined);
    assert.ok(loadNative() !== undefined);
    assert.match(openDrivers().description, /OpenSSL 3/);
  });

  it('is refused when one number of its layout differs', () => {
    const layout = requireNative().layout();
    assert.equal(layoutDifference(layout), undefined);
    assert.equal(layoutDifference({ ...layout, headroom: 128 }), 'headroom: 128, 192');
    assert.match(layoutDifference({ ...layout, columns: { ...layout.columns, esp: 4 } })!, /^esp: 4, /);
    assert.equal(layoutDifference({ ...layout, columns: { offset: 0 } }), 'columns: 1, 20');
  });

  it('throws for every kind of misuse and does not crash', () => {
    const addon = requireNative() as unknown as Record<string, (...args: unknown[]) => unknown>;
    const { memory } = createBurst();
    const odd = [undefined, null, 'x', -1, 1.5, Number.NaN, 2 ** 40, {}, [], new ArrayBuffer(8), new Uint8Array(3), memory];
    for (const [name, call] of Object.entries(addon)) {
      if (['layout', 'createWakeup', 'aeadHasVaes'].includes(name)) continue;
      assert.throws(() => call(), TypeError, `${name} without arguments`);
      for (const value of odd) {
        try {
          call(...new Array<unknown>(6).fill(value));
        } catch (error) {
          assert.ok(error instanceof Error, name);
        }
      }
    }
    assert.throws(() => addon['readTun']!(-1, memory, BURST_PACKETS + 1), TypeError);
    assert.throws(() => addon['readTun']!(-1, new ArrayBuffer(memory.byteLength - 1), 0), TypeError);
    assert.throws(() => addon['openTun']!(undefined, 'a-name-longer-than-15', 1400, false), TypeError);
    assert.throws(() => addon['openSocket']!(undefined, 9, '127.0.0.1', 0, true), RangeError);
    assert.throws(() => addon['openSocket']!(undefined, 0, 'localhost', 0, true), TypeError);
    // Times and two descriptors.
    assert.equal(addon['wait']!(new ArrayBuffer(16 + 2 * 9), 0, 0, 0), 0);
    assert.throws(() => addon['wait']!(new ArrayBuffer(16 + 2 * 9), 3, 0, 0), TypeError);
    assert.throws(() => addon['wait']!(new ArrayBuffer(16 + 2 * 9 + 1), 2, 0, 0), TypeError);
    assert.throws(() => addon['wait']!(new ArrayBuffer(15), 0, 0, 0), TypeError);
  });

  it('reports a bad descriptor by name, or as an empty read', () => {
    const addon = requireNative();
    const { memory } = createBurst();
    assert.throws(() => addon.close(-1), { code: 'EBADF', syscall: 'close' });
    assert.throws(() => addon.duplicate(-1), { code: 'EBADF' });
    assert.equal(addon.readTun(-1, memory, 0), 0);
    assert.equal(addon.readDatagrams(-1, 0, 4, memory, 0), 0);
  });

  it('waits for several descriptors and tells which are ready', () => {
    const [a, b] = [createWakeup(), createWakeup()];
    const waiter = createWaiter([a.fd, -1, b.fd]);
    const wait = (timeoutMs: number, spinUs = 0): number[] => {
      waiter.ready.fill(9);
      const found = waiter.wait(timeoutMs, spinUs);
      assert.equal(found, waiter.ready.filter((mark) => mark === 1).length);
      return [...waiter.ready];
    };
    assert.deepEqual(wait(0), [0, 0, 0]);
    b.wake();
    b.wake();
    assert.deepEqual(wait(1000), [0, 0, 1]);
    a.wake();
    assert.deepEqual(wait(-1), [1, 0, 1]);
    assert.deepEqual(wait(-1, 50), [1, 0, 1]);
    b.drain();
    assert.deepEqual(wait(-1), [1, 0, 0]);
    a.drain();
    a.drain();
    assert.deepEqual(wait(0), [0, 0, 0]);
    assert.deepEqual(wait(0, 50), [0, 0, 0]);
    a.close();
    b.close();
  });

  it('loads in a worker thread, which the main thread wakes', async () => {
    const wakeup = createWakeup();
    const threads = new URL('../../drivers/threads.ts', import.meta.url).href;
    const source = new URL(`data:text/javascript,${encodeURIComponent(WORKER)}`);
    const worker = new Worker(source, { workerData: { fd: wakeup.fd, threads } });
    const messages: unknown[] = [];
    worker.on('message', (message) => {
      messages.push(message);
      if (messages.length === 1) wakeup.wake();
    });
    const code = await new Promise((resolve, reject) => {
      worker.on('error', reject);
      worker.on('exit', resolve);
    });
    wakeup.close();
    assert.equal(code, 0);
    assert.deepEqual(messages, [{ engine: nativeAead().name, handle: 0 }, { woken: 1, after: 0 }]);
  });

  it('refuses a notification that nobody receives, with the name of the error', () => {
    assert.throws(() => requireNative().notify('@selvage-test-nobody', 'READY=1'), { code: 'ECONNREFUSED' });
    assert.throws(() => requireNative().notify('/nonexistent/notify', 'READY=1'), { code: 'ENOENT' });
  });
});

describe('port numbers of the test host', () => {
  it('come from the same kernel for Node and for the addon', async () => {
    const addon = requireNative();
    const fd = addon.openSocket(undefined, 0, '127.0.0.1', 0, true);
    const peer = createSocket('udp4');
    const port = addon.localPort(fd);
    const failed = new Promise((resolve) => peer.on('error', (error: NodeJS.ErrnoException) => resolve(error.code)));
    peer.bind(port, '127.0.0.1');
    assert.equal(await failed, 'EADDRINUSE');
    addon.close(fd);
  });
});
