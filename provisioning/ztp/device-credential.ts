// A device's certificate: whether it still serves its configuration, and the keys and requests around it.
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import type { Suite } from '../../platform/crypto.ts';
import { WireError } from '../../platform/errors.ts';
import type { TimeFloor } from '../../platform/time-floor.ts';
import { certificateFacts, createCsr, generateKeyPair, isPrivateKey } from '../../platform/x509.ts';
import type { DeviceStore } from './device-store.ts';
import type { DeviceIdentity } from './director-tls.ts';
import { siteTenantUri } from './names.ts';

/** Part of its life after which a certificate is renewed. */
const RENEW_AFTER = 2 / 3;
/** A certificate is not too old before this, whatever the clock says. */
const LEAST_LIFE_MS = 86_400_000;

/** The key of this box, made on its first start, and anew where the disk has spoilt it; it never leaves the box. */
export async function deviceKey(store: DeviceStore): Promise<Uint8Array> {
  const stored = store.key;
  if (stored && (await isPrivateKey(stored))) return stored;
  // A certificate is nothing without its key.
  if (stored) store.certificateChain = [];
  const { privateKey } = await generateKeyPair('ecdsa-p256');
  store.key = privateKey;
  return privateKey;
}

export function deviceCsr(privateKey: Uint8Array, serial: string): Promise<Uint8Array> {
  return createCsr({ privateKey, subject: serial });
}

/**
 * The clock, but never before the own certificate was issued: a box whose clock forgets the time over a power cut must
 * still find its way back to where it can learn it.
 */
export function notBefore(identity: Pick<DeviceIdentity, 'certificateChain'> | undefined, unixMs: number): number {
  const leaf = identity?.certificateChain[0];
  return leaf ? Math.max(unixMs, certificateFacts(leaf).notBeforeUnixMs) : unixMs;
}

/** What the provider has dated tells a box without a clock how late it is at the least. */
export function raiseTimeFloor(floor: TimeFloor | undefined, anchor: Uint8Array | undefined, chain: readonly Uint8Array[] = []): void {
  try {
    if (anchor !== undefined) floor?.raise(certificateFacts(anchor).notBeforeUnixMs);
    for (const der of chain) floor?.raiseIfBehind(certificateFacts(der).notBeforeUnixMs);
  } catch (error) {
    // Whoever uses the certificate will say what is wrong with it.
    if (!(error instanceof WireError)) throw error;
  }
}

/** Key and certificate as stored, when the certificate is good under the stored anchor. */
export function storedIdentity(store: DeviceStore, suite: Suite, unixMs: number): DeviceIdentity | undefined {
  const [privateKey, certificateChain, anchor] = [store.key, store.certificateChain, store.anchor];
  if (!privateKey || !certificateChain || certificateChain.length === 0 || !anchor) return undefined;
  try {
    const identity = { certificateChain, privateKey };
    return suite.checkChain({ chain: certificateChain, anchors: [anchor], unixMs: notBefore(identity, unixMs) }).ok ? identity : undefined;
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/**
 * Why a new certificate is needed: a tenant of the configuration that the certificate does not name, or its age.
 * @param sinceLastMs since this box was given its last one; undefined: not in this life of the box
 */
export function renewalCause(identity: DeviceIdentity, configuration: DeviceConfiguration, unixMs: number, sinceLastMs: number | undefined): string | undefined {
  const facts = certificateFacts(identity.certificateChain[0]!);
  const missing = configuration.tenants.find(({ tenant }) => !facts.uris.includes(siteTenantUri(configuration.provider, configuration.device.siteId, tenant)));
  if (missing) return `it does not name tenant ${missing.tenant}`;
  // A clock that is far ahead makes every certificate old.
  if (sinceLastMs !== undefined && sinceLastMs < LEAST_LIFE_MS) return undefined;
  const renewAt = facts.notBeforeUnixMs + (facts.notAfterUnixMs - facts.notBeforeUnixMs) * RENEW_AFTER;
  return unixMs >= renewAt ? 'two thirds of its life are over' : undefined;
}
