// Opens the client of a port and waits, for a test to kill it. Arguments: virtual router, device, directory of leases.
import { DhcpcdClients } from '../../drivers/dhcpcd.ts';
import { SystemRandom } from '../../platform/random.ts';

const [vr, device, leases] = process.argv.slice(2) as [string, string, string];
new DhcpcdClients(leases, new SystemRandom()).open({ vr, device, families: [4], onGiven: () => undefined, onEnded: (cause) => process.stderr.write(`${cause}\n`) });
