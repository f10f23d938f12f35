// Carries TCP connections from the machine into the lab, which has no network in common with it: a listener outside
// hands every connection to a Unix socket in the run's directory, and a relay in the lab hands it to a place inside.
import { chmodSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import type { NetConnectOpts, Server, Socket } from 'node:net';

/** More browsers than anyone opens on one lab. */
const MAX_CONNECTIONS = 256;

function join(near: Socket, target: NetConnectOpts): void {
  const far = connect(target);
  // The end of either side ends the other; whoever was cut off sees a closed connection and asks again.
  near.on('error', () => far.destroy());
  far.on('error', () => near.destroy());
  near.on('close', () => far.destroy());
  far.on('close', () => near.destroy());
  near.pipe(far);
  far.pipe(near);
}

function relayTo(target: NetConnectOpts): Server {
  const server = createServer((socket) => join(socket, target));
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

function listening(server: Server, listen: (done: () => void) => void): Promise<Server> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    listen(() => resolve(server));
  });
}

/** Outside: listens on the machine's loopback; port 0 takes a free one. The server's address tells which. */
export function relayFromMachine(port: number, socketPath: string): Promise<Server> {
  const server = relayTo({ path: socketPath });
  return listening(server, (done) => server.listen({ host: '127.0.0.1', port }, done));
}

/** Inside, in the namespace that reaches the address: listens on the Unix socket. */
export function relayIntoLab(socketPath: string, host: string, port: number): Promise<Server> {
  rmSync(socketPath, { force: true });
  const server = relayTo({ host, port });
  return listening(server, (done) =>
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      done();
    }),
  );
}

if (import.meta.main) {
  const [socketPath, host, port] = process.argv.slice(2);
  await relayIntoLab(socketPath!, host!, Number(port));
}
