// Builds everything that belongs to one image and puts it into a directory.
import { copyFileSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Build } from './build.ts';
import { debianBase } from './debian-base.ts';
import { makeDiskImage, makeQcow2 } from './disk-image.ts';
import { makeEsp } from './esp.ts';
import { cleanRoot, rootTree } from './root-tree.ts';
import { signSums } from './signature.ts';
import type { Signer } from './signature.ts';
import { sbomOf } from './sbom.ts';
import { makeSlotImage } from './slot-image.ts';

export interface ImageOptions {
  /** PEM file of the authority that signs update bundles. */
  readonly updateCa: string;
  /** Who signs the sums of the files; undefined = somebody else does, later. */
  readonly signer: Signer | undefined;
  readonly output: string;
  /** Unpack Debian's packages anew, in their newest versions. */
  readonly fresh: boolean;
}

export interface ImageFiles {
  readonly raw: string;
  readonly qcow2: string;
  /** The root slot alone: payload of an update bundle. */
  readonly slot: string;
  readonly sbom: string;
}

/** SHA-256 of all files; beside it its signature, `.p7s`. */
export function sumsFile(files: ImageFiles): string {
  return files.raw.replace(/img$/, 'sha256');
}

export function imageFiles(build: Pick<Build, 'version' | 'architecture'>, output: string): ImageFiles {
  const stem = join(output, `selvage-${build.version}-${build.architecture.machine}`);
  return { raw: `${stem}.img`, qcow2: `${stem}.qcow2`, slot: `${stem}.slot`, sbom: `${stem}.cdx.json` };
}

/** To be called in a mount namespace of its own (images/main.ts). */
export async function buildImage(build: Build, options: ImageOptions): Promise<ImageFiles> {
  mkdirSync(options.output, { recursive: true });
  const files = imageFiles(build, options.output);
  const base = await debianBase(build, options.fresh);
  const root = await rootTree(build, base, { updateCa: options.updateCa });
  writeFileSync(files.sbom, sbomOf(build, root));
  copyFileSync(files.sbom, join(root, 'usr/lib/selvage/sbom.cdx.json'));
  const esp = join(build.work, 'esp.img');
  await makeEsp(build, root, esp);
  cleanRoot(root);
  await makeSlotImage(build, root, files.slot);
  await makeDiskImage(build, { esp, slot: files.slot }, files.raw);
  rmSync(esp);
  await makeQcow2(build, files.raw, files.qcow2);
  if (options.signer !== undefined) await signSums(build, Object.values(files), sumsFile(files), options.signer);
  for (const file of Object.values(files)) build.print(`${file}: ${(statSync(file).blocks / 2048).toFixed(1)} MiB on the disk`);
  return files;
}
