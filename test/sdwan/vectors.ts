// Reads test/golden/dim-kdf.txt and holds the inputs that its head names.
import { readFileSync } from 'node:fs';
import { fromHex } from '../../platform/bytes.ts';
import type { DhKeyPair } from '../../platform/crypto.ts';
import { proposalOf } from '../../firmware/sdwan/derivation.ts';
import type { PublishedKey } from '../../firmware/sdwan/derivation.ts';

const TEXT = readFileSync(new URL('../golden/dim-kdf.txt', import.meta.url), 'utf8').replaceAll(/^#.*\n/gm, '');

/** The hexadecimal word that follows `label`. */
export function vector(label: string): string {
  const found = new RegExp(`(?:^|\\s)${label.replaceAll(/[()^'*]/g, '\\$&')} ([0-9a-f]{8,})(?:\\s|$)`, 'm').exec(TEXT);
  if (found === null) throw new Error(`dim-kdf.txt has no ${label}`);
  return found[1]!;
}

/** `label <key> salt <salt>` */
export function keyAndSalt(label: string): { key: string; salt: string } {
  const rest = TEXT.slice(TEXT.indexOf(label) + label.length).split(/\s+/);
  return { key: rest[1]!, salt: rest[3]! };
}

function counted(from: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, i) => from + i);
}

function node(id: string, nonceFrom: number, rekeyCounter: bigint, publicValue: string): PublishedKey {
  return {
    id: fromHex(id), nonce: counted(nonceFrom), rekeyCounter,
    keyExchanges: [{ group: 31, publicValue: fromHex(publicValue) }], proposals: [proposalOf('aes-256-gcm-16')],
  };
}

export const NODE_A = node('0aff0005', 0, 0x1_0000_0001n, vector('pubA'));
export const NODE_B = node('0aff0006', 0x20, 0x2_0000_0003n, vector('pubB'));

/** RFC 7748 6.1. */
export const ALICE: DhKeyPair = {
  group: 31, publicValue: fromHex(vector('pubA')),
  privateValue: fromHex('77076d0a7318a57d3c16c17251b26645 df4c2f87ebc0992ab177fba51db92c2a'),
};
export const BOB: DhKeyPair = {
  group: 31, publicValue: fromHex(vector('pubB')),
  privateValue: fromHex('5dab087e624a8a4b79e17f8b83800ee6 6f3bb1292618b6fd1c2f8b27ff88e0eb'),
};
