// The inputs that are kept: one file of hexadecimal text per input, named by the fact that it once disproved. Lines that
// begin with # are its story. A finding comes here by hand, once it is understood.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fromHex } from '../../platform/bytes.ts';

export interface CorpusEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
}

export function readCorpus(target: string): readonly CorpusEntry[] {
  const directory = new URL(`corpus/${target}/`, import.meta.url);
  if (!existsSync(directory)) return [];
  const names = readdirSync(directory).filter((name) => name.endsWith('.hex')).sort();
  return names.map((name) => {
    const text = readFileSync(new URL(name, directory), 'utf8').replaceAll(/^#.*$/gm, '');
    return { name: name.slice(0, -'.hex'.length), bytes: fromHex(text.replaceAll(/\s/g, '')) };
  });
}
