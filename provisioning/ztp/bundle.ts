// The signed configuration bundle: the one form in which a configuration travels and is kept.
//
//   { "payload": base64(canonical JSON), "signature": base64(ECDSA-P256/SHA-256, ASN.1), "chain": [base64(DER), ...] }
//   signed octets = "Selvage bundle v1" 00 | payload
//
// The signer's certificate must chain to an anchor and carry urn:selvage:<provider>:bundle-signer: a device certificate
// of the same anchor signs nothing here.
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import { concat, fromUtf8, utf8 } from '../../platform/bytes.ts';
import type { Suite } from '../../platform/crypto.ts';
import { ConfigError } from '../../platform/errors.ts';
import { canonicalJson } from './canonical.ts';
import { bundleSignerUri } from './names.ts';
import type { DocumentChecks } from './schema.ts';

export const LARGEST_BUNDLE_BYTES = 4 * 1024 * 1024;
const LONGEST_CHAIN = 4;
const CONTEXT = concat(utf8('Selvage bundle v1'), Uint8Array.of(0));

export interface BundleSigner {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER of a P-256 key. */
  readonly privateKey: Uint8Array;
}

export interface BundleCheck {
  readonly suite: Suite;
  readonly checks: DocumentChecks;
  /** DER. */
  readonly anchors: readonly Uint8Array[];
  readonly unixMs: number;
  /** Of the box that opens it. */
  readonly serial: string;
  /** Undefined when only the anchor is known: then whoever the anchor lets sign. */
  readonly provider: string | undefined;
  /** A lower generation is refused; 0 when the box has none yet. */
  readonly minimumGeneration: number;
}

export type OpenedBundle = { readonly ok: true; readonly configuration: DeviceConfiguration } | { readonly ok: false; readonly cause: string };

export function signBundle(suite: Suite, configuration: DeviceConfiguration, signer: BundleSigner): Uint8Array<ArrayBuffer> {
  const payload = utf8(canonicalJson(configuration));
  const signature = suite.sign('ecdsa-sha256', signer.privateKey, concat(CONTEXT, payload));
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString('base64');
  return utf8(JSON.stringify({ payload: base64(payload), signature: base64(signature), chain: signer.chain.map(base64) }));
}

interface Envelope {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
  readonly chain: readonly Uint8Array[];
}

function parseJson(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(fromUtf8(bytes));
  } catch {
    return undefined;
  }
}

/** Base64 that re-encodes to itself: one text per byte string. */
function strictBase64(text: unknown): Uint8Array | undefined {
  if (typeof text !== 'string') return undefined;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? new Uint8Array(bytes) : undefined;
}

function envelopeOf(bytes: Uint8Array): Envelope | undefined {
  if (bytes.length > LARGEST_BUNDLE_BYTES) return undefined;
  const document = parseJson(bytes) as Record<string, unknown> | null | undefined;
  if (document === null || typeof document !== 'object') return undefined;
  const payload = strictBase64(document['payload']);
  const signature = strictBase64(document['signature']);
  const list = document['chain'];
  if (!payload || !signature || !Array.isArray(list) || list.length < 1 || list.length > LONGEST_CHAIN) return undefined;
  const chain = list.map(strictBase64);
  return chain.every((der) => der !== undefined) ? { payload, signature, chain: chain as Uint8Array[] } : undefined;
}

function refuse(cause: string): OpenedBundle {
  return { ok: false, cause };
}

/** Opens a bundle of whatever origin; never throws for its content. Causes are clauses for a log line. */
export function openBundle(bytes: Uint8Array, check: BundleCheck): OpenedBundle {
  const envelope = envelopeOf(bytes);
  if (!envelope) return refuse('it is not a bundle of payload, signature and chain');
  const chain = check.suite.checkChain({ chain: envelope.chain, anchors: check.anchors, unixMs: check.unixMs });
  if (!chain.ok) return refuse(`its signer is not trusted: ${chain.cause}`);
  if (!check.suite.verify('ecdsa-sha256', chain.publicKey, concat(CONTEXT, envelope.payload), envelope.signature)) return refuse('its signature is wrong');
  let configuration: DeviceConfiguration;
  try {
    configuration = check.checks.configuration(parseJson(envelope.payload));
  } catch (error) {
    if (error instanceof ConfigError) return refuse(error.message);
    throw error;
  }
  if (!chain.uris.includes(bundleSignerUri(configuration.provider))) return refuse(`its signer may not sign configurations of provider ${configuration.provider}`);
  if (check.provider !== undefined && configuration.provider !== check.provider) return refuse(`it is of provider ${configuration.provider}, the box belongs to ${check.provider}`);
  if (configuration.device.serial !== check.serial) return refuse(`it is for serial ${configuration.device.serial}, the box has ${check.serial}`);
  if (configuration.generation < check.minimumGeneration) return refuse(`its generation ${configuration.generation} is older than ${check.minimumGeneration}`);
  return { ok: true, configuration };
}
