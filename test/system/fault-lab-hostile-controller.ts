// Loaded into a Controller's firmware before its own code: a Controller that was taken over. It behaves until SIGUSR2;
// each signal makes it what HOSTILE_CONDUCT says: honest, lawless (it takes any route from any branch), or forging (it
// alters the signature of every key route that it hands on).
import { readFileSync } from 'node:fs';
import { registerHooks } from 'node:module';
import { isMainThread } from 'node:worker_threads';
import { NodeNetwork } from '../../drivers/portable/sockets.ts';
import { HOSTILE_CONDUCT, withBadSignature } from './fault-lab-hostile.ts';
import type { Conduct } from './fault-lab-hostile.ts';

const POLICY = '/firmware/sdwan/route-policy.ts';
const BGP_HEADER_BYTES = 19;
const BGP_UPDATE = 2;
/** Type and length in bits of a key route over IPv4. */
const KEY_ROUTE = Buffer.from('ff010080', 'hex');

/** The route policy, with a way around it. */
const LAWLESS_POLICY = `
import * as lawful from './route-policy.ts?lawful';
const isLawless = () => globalThis.selvageConduct === 'lawless';
export const acceptSdwanRoute = (...facts) => (isLawless() ? undefined : lawful.acceptSdwanRoute(...facts));
export const acceptVpnRoute = (...facts) => (isLawless() ? undefined : lawful.acceptVpnRoute(...facts));
`;

/** One write is one or more whole BGP messages. */
function forged(bytes: Uint8Array): Uint8Array {
  const out = Uint8Array.from(bytes);
  for (let at = 0; at + BGP_HEADER_BYTES <= out.length; ) {
    const length = (out[at + 16]! << 8) | out[at + 17]!;
    if (length < BGP_HEADER_BYTES) return out;
    const message = out.subarray(at, at + length);
    if (message[18] === BGP_UPDATE && Buffer.from(message).includes(KEY_ROUTE)) message.set(withBadSignature(message) ?? message);
    at += length;
  }
  return out;
}

if (isMainThread) {
  const world = globalThis as { selvageConduct?: Conduct };
  registerHooks({
    load: (url, context, next) => (url.endsWith(POLICY) ? { format: 'module', source: LAWLESS_POLICY, shortCircuit: true } : next(url, context)),
  });
  const listen = NodeNetwork.prototype.listenStream;
  NodeNetwork.prototype.listenStream = function (options) {
    return listen.call(this, {
      ...options,
      onStream: (stream) => {
        const write = stream.write.bind(stream);
        stream.write = (bytes) => write(world.selvageConduct === 'forging' ? forged(bytes) : bytes);
        options.onStream(stream);
      },
    });
  };
  process.on('SIGUSR2', () => (world.selvageConduct = readFileSync(HOSTILE_CONDUCT, 'utf8') as Conduct));
}
