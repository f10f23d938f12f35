// Asks for the virtual routers of its arguments as the appliance in its unit does, and says what it got.
import { requestNamespace } from '../../drivers/namespace.ts';

for (const vr of process.argv.slice(2)) {
  await requestNamespace('/run/selvage-namespaces', vr);
  process.stdout.write(`${vr}\n`);
}
