// An independent issuer: authorities, certificates and revocation lists made by the openssl command.
import { execFileSync } from 'node:child_process';
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';

export interface OpensslIssued {
  readonly name: string;
  readonly der: Uint8Array;
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** Base of its file names. */
  readonly base: string;
}

export interface OpensslRequest {
  readonly name: string;
  readonly issuer?: OpensslIssued;
  /** Lines of an extension section. */
  readonly extensions: readonly string[];
  readonly key?: keyof typeof KEYS;
  /** Decimal. */
  readonly serial?: string;
  /** Until it ends; a negative number has ended. Default: 30. */
  readonly days?: number;
}

const KEYS = {
  ec: ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  rsa: ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'],
  ed25519: ['-algorithm', 'ED25519'],
  'ec-384': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-384'],
  'ec-521': ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-521'],
} as const;

export const CA_EXTENSIONS = ['basicConstraints=critical,CA:true', 'keyUsage=critical,keyCertSign,cRLSign', 'subjectKeyIdentifier=hash'];

export class OpensslAuthority {
  readonly #directory: string;
  #count = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  issue({ name, issuer, extensions, key = 'ec', serial, days }: OpensslRequest): OpensslIssued {
    const base = `${this.#directory}/${++this.#count}`;
    run('genpkey', ...KEYS[key], '-out', `${base}.key`);
    run('req', '-new', '-key', `${base}.key`, '-subj', `/CN=${name}`, '-out', `${base}.csr`);
    return this.#certify(name, base, issuer, extensions, serial, days);
  }

  /** Another certificate for the name and key of a former one. */
  certify(former: OpensslIssued, issuer: OpensslIssued, extensions: readonly string[]): OpensslIssued {
    const base = `${this.#directory}/${++this.#count}`;
    for (const kind of ['key', 'csr']) copyFileSync(`${former.base}.${kind}`, `${base}.${kind}`);
    return this.#certify(former.name, base, issuer, extensions, undefined);
  }

  #certify(name: string, base: string, issuer: OpensslIssued | undefined, extensions: readonly string[], serial: string | undefined, days = 30): OpensslIssued {
    writeFileSync(`${base}.cnf`, `[v3]\n${extensions.join('\n')}\n`);
    const signer = issuer === undefined ? ['-signkey', `${base}.key`] : ['-CA', `${issuer.base}.pem`, '-CAkey', `${issuer.base}.key`];
    run('x509', '-req', '-in', `${base}.csr`, ...signer, '-set_serial', serial ?? String(1000 + this.#count), '-days', String(days), '-extfile', `${base}.cnf`, '-extensions', 'v3', '-out', `${base}.pem`);
    run('x509', '-in', `${base}.pem`, '-outform', 'DER', '-out', `${base}.der`);
    run('pkcs8', '-topk8', '-nocrypt', '-in', `${base}.key`, '-outform', 'DER', '-out', `${base}.p8`);
    return { name, base, der: new Uint8Array(readFileSync(`${base}.der`)), privateKey: new Uint8Array(readFileSync(`${base}.p8`)) };
  }

  /** A list with these serial numbers (hexadecimal, even length); `hours` until the next one. */
  crl(issuer: OpensslIssued, serialNumbers: readonly string[], hours = 24): Uint8Array {
    const base = `${this.#directory}/crl${++this.#count}`;
    writeFileSync(`${base}.index`, serialNumbers.map((serial) => `R\t351231235959Z\t261001120000Z,keyCompromise\t${serial}\tunknown\t/CN=x\n`).join(''));
    writeFileSync(`${base}.number`, '01\n');
    writeFileSync(`${base}.cnf`, `[ca]\ndefault_ca=own\n[own]\ndatabase=${base}.index\ncrlnumber=${base}.number\ndefault_md=sha256\ncrl_extensions=list\n[list]\nauthorityKeyIdentifier=keyid\n`);
    run('ca', '-config', `${base}.cnf`, '-gencrl', '-keyfile', `${issuer.base}.key`, '-cert', `${issuer.base}.pem`, '-crlhours', String(hours), '-out', `${base}.pem`);
    run('crl', '-in', `${base}.pem`, '-outform', 'DER', '-out', `${base}.der`);
    return new Uint8Array(readFileSync(`${base}.der`));
  }

  /** What openssl would ask about a certificate, without a nonce. */
  ocspRequest(issuer: OpensslIssued, serialNumber: string): Uint8Array {
    const file = `${this.#directory}/ocsp${++this.#count}.req`;
    run('ocsp', '-issuer', `${issuer.base}.pem`, '-serial', `0x${serialNumber}`, '-no_nonce', '-reqout', file);
    return new Uint8Array(readFileSync(file));
  }

  /**
   * What the responder of openssl answers to a request (DER) about certificates of an issuer.
   * @param revoked serial numbers, hexadecimal, even length; `known`: good ones
   */
  ocsp(issuer: OpensslIssued, request: Uint8Array, answer: { readonly revoked?: readonly string[]; readonly known?: readonly string[]; readonly signer?: OpensslIssued; readonly minutes?: number; readonly badSignature?: boolean }): Uint8Array {
    const base = `${this.#directory}/ocsp${++this.#count}`;
    const { revoked = [], known = [], signer = issuer, minutes = 60, badSignature = false } = answer;
    const rows = [...revoked.map((serial) => `R\t351231235959Z\t261001120000Z,keyCompromise\t${serial}\tunknown\t/CN=x\n`), ...known.map((serial) => `V\t351231235959Z\t\t${serial}\tunknown\t/CN=x\n`)];
    writeFileSync(`${base}.index`, rows.join(''));
    writeFileSync(`${base}.req`, request);
    run('ocsp', '-index', `${base}.index`, '-CA', `${issuer.base}.pem`, '-rsigner', `${signer.base}.pem`, '-rkey', `${signer.base}.key`, '-reqin', `${base}.req`, '-respout', `${base}.der`, ...(minutes > 0 ? ['-nmin', String(minutes)] : []), ...(badSignature ? ['-badsig'] : []));
    return new Uint8Array(readFileSync(`${base}.der`));
  }
}

function run(...words: readonly string[]): void {
  execFileSync('openssl', words, { stdio: 'pipe' });
}
