// Questions and answers on a Unix socket: one JSON document per line each way. Who may connect is decided by the
// directory's and the socket's permissions (0600, root).
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { OperationalError } from './errors.ts';

/** A request longer than this is refused and its connection closed. */
export const LONGEST_REQUEST = 64 * 1024;
const MOST_CONNECTIONS = 64;

export type Answer = (request: unknown) => unknown;

export interface JsonServer {
  close(): Promise<void>;
}

/** Serves `answer` on `path`; an exception becomes `{ error: message }`. Rejects when the socket cannot be made. */
export function serveJson(path: string, answer: Answer): Promise<JsonServer> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    serveOne(socket, answer);
  });
  server.maxConnections = MOST_CONNECTIONS;
  return new Promise((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new OperationalError('monitor-socket', `cannot listen on ${path}: ${cause.message}`, `check that ${dirname(path)} exists and is writable`, cause)),
    );
    server.listen(path, () => {
      chmodSync(path, 0o600);
      resolve({ close: () => closeServer(server, sockets) });
    });
  });
}

function closeServer(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  for (const socket of sockets) socket.destroy();
  return new Promise((resolve) => server.close(() => resolve()));
}

function serveOne(socket: Socket, answer: Answer): void {
  let pending = '';
  socket.setEncoding('utf8');
  socket.on('data', (text: string) => {
    pending += text;
    for (let end = pending.indexOf('\n'); end >= 0; end = pending.indexOf('\n')) {
      const line = pending.slice(0, end);
      pending = pending.slice(end + 1);
      void Promise.resolve()
        .then(() => answer(JSON.parse(line)))
        .then(
          (result) => ({ result: result ?? null }),
          (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
        )
        .then((reply) => socket.writable && socket.write(`${JSON.stringify(reply)}\n`));
    }
    if (pending.length > LONGEST_REQUEST) socket.destroy();
  });
}

/** Asks one question. Rejects with OperationalError when nobody listens or the answer is an error. */
export function askJson(path: string, request: unknown): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let text = '';
    socket.setEncoding('utf8');
    socket.on('error', (cause) =>
      reject(new OperationalError('monitor-unreachable', `no answer on ${path}: ${cause.message}`, 'check that the appliance service runs: systemctl status selvage', cause)),
    );
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`));
    socket.on('data', (part: string) => {
      text += part;
      if (!text.includes('\n')) return;
      socket.destroy();
      const reply = JSON.parse(text) as { result?: unknown; error?: string };
      if (reply.error === undefined) resolve(reply.result);
      else reject(new OperationalError('request-refused', reply.error, 'correct the request'));
    });
    socket.on('close', () => reject(new OperationalError('monitor-closed', `${path} was closed without an answer`, 'look into versa-service.log')));
  });
}
