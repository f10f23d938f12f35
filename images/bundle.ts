// The update bundle of one architecture: the slot image in RAUC's verity format, signed for code (check-purpose=codesign).
// The manifest is part of the signature, so that a box judges version and architecture before it writes anything.
import { copyFileSync, linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { hostCommand } from '../provisioning/lab/host-command.ts';
import type { Architecture } from './architecture.ts';
import type { Signer } from './signature.ts';

export interface BundleContent {
  readonly architecture: Architecture;
  readonly version: string;
  /** File with the image of the root slot. */
  readonly slot: string;
  readonly signer: Signer;
}

export function bundleManifest({ architecture, version }: Pick<BundleContent, 'architecture' | 'version'>): string {
  return `[update]
compatible=selvage-${architecture.machine}
version=${version}

[bundle]
format=verity

[image.rootfs]
filename=rootfs.img
`;
}

/** Writes the bundle to `file`, which must not be there. Throws OperationalError with what rauc said. */
export function makeBundle(content: BundleContent, file: string): void {
  mkdirSync(dirname(file), { recursive: true });
  const work = mkdtempSync(join(tmpdir(), 'selvage-bundle-'));
  try {
    const input = join(work, 'content');
    mkdirSync(input);
    writeFileSync(join(input, 'manifest.raucm'), bundleManifest(content));
    linkOrCopy(content.slot, join(input, 'rootfs.img'));
    hostCommand('rauc', ['bundle', `--cert=${content.signer.certificate}`, `--key=${content.signer.key}`, input, file]);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** A slot image is large: it is copied only to another file system. */
function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    copyFileSync(from, to);
  }
}
