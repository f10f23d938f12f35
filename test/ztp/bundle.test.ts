// The signed configuration bundle: who may sign, for whom, how old, and what happens to damaged ones.
import assert from 'node:assert/strict';
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { createCsr, generateKeyPair } from '../../platform/x509.ts';
import { createAuthorityKeys, openAuthority } from '../../provisioning/authority.ts';
import type { Authority } from '../../provisioning/authority.ts';
import { openBundle, signBundle } from '../../provisioning/ztp/bundle.ts';
import type { BundleCheck, BundleSigner } from '../../provisioning/ztp/bundle.ts';
import { documentChecks } from '../../provisioning/ztp/schema.ts';
import { CONFIGURATION, SERIAL } from './configuration-fixture.ts';

describe('configuration bundle', () => {
  const suite = new RealSuite();
  const clock = new SystemClock();
  const random = new SystemRandom();
  let authority: Authority;
  let signer: BundleSigner;
  let check: BundleCheck;

  before(async () => {
    authority = openAuthority('Provider', await createAuthorityKeys('Provider', clock, random), clock, random);
    signer = { chain: [authority.bundleSigner.certificate], privateKey: authority.bundleSigner.privateKey };
    check = { suite, checks: documentChecks(), anchors: [authority.anchor], unixMs: clock.unixMs(), serial: SERIAL, provider: 'Provider', minimumGeneration: 0 };
  });

  const causeOf = (bytes: Uint8Array, changes: Partial<BundleCheck> = {}): string => {
    const opened = openBundle(bytes, { ...check, ...changes });
    assert.ok(!opened.ok);
    return opened.cause;
  };
  const signed = (changes: Partial<DeviceConfiguration> = {}): Uint8Array => signBundle(suite, { ...CONFIGURATION, ...changes }, signer);

  it('comes back as it was signed', () => {
    const opened = openBundle(signed(), check);
    assert.ok(opened.ok);
    assert.deepEqual(JSON.parse(JSON.stringify(opened.configuration)), JSON.parse(JSON.stringify(CONFIGURATION)));
  });

  it('is the same octets for the same content in any order of keys', () => {
    const reversed = Object.fromEntries(Object.entries(CONFIGURATION).reverse()) as unknown as DeviceConfiguration;
    const payload = (bytes: Uint8Array): string => (JSON.parse(fromUtf8(bytes)) as { payload: string }).payload;
    assert.equal(payload(signBundle(suite, reversed, signer)), payload(signed()));
  });

  it('is refused when any part of it was changed', () => {
    const bytes = signed();
    const envelope = JSON.parse(fromUtf8(bytes)) as { payload: string; signature: string; chain: string[] };
    const payload = Buffer.from(envelope.payload, 'base64').toString().replace('192.0.2.1"', '192.0.2.9"');
    const forged = utf8(JSON.stringify({ ...envelope, payload: Buffer.from(payload).toString('base64') }));
    assert.equal(causeOf(forged), 'its signature is wrong');
    for (let at = 0; at < bytes.length; at += 7) {
      const flipped = bytes.slice();
      flipped[at]! ^= 0x01;
      assert.equal(openBundle(flipped, check).ok, false, `octet ${at}`);
    }
  });

  it('is refused at every shorter length without an exception', () => {
    const bytes = signed();
    for (let length = 0; length < bytes.length; length += 3) assert.equal(openBundle(bytes.subarray(0, length), check).ok, false);
  });

  it('is refused for another serial, an older generation or another provider', () => {
    assert.equal(causeOf(signed(), { serial: 'BOX0002' }), `it is for serial ${SERIAL}, the box has BOX0002`);
    assert.equal(causeOf(signed(), { minimumGeneration: 8 }), 'its generation 7 is older than 8');
    assert.ok(openBundle(signed(), { ...check, minimumGeneration: 7 }).ok);
    assert.match(causeOf(signed({ provider: 'Other' })), /may not sign configurations of provider Other/);
    assert.match(causeOf(signed(), { provider: 'Other' }), /it is of provider Provider, the box belongs to Other/);
  });

  it('is refused when signed under another anchor', async () => {
    const other = openAuthority('Provider', await createAuthorityKeys('Provider', clock, random), clock, random);
    const foreign = signBundle(suite, CONFIGURATION, { chain: [other.bundleSigner.certificate], privateKey: other.bundleSigner.privateKey });
    assert.match(causeOf(foreign), /^its signer is not trusted: /);
  });

  it('is refused when signed with a device certificate of the right anchor', async () => {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const device = await authority.issueDevice(await createCsr({ privateKey, subject: 'x' }), { device: 'Branch-9', serial: 'BOX0009', siteId: 109, tenants: [{ tenant: 1, organization: 'Provider' }] });
    assert.match(causeOf(signBundle(suite, CONFIGURATION, { chain: [device.certificate], privateKey })), /its signer may not sign/);
  });

  it('names key, value and what is allowed when the content is wrong', () => {
    const cause = causeOf(signed({ circuits: [{ ...CONFIGURATION.circuits[0]!, id: 17 }] }));
    assert.equal(cause, 'configuration: circuits.0.id is 17; allowed: 1 to 16');
    const [circuit] = CONFIGURATION.circuits;
    assert.equal(causeOf(signed({ circuits: [{ ...circuit!, automatic: ['dhcp'] }] })), 'configuration: circuits.0.addresses is "192.0.2.10/24"; allowed: no IPv4 address, for "automatic" has dhcp');
    assert.equal(causeOf(signed({ circuits: [{ ...circuit!, automatic: ['pppoe' as 'dhcp'] }] })), 'configuration: circuits.0.automatic.0 is "pppoe"; allowed: "dhcp", "slaac"');
    const [tenant] = CONFIGURATION.tenants;
    assert.equal(causeOf(signed({ tenants: [{ ...tenant!, clearAddress: 'here' }] })), 'configuration: tenants.0.clearAddress is "here"; allowed: an IPv4 or IPv6 address');
    const { vni: _vni, ...rest } = tenant!;
    assert.equal(causeOf(signed({ tenants: [rest as typeof tenant & object] })), 'configuration: tenants.0.vni is missing; allowed: 1 to 16777215');
    assert.match(causeOf(signed({ colour: 'red' } as Partial<DeviceConfiguration>)), /colour is present; allowed: keys of schema 1 only/);
  });
});
