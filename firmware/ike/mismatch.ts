// Why no proposal of a peer could be chosen, as a clause for a log line that names what was offered and what is allowed.
import { Protocol, TransformType } from '../wire/ike/numbers.ts';
import type { Proposal, Transform } from '../wire/ike/proposal.ts';

/** Names of one kind that are listed; a peer may offer very many. */
const MOST_NAMES = 12;

/** IANA's transforms that peers are likely to offer, strong or weak. */
const NAMES: Readonly<Record<number, Readonly<Record<number, string>>>> = {
  [TransformType.ENCR]: { 2: 'des', 3: '3des', 11: 'null', 12: 'aes-cbc', 13: 'aes-ctr', 16: 'aes-ccm-16', 18: 'aes-gcm-8', 19: 'aes-gcm-12', 20: 'aes-gcm-16', 23: 'camellia-cbc', 28: 'chacha20-poly1305' },
  [TransformType.PRF]: { 1: 'prf-md5', 2: 'prf-sha1', 4: 'prf-aes-xcbc', 5: 'prf-sha256', 6: 'prf-sha384', 7: 'prf-sha512', 8: 'prf-aes-cmac' },
  [TransformType.INTEG]: { 0: 'none', 1: 'hmac-md5-96', 2: 'hmac-sha1-96', 5: 'aes-xcbc-96', 8: 'aes-cmac-96', 12: 'hmac-sha256-128', 13: 'hmac-sha384-192', 14: 'hmac-sha512-256' },
  [TransformType.DH]: {
    0: 'none', 1: 'modp768', 2: 'modp1024', 5: 'modp1536', 14: 'modp2048', 15: 'modp3072', 16: 'modp4096', 17: 'modp6144', 18: 'modp8192', 19: 'ecp256', 20: 'ecp384', 21: 'ecp521',
    22: 'modp1024s160', 23: 'modp2048s224', 24: 'modp2048s256', 25: 'ecp192', 26: 'ecp224', 28: 'ecp256bp', 29: 'ecp384bp', 30: 'ecp512bp', 31: 'x25519', 32: 'x448',
  },
  [TransformType.ESN]: { 0: 'no-esn', 1: 'esn' },
  [TransformType.ADDKE1]: { 0: 'none', 35: 'ml-kem-512', 36: 'ml-kem-768', 37: 'ml-kem-1024' },
};
const KINDS: Readonly<Record<number, string>> = {
  [TransformType.ENCR]: 'encryption',
  [TransformType.PRF]: 'PRF',
  [TransformType.INTEG]: 'integrity',
  [TransformType.DH]: 'group',
  [TransformType.ESN]: 'sequence numbers',
  [TransformType.ADDKE1]: 'additional key exchange',
};

/** What a group is called in messages. */
export function groupName(group: number): string {
  return NAMES[TransformType.DH]![group] ?? String(group);
}

function nameOf({ type, id, keyBits }: Transform): string {
  const name = NAMES[type]?.[id] ?? `${KINDS[type]} ${id}`;
  return keyBits === undefined ? name : `${name}-${keyBits}`;
}

function namesOf(proposals: readonly Proposal[], type: number): string[] {
  return [...new Set(proposals.flatMap(({ transforms }) => transforms.filter((entry) => entry.type === type).map(nameOf)))];
}

function listed(names: readonly string[]): string {
  const shown = names.slice(0, MOST_NAMES).join(', ');
  return names.length > MOST_NAMES ? `${shown} and ${names.length - MOST_NAMES} more` : shown;
}

function proposalText({ transforms }: Proposal): string {
  return Object.keys(KINDS)
    .map((type) => transforms.filter((entry) => entry.type === Number(type)).map(nameOf).join('+'))
    .filter((names) => names !== '')
    .join('/');
}

/**
 * `allowed` is what we would offer. The first kind of transform that has nothing in common is named, else the proposals
 * as a whole: "peer offered only modp1024; allowed: x25519, ecp256".
 */
export function mismatch(offers: readonly Proposal[], allowed: readonly Proposal[]): string {
  const protocol = allowed[0]!.protocol;
  const what = protocol === Protocol.IKE ? 'IKE' : 'ESP';
  const theirs = offers.filter((offer) => offer.protocol === protocol);
  if (theirs.length === 0) return `peer offered no proposal for ${what}`;
  for (const type of Object.keys(KINDS).map(Number)) {
    const [offered, known] = [namesOf(theirs, type), namesOf(allowed, type)];
    if (offered.length > 0 && known.length > 0 && !offered.some((name) => known.includes(name))) return `peer offered only ${listed(offered)}; allowed: ${listed(known)}`;
  }
  const texts = (proposals: readonly Proposal[]): string => listed(proposals.map(proposalText));
  return `no ${what} proposal of the peer fits as a whole: offered ${texts(theirs)}; allowed: ${texts(allowed)}`;
}
