// Asks for the virtual routers of its arguments as the appliance in its unit does, and says what it got; those with a
// dash in front are removed.
import { requestedNamespaces } from '../../drivers/namespace.ts';

const namespaces = requestedNamespaces('/run/selvage-namespaces');
for (const vr of process.argv.slice(2)) {
  if (vr.startsWith('-')) await namespaces.remove(vr.slice(1));
  else await namespaces.make(vr);
  process.stdout.write(`${vr}\n`);
}
