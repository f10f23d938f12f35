// The algorithms of IKE and ESP that are negotiated here, their transforms, and the choice among a peer's proposals
// (RFC 7296 3.3, RFC 8221, RFC 8247, RFC 9370 2.2.1).
import type { ControlAead, DhGroup, HmacName, KemId } from '../../platform/crypto.ts';
import type { SaSpec } from '../model.ts';
import { Protocol, TransformType } from '../wire/ike/numbers.ts';
import type { Proposal, Transform } from '../wire/ike/proposal.ts';
import { transform } from '../wire/ike/proposal.ts';

export type EspSuite = SaSpec['suite'];
type CbcCipher = 'aes-256-cbc' | 'aes-192-cbc' | 'aes-128-cbc';
/** AEADs bring their own integrity. */
export type AeadCipher = Exclude<EspSuite, `${CbcCipher}/${string}`>;
export type Cipher = AeadCipher | CbcCipher;
export type Integrity = 'hmac-sha256-128' | 'hmac-sha384-192' | 'hmac-sha512-256' | 'hmac-sha1-96';

interface AnyIkeProposal {
  readonly prf: readonly HmacName[];
  readonly groups: readonly DhGroup[];
  /** Additional key exchange in IKE_INTERMEDIATE; a proposal with it is for peers that have it, and needs it. */
  readonly additional?: readonly KemId[];
}

export interface AeadIkeProposal extends AnyIkeProposal {
  readonly encryption: readonly AeadCipher[];
  readonly integrity?: undefined;
}

export interface CbcIkeProposal extends AnyIkeProposal {
  readonly encryption: readonly CbcCipher[];
  readonly integrity: readonly Integrity[];
}

/** One proposal of IKE; each list in order of preference. AEADs and other ciphers are never in one (RFC 7296 3.3). */
export type IkeProposal = AeadIkeProposal | CbcIkeProposal;

interface AnyChildProposal {
  /** Extended sequence numbers, in order of preference. */
  readonly esn: readonly boolean[];
  /** For rekeys: first-child SAs are made from the IKE SA's own exchange. */
  readonly groups: readonly DhGroup[];
  /** Perfect forward secrecy of a rekey: `optional` offers and accepts both. */
  readonly pfs: 'none' | 'optional' | 'required';
  /** Additional key exchange in IKE_FOLLOWUP_KE, in rekeys; a proposal with it needs it. */
  readonly additional?: readonly KemId[];
}

export interface AeadChildProposal extends AnyChildProposal {
  readonly encryption: readonly AeadCipher[];
  readonly integrity?: undefined;
}

export interface CbcChildProposal extends AnyChildProposal {
  readonly encryption: readonly CbcCipher[];
  readonly integrity: readonly Integrity[];
}

/** One proposal of ESP; AEADs and other ciphers are never in one (RFC 7296 3.3). */
export type ChildProposal = AeadChildProposal | CbcChildProposal;

/** Without an additional key exchange. */
export const CLASSIC_IKE_PROPOSAL: AeadIkeProposal = {
  encryption: ['aes-256-gcm-16', 'aes-128-gcm-16', 'chacha20-poly1305'],
  prf: ['sha384', 'sha256', 'sha512'],
  groups: [31, 19, 20, 14],
};

/** For peers without an AEAD. */
export const CBC_IKE_PROPOSAL: CbcIkeProposal = {
  encryption: ['aes-256-cbc', 'aes-128-cbc'],
  integrity: ['hmac-sha384-192', 'hmac-sha256-128', 'hmac-sha512-256'],
  prf: CLASSIC_IKE_PROPOSAL.prf,
  groups: CLASSIC_IKE_PROPOSAL.groups,
};

/** What stock Windows offers, besides triple DES: only for profiles that say so. */
export const LEGACY_IKE_PROPOSAL: CbcIkeProposal = {
  encryption: ['aes-256-cbc', 'aes-128-cbc'],
  integrity: ['hmac-sha384-192', 'hmac-sha256-128', 'hmac-sha1-96'],
  prf: ['sha384', 'sha256', 'sha1'],
  groups: [...CLASSIC_IKE_PROPOSAL.groups, 2],
};

/** RFC 8247 and RFC 8221: SHOULD NOT and worse. */
export function isWeak(proposal: IkeProposal | ChildProposal): boolean {
  const integrity: readonly Integrity[] = proposal.integrity ?? [];
  return integrity.includes('hmac-sha1-96') || proposal.groups.includes(2) || ('prf' in proposal && proposal.prf.includes('sha1'));
}

/** A peer that does not know the transform type of the first one takes the second. */
export const DEFAULT_IKE_PROPOSALS: readonly IkeProposal[] = [{ ...CLASSIC_IKE_PROPOSAL, additional: [36] }, CLASSIC_IKE_PROPOSAL, CBC_IKE_PROPOSAL];

export const DEFAULT_CHILD_PROPOSAL: AeadChildProposal = {
  encryption: ['aes-256-gcm-16', 'aes-128-gcm-16', 'chacha20-poly1305'],
  esn: [true, false],
  groups: [31, 19, 20, 14],
  pfs: 'optional',
};

/** For peers without an AEAD (RFC 8221 5, 6). */
export const CBC_CHILD_PROPOSAL: CbcChildProposal = {
  ...DEFAULT_CHILD_PROPOSAL,
  encryption: CBC_IKE_PROPOSAL.encryption,
  integrity: ['hmac-sha256-128', 'hmac-sha384-192', 'hmac-sha512-256'],
};

/** As LEGACY_IKE_PROPOSAL. */
export const LEGACY_CHILD_PROPOSAL: CbcChildProposal = { ...CBC_CHILD_PROPOSAL, integrity: ['hmac-sha256-128', 'hmac-sha1-96'], groups: LEGACY_IKE_PROPOSAL.groups };

export const DEFAULT_CHILD_PROPOSALS: readonly ChildProposal[] = [{ ...DEFAULT_CHILD_PROPOSAL, pfs: 'required', additional: [36] }, DEFAULT_CHILD_PROPOSAL, CBC_CHILD_PROPOSAL];

interface Encryption {
  readonly transform: Transform;
  /** Undefined: CBC. */
  readonly aead: ControlAead | undefined;
  readonly keyBytes: number;
  readonly saltBytes: number;
}

function aead(name: ControlAead, id: number, keyBytes: number, keyBits?: number): Encryption {
  return { transform: transform(TransformType.ENCR, id, keyBits), aead: name, keyBytes, saltBytes: 4 };
}

function cbc(keyBytes: number): Encryption {
  return { transform: transform(TransformType.ENCR, 12, 8 * keyBytes), aead: undefined, keyBytes, saltBytes: 0 };
}

export const ENCRYPTION: Readonly<Record<Cipher, Encryption>> = {
  'aes-256-gcm-16': aead('aes-256-gcm', 20, 32, 256),
  'aes-128-gcm-16': aead('aes-128-gcm', 20, 16, 128),
  'chacha20-poly1305': aead('chacha20-poly1305', 28, 32),
  'aes-256-cbc': cbc(32),
  'aes-192-cbc': cbc(24),
  'aes-128-cbc': cbc(16),
};

interface IntegrityAlgorithm {
  readonly id: number;
  readonly hmac: HmacName;
  readonly keyBytes: number;
  readonly icvBytes: number;
}

/** RFC 4868, RFC 2404. */
export const INTEGRITY: Readonly<Record<Integrity, IntegrityAlgorithm>> = {
  'hmac-sha256-128': { id: 12, hmac: 'sha256', keyBytes: 32, icvBytes: 16 },
  'hmac-sha384-192': { id: 13, hmac: 'sha384', keyBytes: 48, icvBytes: 24 },
  'hmac-sha512-256': { id: 14, hmac: 'sha512', keyBytes: 64, icvBytes: 32 },
  'hmac-sha1-96': { id: 2, hmac: 'sha1', keyBytes: 20, icvBytes: 12 },
};

const PRF_IDS: Readonly<Record<HmacName, number>> = { sha1: 2, sha256: 5, sha384: 6, sha512: 7 };
export const PRF_BYTES: Readonly<Record<HmacName, number>> = { sha1: 20, sha256: 32, sha384: 48, sha512: 64 };
const KEM_NAMES: Readonly<Record<KemId, string>> = { 35: 'ml-kem-512', 36: 'ml-kem-768', 37: 'ml-kem-1024' };
const NONE = 0;

/** What protects messages or packets. */
export interface Protection {
  readonly encryption: Cipher;
  /** Undefined with an AEAD. */
  readonly integrity: Integrity | undefined;
}

export interface IkeAlgorithms extends Protection {
  readonly prf: HmacName;
  readonly group: DhGroup;
  readonly additional: KemId | undefined;
}

export interface ChildAlgorithms extends Protection {
  readonly esn: boolean;
  /** Undefined: no Diffie-Hellman exchange of its own. */
  readonly group: DhGroup | undefined;
  readonly additional: KemId | undefined;
}

function additionalText(additional: KemId | undefined): string {
  return additional === undefined ? '' : `/${KEM_NAMES[additional]}`;
}

function protectionText({ encryption, integrity }: Protection): string {
  return integrity === undefined ? encryption : `${encryption}/${integrity}`;
}

/** What the data plane calls it. */
export function espSuite(chosen: ChildAlgorithms): EspSuite {
  return protectionText(chosen) as EspSuite;
}

export function ikeAlgorithmsText(chosen: IkeAlgorithms): string {
  return `${protectionText(chosen)}/prf-${chosen.prf}/group-${chosen.group}${additionalText(chosen.additional)}`;
}

export function childAlgorithmsText(chosen: ChildAlgorithms): string {
  return `${protectionText(chosen)}/${chosen.esn ? 'esn' : 'no-esn'}${chosen.group === undefined ? '' : `/group-${chosen.group}`}${additionalText(chosen.additional)}`;
}

export function encodeIkeProposals(proposals: readonly IkeProposal[], spi: Uint8Array): Proposal[] {
  return proposals.map((proposal, i) => ({
    number: i + 1,
    protocol: Protocol.IKE,
    spi,
    transforms: [
      ...proposal.encryption.map((name) => ENCRYPTION[name].transform),
      ...proposal.prf.map((name) => transform(TransformType.PRF, PRF_IDS[name])),
      ...(proposal.integrity ?? []).map((name) => transform(TransformType.INTEG, INTEGRITY[name].id)),
      ...proposal.groups.map((group) => transform(TransformType.DH, group)),
      ...(proposal.additional ?? []).map((kem) => transform(TransformType.ADDKE1, kem)),
    ],
  }));
}

/** What a peer is offered: one that takes no part in additional key exchanges is spared them, unless they must be. */
export function knownTo<P extends IkeProposal | ChildProposal>(hasAdditional: boolean, proposals: readonly P[]): readonly P[] {
  const classic = proposals.filter((proposal) => proposal.additional === undefined);
  return hasAdditional || classic.length === 0 ? proposals : classic;
}

/** Of a first child, whose keys come from the IKE SA's own exchanges. */
export function withoutExchanges(proposals: readonly ChildProposal[]): readonly ChildProposal[] {
  const classic = proposals.filter((proposal) => proposal.additional === undefined);
  return classic.length > 0 ? classic : proposals.map((proposal) => ({ ...proposal, additional: [] }));
}

/** `withGroups` is false in IKE_AUTH, where no KE can be sent (RFC 7296 1.2). */
export function encodeChildProposals(proposals: readonly ChildProposal[], spi: Uint8Array, withGroups: boolean): Proposal[] {
  return proposals.map((proposal, i) => ({
    number: i + 1,
    protocol: Protocol.ESP,
    spi,
    transforms: [
      ...proposal.encryption.map((name) => ENCRYPTION[name].transform),
      ...(proposal.integrity ?? []).map((name) => transform(TransformType.INTEG, INTEGRITY[name].id)),
      ...(withGroups ? childGroupIds(proposal) : []).map((group) => transform(TransformType.DH, group)),
      ...proposal.esn.map((esn) => transform(TransformType.ESN, esn ? 1 : 0)),
      ...(proposal.additional ?? []).map((kem) => transform(TransformType.ADDKE1, kem)),
    ],
  }));
}

function childGroupIds(proposal: ChildProposal): number[] {
  if (proposal.pfs === 'none' || proposal.groups.length === 0) return [];
  return proposal.pfs === 'optional' ? [...proposal.groups, NONE] : [...proposal.groups];
}

/** The group of the KE payload that a child rekey starts with, or undefined for none. */
export function firstChildGroup(proposals: readonly ChildProposal[]): DhGroup | undefined {
  const first = proposals[0];
  return first === undefined || first.pfs === 'none' ? undefined : first.groups[0];
}

const KNOWN_TYPES: ReadonlySet<number> = new Set([TransformType.ENCR, TransformType.PRF, TransformType.INTEG, TransformType.DH, TransformType.ESN]);

function isAdditional({ type }: Transform): boolean {
  return type >= TransformType.ADDKE1 && type <= TransformType.ADDKE7;
}

/** Ids on offer for one transform type; transforms with strange attributes are not on offer. */
function offered(proposal: Proposal, type: number): Transform[] {
  return proposal.transforms.filter((entry) => entry.type === type && !entry.strange);
}

function chooseEncryption(own: readonly Cipher[], proposal: Proposal): Cipher | undefined {
  const offers = offered(proposal, TransformType.ENCR);
  return own.find((name) => {
    const { id, keyBits } = ENCRYPTION[name].transform;
    return offers.some((offer) => offer.id === id && offer.keyBits === keyBits);
  });
}

/** Unknown transform types refuse the proposal (RFC 7296 3.3.6). */
function usable(proposal: Proposal): boolean {
  return proposal.transforms.every((entry) => KNOWN_TYPES.has(entry.type) || isAdditional(entry));
}

/** The integrity to go with our ciphers; of AEADs the type must be absent or NONE (RFC 7296 3.3). False: none fits. */
function chooseIntegrity(own: readonly Integrity[] | undefined, proposal: Proposal): Integrity | undefined | false {
  const ids = offered(proposal, TransformType.INTEG).map((entry) => entry.id);
  if (own !== undefined) return own.find((name) => ids.includes(INTEGRITY[name].id)) ?? false;
  return proposal.transforms.every((entry) => entry.type !== TransformType.INTEG) || ids.includes(NONE) ? undefined : false;
}

/**
 * The additional key exchange of an offer, and what is answered for each of its additional types. Undefined: the offer
 * asks for another one than we want. Only the first type is used; the others must allow NONE (RFC 9370 2.2.1).
 */
function chooseAdditional(own: readonly KemId[], proposal: Proposal): { id: KemId | undefined; transforms: readonly Transform[] } | undefined {
  const types = new Set(proposal.transforms.filter(isAdditional).map((entry) => entry.type));
  const first = offered(proposal, TransformType.ADDKE1).map((entry) => entry.id);
  const id = own.find((kem) => first.includes(kem));
  if (own.length > 0 && id === undefined) return undefined;
  if (id !== undefined) types.delete(TransformType.ADDKE1);
  if ([...types].some((type) => !offered(proposal, type).some((entry) => entry.id === NONE))) return undefined;
  const none = [...types].map((type) => transform(type, NONE));
  return { id, transforms: id === undefined ? none : [transform(TransformType.ADDKE1, id), ...none] };
}

export interface Choice<Algorithms> {
  readonly algorithms: Algorithms;
  /** To be sent back: the peer's number, one transform of each type. */
  readonly proposal: Proposal;
}

/** Chooses IKE algorithms; the group of the peer's KE is preferred, so that no round trip is lost. */
export function chooseIke(offers: readonly Proposal[], own: readonly IkeProposal[], keGroup: number | undefined, spi: Uint8Array, spiBytes: number): Choice<IkeAlgorithms> | undefined {
  for (const mine of own) {
    for (const offer of offers) {
      if (offer.protocol !== Protocol.IKE || offer.spi.length !== spiBytes || !usable(offer)) continue;
      const encryption = chooseEncryption(mine.encryption, offer);
      const integrity = chooseIntegrity(mine.integrity, offer);
      const prfs = offered(offer, TransformType.PRF).map((entry) => entry.id);
      const prf = mine.prf.find((name) => prfs.includes(PRF_IDS[name]));
      const groups = offered(offer, TransformType.DH).map((entry) => entry.id);
      const group = preferGroup(mine.groups.filter((id) => groups.includes(id)), keGroup);
      const additional = chooseAdditional(mine.additional ?? [], offer);
      if (encryption === undefined || integrity === false || prf === undefined || group === undefined || additional === undefined) continue;
      const algorithms: IkeAlgorithms = { encryption, integrity, prf, group, additional: additional.id };
      return { algorithms, proposal: { number: offer.number, protocol: Protocol.IKE, spi, transforms: [...ikeTransforms(algorithms), ...additional.transforms] } };
    }
  }
  return undefined;
}

/** One of each type. */
function ikeTransforms({ encryption, integrity, prf, group }: IkeAlgorithms): Transform[] {
  return [
    ENCRYPTION[encryption].transform,
    transform(TransformType.PRF, PRF_IDS[prf]),
    ...(integrity === undefined ? [] : [transform(TransformType.INTEG, INTEGRITY[integrity].id)]),
    transform(TransformType.DH, group),
  ];
}

function preferGroup(common: readonly DhGroup[], keGroup: number | undefined): DhGroup | undefined {
  return common.find((id) => id === keGroup) ?? common[0];
}

/** Chooses ESP algorithms; `withGroups` as in encodeChildProposals: without, the peer's groups are ignored. */
export function chooseChild(offers: readonly Proposal[], own: readonly ChildProposal[], keGroup: number | undefined, spi: Uint8Array, withGroups: boolean): Choice<ChildAlgorithms> | undefined {
  for (const mine of own) {
    for (const offer of offers) {
      if (offer.protocol !== Protocol.ESP || offer.spi.length !== 4 || !usable(offer)) continue;
      const encryption = chooseEncryption(mine.encryption, offer);
      const integrity = chooseIntegrity(mine.integrity, offer);
      const esns = offered(offer, TransformType.ESN).map((entry) => entry.id);
      // A proposal without ESN transform means "no ESN".
      const esn = mine.esn.find((value) => (esns.length === 0 ? !value : esns.includes(value ? 1 : 0)));
      const group = withGroups ? chooseChildGroup(mine, offered(offer, TransformType.DH), keGroup) : { id: undefined };
      const additional = chooseAdditional(mine.additional ?? [], offer);
      if (encryption === undefined || integrity === false || esn === undefined || group === undefined || additional === undefined) continue;
      if (group.id === undefined && additional.id !== undefined) continue;
      const algorithms: ChildAlgorithms = { encryption, integrity, esn, group: group.id, additional: additional.id };
      return { algorithms, proposal: { number: offer.number, protocol: Protocol.ESP, spi, transforms: [...childTransforms(algorithms), ...additional.transforms] } };
    }
  }
  return undefined;
}

/** One of each type. */
function childTransforms({ encryption, integrity, group, esn }: ChildAlgorithms): Transform[] {
  return [
    ENCRYPTION[encryption].transform,
    ...(integrity === undefined ? [] : [transform(TransformType.INTEG, INTEGRITY[integrity].id)]),
    ...(group === undefined ? [] : [transform(TransformType.DH, group)]),
    transform(TransformType.ESN, esn ? 1 : 0),
  ];
}

function chooseChildGroup(mine: ChildProposal, offers: readonly Transform[], keGroup: number | undefined): { id: DhGroup | undefined } | undefined {
  const ids = offers.map((entry) => entry.id);
  const common = mine.pfs === 'none' ? [] : mine.groups.filter((id) => ids.includes(id));
  const withoutAllowed = mine.pfs !== 'required' && (ids.length === 0 || ids.includes(NONE));
  if (keGroup === undefined && withoutAllowed) return { id: undefined };
  const id = preferGroup(common, keGroup);
  if (id !== undefined) return { id };
  return withoutAllowed ? { id: undefined } : undefined;
}

/** What a peer answered: exactly one proposal that was offered, or undefined. */
export function acceptIke(answer: readonly Proposal[], own: readonly IkeProposal[], spiBytes: number): IkeAlgorithms | undefined {
  if (answer.length !== 1 || !singleTransforms(answer[0]!)) return undefined;
  return chooseIke(answer, own, undefined, new Uint8Array(0), spiBytes)?.algorithms;
}

export function acceptChild(answer: readonly Proposal[], own: readonly ChildProposal[], keGroup: number | undefined, withGroups: boolean): ChildAlgorithms | undefined {
  if (answer.length !== 1 || !singleTransforms(answer[0]!)) return undefined;
  return chooseChild(answer, own, keGroup, new Uint8Array(4), withGroups)?.algorithms;
}

function singleTransforms(proposal: Proposal): boolean {
  const types = proposal.transforms.map((entry) => entry.type);
  return new Set(types).size === types.length;
}
