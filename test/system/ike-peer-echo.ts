// Octets over TCP, there and back. `listen ADDRESS` returns to every connection what it sends; `send ADDRESS COUNT`
// sends that many, and ends with 0 when exactly these came back. Own processes, because each runs in a namespace.
import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';

const PORT = 4000;

function listen(address: string): void {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  server.listen(PORT, address, () => process.stdout.write('ready\n'));
}

function send(address: string, count: number): void {
  const sent = Buffer.alloc(count, createHash('sha512').update(String(count)).digest());
  const received: Buffer[] = [];
  const socket = connect({ host: address, port: PORT }, () => socket.end(sent));
  socket.on('data', (bytes) => received.push(bytes));
  socket.on('error', (error) => {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  });
  socket.on('close', () => {
    const back = Buffer.concat(received);
    if (back.equals(sent)) process.exit(0);
    process.stderr.write(`${back.length} octets came back of ${count}, or others\n`);
    process.exit(1);
  });
}

const [action, address, count] = process.argv.slice(2);
if (action === 'listen') listen(address!);
else send(address!, Number(count));
