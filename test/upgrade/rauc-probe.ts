// What the appliance's own code makes of bundles and slots, with RAUC in the root of its argument. Prints one JSON object.
import { Rauc } from '../../drivers/rauc.ts';
import { requireInstallable } from '../../firmware/upgrade/bundle.ts';

const rauc = new Rauc(['chroot', process.argv[2]!, 'rauc']);

async function slots(): Promise<string> {
  const { compatible, slots: rows } = await rauc.status();
  const shown = rows.toSorted((a, b) => a.name.localeCompare(b.name)).map(({ name, booted, good }) => `${name}${booted ? ' booted' : ''}${good ? ' good' : ''}`);
  return `${compatible} ${shown.join(', ')}`;
}

async function judge(bundle: string): Promise<string> {
  try {
    const facts = await rauc.info(`/bundles/${bundle}.raucb`);
    requireInstallable(facts, { compatible: 'selvage-x86_64', floor: '1.0.0' });
    return `accepted ${facts.version}`;
  } catch (error) {
    return (error as Error).message;
  }
}

const said: Record<string, string> = { before: await slots() };
for (const bundle of ['good', 'built', 'unsigned', 'stranger', 'purpose', 'foreign', 'truncated', 'old', 'plain']) said[bundle] = await judge(bundle);
await rauc.mark('good', 'booted');
said['after'] = await slots();
process.stdout.write(`${JSON.stringify(said)}\n`);
