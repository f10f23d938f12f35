// A file with the outer form of a RAUC verity bundle: octets, then a CMS that encloses a manifest, then its length. Nobody
// has signed it, which only a box with RAUC can tell.
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SeededRandom } from '../../platform/random.ts';

export interface MadePackage {
  readonly file: string;
  readonly sha256: string;
  readonly bytes: number;
}

function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(content);
  const length = body.length < 0x80 ? [body.length] : body.length < 0x100 ? [0x81, body.length] : [0x82, body.length >> 8, body.length & 0xff];
  return Buffer.concat([Uint8Array.of(tag, ...length), body]);
}

const SIGNED_DATA = Buffer.from('06092a864886f70d010702', 'hex');
const DATA = Buffer.from('06092a864886f70d010701', 'hex');

export function packageOf(directory: string, version: string, { compatible = 'selvage-x86_64', bytes = 200_000, detached = false } = {}): MadePackage {
  const manifest = Buffer.from(`[update]\ncompatible=${compatible}\nversion=${version}\n\n[bundle]\nformat=verity\n\n[image.rootfs]\nversion=none\n`);
  const enclosed = detached ? der(0x30, DATA) : der(0x30, DATA, der(0xa0, der(0x04, manifest)));
  const cms = der(0x30, SIGNED_DATA, der(0xa0, der(0x30, der(0x02, Uint8Array.of(1)), der(0x31), enclosed, der(0x31))));
  const length = Buffer.alloc(8);
  length.writeBigUInt64BE(BigInt(cms.length));
  const whole = Buffer.concat([new SeededRandom(version).bytes(bytes), cms, length]);
  const file = join(directory, `${compatible}-${version}.raucb`);
  writeFileSync(file, whole);
  return { file, bytes: whole.length, sha256: createHash('sha256').update(whole).digest('hex') };
}
