// A customer's host in the lab. `serve NAME PORT` answers every TCP connection and every UDP datagram with its name;
// `ask ADDRESS PORT tcp|udp TIMEOUT` prints what the host at the address answers.
import { createSocket } from 'node:dgram';
import { connect, createServer, isIPv6 } from 'node:net';
import { UsageError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';

function serve(name: string, port: number): void {
  const server = createServer((socket) => {
    // A peer that resets the connection is no event for a host.
    socket.on('error', () => {});
    socket.end(`${name}\n`);
  });
  server.listen(port, '::');
  const datagrams = createSocket({ type: 'udp6', ipv6Only: false });
  datagrams.on('message', (_bytes, remote) => datagrams.send(`${name}\n`, remote.port, remote.address));
  datagrams.bind(port, '::');
}

function askStream(address: string, port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    let said = '';
    const socket = connect({ host: address, port });
    socket.on('data', (bytes) => (said += bytes.toString('utf8')));
    socket.once('error', reject);
    socket.once('end', () => resolve(said));
  });
}

/** A lost datagram is asked again, as any client would. */
async function askDatagram(address: string, port: number): Promise<string> {
  const socket = createSocket(isIPv6(address) ? 'udp6' : 'udp4');
  let said: string | undefined;
  socket.on('message', (bytes) => (said = bytes.toString('utf8')));
  socket.on('error', () => {});
  while (said === undefined) {
    socket.send('who\n', port, address);
    await sleep(200);
  }
  return said;
}

async function ask(address: string, port: number, transport: string, timeoutMs: number): Promise<void> {
  const answer = transport === 'udp' ? askDatagram(address, port) : askStream(address, port);
  const said = await Promise.race([answer.catch(() => undefined), sleep(timeoutMs)]);
  if (typeof said === 'string' && said !== '') process.stdout.write(said);
  process.exit(typeof said === 'string' && said !== '' ? 0 : 1);
}

async function main([verb, ...rest]: readonly string[]): Promise<void> {
  if (verb === 'serve') serve(rest[0]!, Number(rest[1]));
  else if (verb === 'ask') await ask(rest[0]!, Number(rest[1]), rest[2]!, Number(rest[3]));
  else throw new UsageError('Use: serve NAME PORT, or ask ADDRESS PORT tcp|udp TIMEOUT');
}

if (import.meta.main) await main(process.argv.slice(2));
