// Device certificates for tests: one provider, sites of one or more tenants.
import { FakeSuite, fakeAnchor, fakeCertificate, fakeKeyPair } from '../../platform/crypto-fake.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SeededRandom } from '../../platform/random.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import type { Authority } from '../../platform/x509.ts';
import type { NodeIdentity } from '../../firmware/sdwan/key-route.ts';
import { siteUri } from '../../firmware/sdwan/signed-route.ts';
import type { RouteSigner, RouteTrust } from '../../firmware/sdwan/signed-route.ts';

export const UNIX_MS = 1_795_000_000_000;
export const PROVIDER = 'acme';
export const TENANT = 2;
export const RD = '65000:2';

export function createProvider(): Promise<Authority> {
  return createAuthority({ commonName: 'Acme provider', unixMs: UNIX_MS, days: 3650 });
}

export function trustIn(authority: Authority): RouteTrust {
  return { suite: new RealSuite(), anchors: [authority.certificate], provider: PROVIDER };
}

export async function signerFor(authority: Authority, siteId: number, tenants: readonly number[] = [TENANT], days = 365): Promise<RouteSigner> {
  const pair = await generateKeyPair('ecdsa-p256');
  const csr = await createCsr({ privateKey: pair.privateKey, subject: `b${siteId}` });
  const certificate = await issueFromCsr(authority, csr, {
    subject: `b${siteId}`, emails: [], uris: tenants.map((tenant) => siteUri(PROVIDER, siteId, tenant)), dnsNames: [], ipAddresses: [],
    days, unixMs: UNIX_MS, serialNumber: `0${siteId.toString(16).padStart(5, '0')}`, client: true, server: false,
  });
  return { algorithm: 2, privateKey: pair.privateKey, publicKey: pair.publicKey, certificate };
}

/** The same without real cryptography, for tests with many sites. */
export function fakeCredentials(sites: readonly number[]): { trust: RouteTrust; signers: ReadonlyMap<number, RouteSigner> } {
  const signers = new Map<number, RouteSigner>();
  for (const siteId of sites) {
    const pair = fakeKeyPair(new SeededRandom(siteId));
    const certificate = fakeCertificate({ emails: [], uris: [siteUri(PROVIDER, siteId, TENANT)], publicKey: pair.publicKey });
    signers.set(siteId, { algorithm: 2, ...pair, certificate });
  }
  return { trust: { suite: new FakeSuite(), anchors: [fakeAnchor()], provider: PROVIDER }, signers };
}

export function nodeIdentity(siteId: number): NodeIdentity {
  return { tenant: TENANT, siteId, nodeId: `10.255.0.${siteId - 100}`, routeDistinguisher: RD, name: `b${siteId}`, model: 'vm', version: '1' };
}
