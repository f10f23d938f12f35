// Certificates with keys of every kind for both ends, issued by the openssl command.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { SignatureAlgorithm } from '../../platform/crypto.ts';
import { encodePem } from '../../platform/pem.ts';
import type { OpensslIssued, OpensslRequest } from '../platform/openssl-authority.ts';
import { CA_EXTENSIONS, OpensslAuthority } from '../platform/openssl-authority.ts';
import type { CertificateCredential } from '../system/ike-peer.ts';

export type DeviceKey = NonNullable<OpensslRequest['key']>;

const DEVICE_EXTENSIONS = ['basicConstraints=CA:FALSE', 'keyUsage=digitalSignature'];

/** Both ends' credentials from one root of the same kind of key; with `levels` > 0 authorities between it and each device. */
export function issueWithKeys(ours: { readonly identity: string; readonly algorithm: SignatureAlgorithm }, theirs: { readonly identity: string }, key: DeviceKey, levels = 0): { ours: CertificateCredential; theirs: Record<string, string> } {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-authority-'));
  try {
    const openssl = new OpensslAuthority(directory);
    const root = openssl.issue({ name: 'Interop Root', extensions: CA_EXTENSIONS, key });
    const device = (identity: string): OpensslIssued[] => {
      const between: OpensslIssued[] = [];
      for (let level = 1; level <= levels; level++) between.unshift(openssl.issue({ name: `${identity} CA ${level}`, issuer: between[0] ?? root, extensions: CA_EXTENSIONS, key }));
      const leaf = openssl.issue({ name: identity, issuer: between[0] ?? root, extensions: [...DEVICE_EXTENSIONS, `subjectAltName=email:${identity}`], key });
      return [leaf, ...between];
    };
    const [our, their] = [device(ours.identity), device(theirs.identity)];
    const authorities = [...their.slice(1), root].map(({ der }, i) => [`x509ca/ca-${i}.pem`, encodePem('CERTIFICATE', der)]);
    return {
      ours: { kind: 'certificate', chain: our.map(({ der }) => base64(der)), privateKey: base64(our[0]!.privateKey), anchors: [base64(root.der)], algorithm: ours.algorithm },
      theirs: {
        ...Object.fromEntries(authorities),
        'x509/peer.pem': encodePem('CERTIFICATE', their[0]!.der),
        'private/peer.pem': encodePem('PRIVATE KEY', their[0]!.privateKey),
      },
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Both ends' credentials, and a list of the root that revokes one of them. */
export function issueRevoked(ourIdentity: string, theirIdentity: string, revoked: 'ours' | 'theirs' = 'theirs'): { ours: CertificateCredential; theirs: Record<string, string>; crl: Uint8Array } {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-authority-'));
  try {
    const openssl = new OpensslAuthority(directory);
    const root = openssl.issue({ name: 'Interop Root', extensions: CA_EXTENSIONS });
    const device = (identity: string, serial: number): OpensslIssued =>
      openssl.issue({ name: identity, issuer: root, extensions: [...DEVICE_EXTENSIONS, `subjectAltName=email:${identity}`], serial: String(serial) });
    const [our, their] = [device(ourIdentity, 0x21), device(theirIdentity, 0x22)];
    return {
      ours: { kind: 'certificate', chain: [base64(our.der)], privateKey: base64(our.privateKey), anchors: [base64(root.der)] },
      theirs: {
        'x509ca/ca-0.pem': encodePem('CERTIFICATE', root.der),
        'x509/peer.pem': encodePem('CERTIFICATE', their.der),
        'private/peer.pem': encodePem('PRIVATE KEY', their.privateKey),
      },
      crl: openssl.crl(root, [revoked === 'ours' ? '21' : '22']),
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** Both ends' credentials under one root; strongSwan's has ended, or is of an authority that may not certify its name. */
export function issueFaulty(ourIdentity: string, theirIdentity: string, fault: 'expired' | 'name constraints'): { ours: CertificateCredential; theirs: Record<string, string> } {
  const directory = mkdtempSync(join(tmpdir(), 'selvage-authority-'));
  try {
    const openssl = new OpensslAuthority(directory);
    const root = openssl.issue({ name: 'Interop Root', extensions: CA_EXTENSIONS });
    const narrow = openssl.issue({ name: 'Narrow CA', issuer: root, extensions: [...CA_EXTENSIONS, 'nameConstraints=critical,permitted;email:elsewhere.example'] });
    const device = (identity: string, issuer: OpensslIssued, days: number): OpensslIssued => openssl.issue({ name: identity, issuer, days, extensions: [...DEVICE_EXTENSIONS, `subjectAltName=email:${identity}`] });
    const our = device(ourIdentity, root, 30);
    const their = fault === 'expired' ? device(theirIdentity, root, -1) : device(theirIdentity, narrow, 30);
    return {
      ours: { kind: 'certificate', chain: [base64(our.der)], privateKey: base64(our.privateKey), anchors: [base64(root.der)] },
      theirs: {
        'x509ca/ca-0.pem': encodePem('CERTIFICATE', root.der),
        ...(fault === 'expired' ? {} : { 'x509ca/ca-1.pem': encodePem('CERTIFICATE', narrow.der) }),
        'x509/peer.pem': encodePem('CERTIFICATE', their.der),
        'private/peer.pem': encodePem('PRIVATE KEY', their.privateKey),
      },
    };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64');
}
