// The activation link: a prestaging record as one text that is typed, pasted, or read from a QR code (protocols of other
// vendors know the same). `https://<serial>.setup/ztp?d=<base64url(JSON { record, expiresUnixMs })>`.
// It carries the hash of the provider's trust anchor and a key that is good for one onboarding of one box, so nothing is
// fetched blindly. Whether it has expired the box asks its own clock, and Director asks its own, which decides.
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import { UsageError } from '../../platform/errors.ts';

/** Far above a record with 16 circuits; a longer text is not decoded. */
const LONGEST_LINK = 32_768;

export interface Activation {
  /** Not checked yet. */
  readonly document: unknown;
  readonly expiresUnixMs: number;
}

export function encodeActivationLink(record: PrestagingRecord, expiresUnixMs: number): string {
  const text = JSON.stringify({ record, expiresUnixMs });
  return `https://${record.serial.toLowerCase()}.setup/ztp?d=${Buffer.from(text, 'utf8').toString('base64url')}`;
}

/** Throws UsageError for a text that is no activation link. */
export function decodeActivationLink(link: string): Activation {
  const data = link.length > LONGEST_LINK ? undefined : /^https:\/\/[^/]+\/ztp\?d=([A-Za-z0-9_-]+)$/.exec(link.trim())?.[1];
  if (data === undefined) throw new UsageError('this is no activation link; it looks like https://SERIAL.setup/ztp?d=...');
  let content: unknown;
  try {
    content = JSON.parse(Buffer.from(data, 'base64url').toString('utf8'));
  } catch {
    throw new UsageError('the activation link is damaged; copy it whole, without line breaks');
  }
  const { record, expiresUnixMs } = (content ?? {}) as { record?: unknown; expiresUnixMs?: unknown };
  if (record === undefined || !Number.isSafeInteger(expiresUnixMs)) throw new UsageError('the activation link holds no prestaging record; order a new one in Director');
  return { document: record, expiresUnixMs: expiresUnixMs as number };
}
