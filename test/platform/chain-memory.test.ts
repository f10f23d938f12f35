import { match, notEqual, ok, strictEqual } from 'node:assert/strict';
import { ChainMemory, MOST_KEPT_CERTIFICATES } from '../../platform/chain-memory.ts';
import { checkChain } from '../../platform/chain.ts';
import type { ChainResult } from '../../platform/crypto.ts';
import { createAuthority, createCsr, generateKeyPair, issueCrl, issueFromCsr } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';

const NOW = 1_790_000_000_000;
const DAY = 86_400_000;
const SERIAL = '0a';

async function issue(authority: Authority, serialNumber = SERIAL): Promise<Uint8Array> {
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  const subject = `branch-${serialNumber}@test.example`;
  const csr = await createCsr({ privateKey, subject });
  return issueFromCsr(authority, csr, { subject, emails: [subject], uris: [], dnsNames: [], ipAddresses: [], days: 10, unixMs: NOW, serialNumber, client: false, server: false });
}

describe('memory of certificate checks', () => {
  let authority: Authority;
  let leaf: Uint8Array;

  before(async () => {
    authority = await createAuthority({ commonName: 'Test CA', unixMs: NOW, days: 100 });
    leaf = await issue(authority);
  });

  function check(memory: ChainMemory, change: Partial<Parameters<typeof checkChain>[0]> = {}): ChainResult {
    return checkChain({ chain: [new Uint8Array(leaf)], anchors: [authority.certificate], unixMs: NOW, ...change }, memory);
  }

  it('reads a certificate of a good path once, whatever buffer it comes in', () => {
    const memory = new ChainMemory();
    strictEqual(check(memory).ok, true);
    strictEqual(memory.certificate(leaf), memory.certificate(new Uint8Array(leaf)));
  });

  it('keeps what it read when the buffer is written over', () => {
    const memory = new ChainMemory();
    const buffer = new Uint8Array(leaf);
    const first = checkChain({ chain: [buffer], anchors: [authority.certificate], unixMs: NOW }, memory);
    buffer.fill(0);
    const second = check(memory);
    ok(first.ok && second.ok);
    strictEqual(first.publicKey, second.publicKey);
    ok(second.publicKey.some((octet) => octet !== 0));
  });

  it('keeps nothing of a path that was refused', () => {
    const memory = new ChainMemory();
    strictEqual(check(memory, { unixMs: NOW + 11 * DAY }).ok, false);
    notEqual(memory.certificate(leaf), memory.certificate(leaf));
  });

  it('still refuses a certificate that expired since it was good', () => {
    const memory = new ChainMemory();
    check(memory);
    const later = check(memory, { unixMs: NOW + 11 * DAY });
    match(later.ok ? 'accepted' : later.cause, /expired/);
  });

  it('still refuses a certificate that was revoked since it was good', async () => {
    const memory = new ChainMemory();
    const crl = await issueCrl(authority, { number: 1, revoked: [{ serialNumber: SERIAL, revokedUnixMs: NOW }], unixMs: NOW, days: 1 });
    check(memory);
    const later = check(memory, { revocation: { policy: 'hard', crls: [crl] } });
    match(later.ok ? 'accepted' : later.cause, /revoked/);
  });

  it('still refuses a certificate where its authority is not an anchor', async () => {
    const memory = new ChainMemory();
    check(memory);
    const namesake = await createAuthority({ commonName: 'Test CA', unixMs: NOW, days: 100 });
    const elsewhere = check(memory, { anchors: [namesake.certificate] });
    match(elsewhere.ok ? 'accepted' : elsewhere.cause, /not signed by the authority that it names/);
  });

  it('forgets the certificates that were longest unused when there are too many', async () => {
    const memory = new ChainMemory();
    check(memory);
    const kept = memory.certificate(leaf);
    const other = memory.certificate(await issue(authority, '0b'));
    memory.keep([other]);
    memory.keep([kept]);
    // Certificates that differ are slow to make: octets that stand for them suffice to fill the memory.
    for (let i = 0; i < MOST_KEPT_CERTIFICATES - 1; i++) {
      const raw = Buffer.alloc(4);
      raw.writeUInt32BE(i);
      memory.keep([{ fields: kept.fields, x509: { raw } as unknown as typeof kept.x509 }]);
    }
    strictEqual(memory.certificate(leaf), kept);
    notEqual(memory.certificate(other.x509.raw), other);
  });
});
