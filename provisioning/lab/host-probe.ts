// Run on a LAN host: `ADDRESS:PORT...` (IPv6 in brackets) after a timeout in milliseconds. Tries a TCP connection to
// each at once and prints, as one JSON object, how it went: open, refused (something at the address said no),
// unreachable (a router said no) or silent.
import { connect } from 'node:net';
import { sleep } from '../../platform/time.ts';

export type ProbeResult = 'open' | 'refused' | 'unreachable' | 'silent';

const TARGET = /^\[?([^\]]+)\]?:(\d+)$/;

function tryOne(target: string, timeoutMs: number): Promise<ProbeResult> {
  const [, host, port] = TARGET.exec(target)!;
  const socket = connect({ host: host!, port: Number(port) });
  const outcome = new Promise<ProbeResult>((resolve) => {
    socket.once('connect', () => resolve('open'));
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED' || error.code === 'ECONNRESET' ? 'refused' : 'unreachable'));
  });
  return Promise.race([outcome, sleep(timeoutMs).then((): ProbeResult => 'silent')]).finally(() => socket.destroy());
}

async function main([timeoutMs, ...targets]: readonly string[]): Promise<void> {
  const results = await Promise.all(targets.map(async (target) => [target, await tryOne(target, Number(timeoutMs))] as const));
  process.stdout.write(`${JSON.stringify(Object.fromEntries(results))}\n`);
}

if (import.meta.main) {
  await main(process.argv.slice(2));
  process.exit(0);
}
