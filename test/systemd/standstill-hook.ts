// Loaded before the appliance: makes a thread of it stand still for as long as a file of the directory in
// SELVAGE_TEST_STANDSTILL exists. `forwarder`: at the mailbox; `control`: after SIGUSR2.
import { existsSync, writeFileSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { join } from 'node:path';
import { isMainThread, receiveMessageOnPort } from 'node:worker_threads';

const directory = process.env['SELVAGE_TEST_STANDSTILL']!;

function standStill(what: string): void {
  const still = new Int32Array(new SharedArrayBuffer(4));
  const file = join(directory, what);
  if (existsSync(file)) writeFileSync(join(directory, `${what}-stands`), '');
  while (existsSync(file)) Atomics.wait(still, 0, 0, 10);
}

if (isMainThread) {
  process.on('SIGUSR2', () => standStill('control'));
} else {
  const threads = createRequire(import.meta.url)('node:worker_threads') as { receiveMessageOnPort: typeof receiveMessageOnPort };
  const genuine = receiveMessageOnPort;
  threads.receiveMessageOnPort = (port) => {
    standStill('forwarder');
    return genuine(port);
  };
  syncBuiltinESMExports();
}
