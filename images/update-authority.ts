// The authority whose signature a box asks of update bundles. A provider brings its own certificate; a checkout makes
// one for itself, so that its images can be updated by its own bundles.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { hostCommand } from '../provisioning/lab/host-command.ts';

export interface UpdateAuthority {
  /** PEM of the root certificate: what a box trusts. */
  readonly ca: string;
  /** PEM of the certificate that signs, for code signing only (RAUC: check-purpose=codesign). */
  readonly certificate: string;
  /** PEM of its private key. */
  readonly key: string;
}

const LIFETIME_DAYS = '3650';

/** Paths of the authority in `directory`, made when it is not there. */
export function updateAuthority(directory: string): UpdateAuthority {
  const authority = { ca: join(directory, 'ca.pem'), certificate: join(directory, 'signing.pem'), key: join(directory, 'signing-key.pem') };
  if (existsSync(directory)) return authority;
  mkdirSync(dirname(directory), { recursive: true });
  const making = mkdtempSync(`${directory}-`);
  const at = (name: string): string => join(making, name);
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  hostCommand('openssl', ['req', '-x509', ...key, '-keyout', at('ca-key.pem'), '-out', at('ca.pem'), '-days', LIFETIME_DAYS, '-subj', '/CN=Selvage update authority', '-addext', 'keyUsage=critical,keyCertSign,cRLSign']);
  writeFileSync(at('extensions'), 'keyUsage=critical,digitalSignature\nextendedKeyUsage=critical,codeSigning\nbasicConstraints=critical,CA:FALSE\n');
  hostCommand('openssl', ['req', ...key, '-keyout', at('signing-key.pem'), '-out', at('request.pem'), '-subj', '/CN=Selvage update signer']);
  hostCommand('openssl', ['x509', '-req', '-in', at('request.pem'), '-CA', at('ca.pem'), '-CAkey', at('ca-key.pem'), '-CAcreateserial', '-days', LIFETIME_DAYS, '-extfile', at('extensions'), '-out', at('signing.pem')]);
  for (const name of ['request.pem', 'extensions', 'ca.srl']) rmSync(at(name), { force: true });
  if (existsSync(directory)) rmSync(making, { recursive: true });
  else renameSync(making, directory);
  return authority;
}
