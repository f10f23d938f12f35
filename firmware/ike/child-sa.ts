// Child SAs of an IKE SA: their two SaSpecs, their clocks, their coming and going (RFC 7296 2.8, 1.4.1).
import { Reader, Writer } from '../../platform/bytes.ts';
import { randomBelow } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import { after, earlier } from '../../platform/time.ts';
import type { SaSpec } from '../model.ts';
import type { TrafficSelector } from '../wire/ike/selector.ts';
import type { ChildAlgorithms } from './algorithms.ts';
import { childAlgorithmsText, espSuite } from './algorithms.ts';
import type { IkeSa } from './ike-sa.ts';
import { REKEY_REASONS, type RekeyReason } from './input-output.ts';
import type { CipherKey } from './keymat.ts';

/** Without ESN a sequence number must not wrap (RFC 4303 3.3.3); with it, the AEAD's own limit is far away. */
const HARD_PACKETS = 2 ** 32 - 1;
const HARD_PACKETS_ESN = 2 ** 48;
/** AES-GCM: stay far below 2^64 blocks under one key. */
const HARD_BYTES = 2 ** 50;
const SOFT_SHARE = 0.7;
/** Without any child an IKE SA is of no use here; a replacement has this long to come. */
export const CHILDLESS_MS = 10_000;
/** A peer that has rekeyed a child deletes the old one (RFC 7296 2.8); one that does not in this time is not waited for. */
const REPLACED_MS = 60_000;
/** A retry after TEMPORARY_FAILURE comes after 5 to 15 s, so that both ends do not meet again (RFC 7296 2.25). */
const RETRY_MS = 5_000;
const RETRY_SPREAD_MS = 10_000;

export interface ChildSa {
  readonly number: number;
  readonly inbound: SaSpec;
  readonly outbound: SaSpec;
  readonly algorithms: ChildAlgorithms;
  readonly localSelectors: readonly TrafficSelector[];
  readonly remoteSelectors: readonly TrafficSelector[];
  readonly vxlanVni: number | undefined;
  /** `replaced`: a newer child has taken over; whoever began that rekey deletes this one. */
  state: 'up' | 'rekeying' | 'replaced' | 'deleting';
}

export interface NewChild {
  readonly spiIn: number;
  readonly spiOut: number;
  readonly keyIn: CipherKey;
  readonly keyOut: CipherKey;
  readonly algorithms: ChildAlgorithms;
  readonly localSelectors: readonly TrafficSelector[];
  readonly remoteSelectors: readonly TrafficSelector[];
  readonly vxlanVni: number | undefined;
}

function saSpec(sa: IkeSa, spi: number, key: CipherKey, algorithms: ChildAlgorithms): SaSpec {
  const hardPackets = algorithms.esn ? HARD_PACKETS_ESN : HARD_PACKETS;
  return {
    id: sa.env.nextSaId(),
    spi,
    suite: espSuite(algorithms),
    key: key.key,
    salt: key.salt,
    esn: algorithms.esn,
    windowPackets: sa.profile.windowPackets,
    softPackets: Math.floor(hardPackets * SOFT_SHARE),
    softBytes: Math.floor(HARD_BYTES * SOFT_SHARE),
    hardPackets,
    hardBytes: HARD_BYTES,
  };
}

export function createChild(sa: IkeSa, plan: NewChild): ChildSa {
  return {
    number: sa.env.nextChildNumber(),
    inbound: saSpec(sa, plan.spiIn, plan.keyIn, plan.algorithms),
    outbound: saSpec(sa, plan.spiOut, plan.keyOut, plan.algorithms),
    algorithms: plan.algorithms,
    localSelectors: plan.localSelectors,
    remoteSelectors: plan.remoteSelectors,
    vxlanVni: plan.vxlanVni,
    state: 'up',
  };
}

export function espSpiBytes(spi: number): Uint8Array {
  return new Writer(4).u32(spi).finish();
}

/** 0 for anything that is not 4 octets: no child has that SPI. */
export function espSpiNumber(bytes: Uint8Array): number {
  return bytes.length === 4 ? new Reader(bytes, 'ESP SPI').u32() : 0;
}

export function childSpis(child: ChildSa): string {
  return `${child.inbound.spi.toString(16).padStart(8, '0')}/${child.outbound.spi.toString(16).padStart(8, '0')}`;
}

/** Makes the child known to the service, which owns the keys from then on. */
export function installChild(sa: IkeSa, child: ChildSa, replaces: ChildSa | undefined, made: { readonly initiator: boolean; readonly reason?: RekeyReason }, now: Instant): void {
  sa.children.set(child.number, child);
  sa.clearTimer('childless');
  const { childLifetimeMs } = sa.profile;
  sa.setTimer(`rekey-child:${child.number}`, after(now, sa.rekeyDelayMs(childLifetimeMs)));
  sa.setTimer(`expire-child:${child.number}`, after(now, childLifetimeMs));
  if (replaces !== undefined) {
    replaces.state = 'replaced';
    sa.clearTimer(`rekey-child:${replaces.number}`);
    // While the old one is there the new one is not rekeyed.
    if (!made.initiator) sa.setTimer(`expire-child:${replaces.number}`, earlier(sa.timerAt(`expire-child:${replaces.number}`), after(now, REPLACED_MS))!);
  }
  sa.env.emit({
    kind: 'child-up',
    child: child.number,
    ikeSa: sa.number,
    profile: sa.profile.name,
    tenant: sa.profile.tenant,
    inbound: child.inbound,
    outbound: child.outbound,
    local: sa.path.local,
    remote: sa.path.remote,
    natt: sa.encapsulates,
    vxlanVni: child.vxlanVni,
    localSelectors: child.localSelectors,
    remoteSelectors: child.remoteSelectors,
    replaces: replaces?.number,
    initiator: made.initiator,
  });
  const fields = { child: child.number, childSpis: childSpis(child), algorithms: childAlgorithmsText(child.algorithms) };
  sa.log('info', replaces === undefined ? 'child SA established' : 'child SA rekeyed', fields);
  const spis = childSpis(child);
  if (replaces === undefined) {
    sa.history('Child Done', '', { spis });
    return;
  }
  const reason = REKEY_REASONS[made.reason ?? 'peer'];
  sa.history('Child Rekeyed', reason, { spis, replaces: childSpis(replaces) });
  sa.history('Child Replaced', reason, { spis: childSpis(replaces), replacedBy: spis });
}

/** The child is gone at both ends; the service should keep its inbound SA for packets under way. */
export function removeChild(sa: IkeSa, child: ChildSa, reason: string, now: Instant): void {
  if (!sa.children.delete(child.number)) return;
  sa.clearTimer(`rekey-child:${child.number}`);
  sa.clearTimer(`expire-child:${child.number}`);
  sa.env.releaseEspSpi(child.inbound.spi);
  sa.env.emit({ kind: 'child-down', child: child.number, ikeSa: sa.number, reason });
  sa.log('info', 'child SA deleted', { child: child.number, childSpis: childSpis(child), cause: reason });
  sa.history('Child Deleted', reason, { spis: childSpis(child) });
  if (sa.children.size === 0 && sa.state === 'established') sa.setTimer('childless', after(now, CHILDLESS_MS));
}

/** Children and their clocks go on under the IKE SA that replaces this one. */
export function moveChildren(from: IkeSa, to: IkeSa): void {
  for (const child of from.children.values()) {
    to.children.set(child.number, child);
    for (const name of [`rekey-child:${child.number}`, `expire-child:${child.number}`] as const) {
      const when = from.timerAt(name);
      if (when !== undefined) to.setTimer(name, when);
      from.clearTimer(name);
    }
  }
  from.children.clear();
}

/** A rekey that could not be done now is tried again, until the hard lifetime ends the child. */
export function postponeRekey(sa: IkeSa, timer: `rekey-child:${number}` | 'rekey-ike', cause: string, now: Instant): void {
  const waitMs = RETRY_MS + randomBelow(sa.env.random, RETRY_SPREAD_MS);
  sa.setTimer(timer, after(now, waitMs));
  sa.log('info', 'rekey postponed', { rekey: timer, waitMs, cause });
}
