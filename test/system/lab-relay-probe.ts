// Runs inside the lab's enclosure: serves one host behind the relay until the test outside has asked it.
import { spawn } from 'node:child_process';
import { existsSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { sleep } from '../../platform/time.ts';
import { enclosedRelay, settleInside } from '../../provisioning/lab/enclosure.ts';

const LAB = join(import.meta.dirname, '../../provisioning/lab');
const PORT = 7007;

async function probe(readyFile: string, doneFile: string): Promise<void> {
  settleInside();
  const relay = enclosedRelay()!;
  spawn(process.execPath, [join(LAB, 'lan-host.ts'), 'serve', 'inside', String(PORT)], { stdio: 'inherit' });
  spawn(process.execPath, [join(LAB, 'relay.ts'), relay.socketPath, '127.0.0.1', String(PORT)], { stdio: 'inherit' });
  while (!existsSync(relay.socketPath)) await sleep(10);
  // Complete before it has its name.
  writeFileSync(`${readyFile}.part`, String(relay.port));
  renameSync(`${readyFile}.part`, readyFile);
  while (!existsSync(doneFile)) await sleep(10);
}

if (import.meta.main) {
  await probe(process.argv[2]!, process.argv[3]!);
  process.exit(0);
}
