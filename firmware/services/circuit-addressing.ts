// What the network gives a circuit: when its client runs, which of the kernel's addresses is the circuit's, and when it
// is time to tell the operator. A machine, one per circuit with an automatic family; a client that ends leaves nothing
// behind but the addresses that the kernel still has, and is started again.
import type { AddressFamily, GivenAddress, GivenAddresses } from '../../drivers/port.ts';
import { randomBelow, type Random } from '../../platform/random.ts';
import { after, TimerTable, type Instant } from '../../platform/time.ts';
import type { Machine, Timeout } from '../machine.ts';

/** An address takes some 3 s; what is missing after this is worth an alarm. */
export const PATIENCE_MS = 20_000;
export const FIRST_RESTART_MS = 1_000;
export const LONGEST_RESTART_MS = 60_000;
/** A client that ran this long was healthy: the next restart is quick again. */
const HEALTHY_MS = 120_000;
/** The kernel is read this often although it told of no change. */
export const LOOK_MS = 30_000;

export type AddressingInput =
  | { readonly kind: 'start' }
  | { readonly kind: 'given'; readonly given: GivenAddresses }
  /** The client has ended. */
  | { readonly kind: 'ended'; readonly cause: string; readonly nextStep: string };

export type AddressingOutput =
  /** Start the client. */
  | { readonly kind: 'run' }
  /** Have the client read what the kernel has. */
  | { readonly kind: 'look' }
  | { readonly kind: 'gained'; readonly family: AddressFamily; readonly address: string; readonly gateway: string | undefined; readonly validSeconds: number | undefined }
  | { readonly kind: 'lost'; readonly family: AddressFamily; readonly address: string; readonly cause: string }
  /** Still none after a while, or its reason is another one now. */
  | { readonly kind: 'missing'; readonly family: AddressFamily; readonly cause: string; readonly nextStep: string }
  /** After `missing`: there is one. */
  | { readonly kind: 'found'; readonly family: AddressFamily }
  | { readonly kind: 'restarts'; readonly cause: string; readonly nextStep: string; readonly restartMs: number };

/** One family as it is. */
export interface FamilyState {
  readonly family: AddressFamily;
  /** With prefix length. */
  readonly address: string | undefined;
  readonly gateway: string | undefined;
  readonly validUntil: Instant | undefined;
  /** Why there is no address. */
  readonly cause: string;
  readonly nextStep: string;
}

interface Family {
  readonly family: AddressFamily;
  address: string | undefined;
  gateway: string | undefined;
  validUntil: Instant | undefined;
  isMissed: boolean;
  toldCause: string;
}

type TimerName = 'restart' | 'look' | 'patience-4' | 'patience-6';

export interface AddressingOptions {
  /** `vni-0/0`, for causes. */
  readonly circuit: string;
  readonly families: readonly AddressFamily[];
  readonly random: Random;
}

export class CircuitAddressing implements Machine<AddressingInput, AddressingOutput> {
  readonly #options: AddressingOptions;
  readonly #families: readonly Family[];
  readonly #timers = new TimerTable<TimerName>();
  readonly #outputs: AddressingOutput[] = [];
  #runsSince: Instant | undefined;
  #restarts = 0;
  #carrier = true;
  #failure: { readonly cause: string; readonly nextStep: string } | undefined;

  constructor(options: AddressingOptions) {
    this.#options = options;
    this.#families = options.families.map((family) => ({ family, address: undefined, gateway: undefined, validUntil: undefined, isMissed: false, toldCause: '' }));
  }

  handle(input: AddressingInput | Timeout, now: Instant): void {
    switch (input.kind) {
      case 'start':
        for (const { family } of this.#families) this.#timers.set(`patience-${family}`, after(now, PATIENCE_MS));
        this.#run(now);
        return;
      case 'given':
        this.#given(input.given, now);
        return;
      case 'ended':
        this.#ended(input.cause, input.nextStep, now);
        return;
      case 'timeout':
        for (let due = this.#timers.takeDue(now); due !== undefined; due = this.#timers.takeDue(now)) this.#due(due, now);
        return;
    }
  }

  poll(): AddressingOutput | undefined {
    return this.#outputs.shift();
  }

  deadline(): Instant | undefined {
    return this.#timers.next();
  }

  /** The circuit's addresses now, with prefix length, at most one per family. */
  addresses(): readonly string[] {
    return this.#families.flatMap(({ address }) => (address === undefined ? [] : [address]));
  }

  states(): readonly FamilyState[] {
    return this.#families.map(({ family, address, gateway, validUntil }) => {
      return { family, address, gateway, validUntil, ...(address === undefined ? this.#state(family) : { cause: '', nextStep: '' }) };
    });
  }

  /** No alarm yet: it usually takes some seconds. */
  #state(family: AddressFamily): { readonly cause: string; readonly nextStep: string } {
    if (this.#failure !== undefined || !this.#carrier || this.#timers.get(`patience-${family}`) === undefined) return this.#reason(family);
    return { cause: `${this.#options.circuit} waits for an ${family === 4 ? 'IPv4 address by DHCP' : 'IPv6 address by router advertisements'}`, nextStep: 'nothing: it takes some seconds' };
  }

  #due(name: TimerName, now: Instant): void {
    if (name === 'restart') return this.#run(now);
    if (name === 'look') {
      this.#lookLater(now);
      this.#outputs.push({ kind: 'look' });
      return;
    }
    for (const each of this.#families) if (name === `patience-${each.family}`) this.#tellMissing(each);
  }

  #run(now: Instant): void {
    this.#runsSince = now;
    this.#lookLater(now);
    this.#outputs.push({ kind: 'run' });
  }

  #lookLater(now: Instant): void {
    this.#timers.set('look', after(now, this.#spread(LOOK_MS)));
  }

  /** A quarter to both sides. */
  #spread(meanMs: number): number {
    return meanMs * 0.75 + randomBelow(this.#options.random, Math.ceil(meanMs / 2));
  }

  #ended(cause: string, nextStep: string, now: Instant): void {
    if (this.#runsSince !== undefined && now - this.#runsSince >= HEALTHY_MS) this.#restarts = 0;
    this.#runsSince = undefined;
    this.#timers.clear('look');
    const restartMs = this.#spread(Math.min(LONGEST_RESTART_MS, FIRST_RESTART_MS * 2 ** Math.min(this.#restarts, 16)));
    this.#restarts++;
    this.#failure = { cause, nextStep };
    this.#timers.set('restart', after(now, restartMs));
    this.#outputs.push({ kind: 'restarts', cause, nextStep, restartMs: Math.round(restartMs) });
    for (const each of this.#families) if (each.isMissed) this.#tellMissing(each);
  }

  #given(given: GivenAddresses, now: Instant): void {
    this.#carrier = given.carrier;
    for (const each of this.#families) {
      const chosen = choose(given.addresses, each.family, each.address);
      const before = each.address;
      each.gateway = given.gateways.find((gateway) => isOf(each.family, gateway));
      each.address = chosen?.address;
      each.validUntil = chosen?.validSeconds === undefined ? undefined : after(now, 1000 * chosen.validSeconds);
      if (chosen !== undefined) this.#failure = undefined;
      if (before !== chosen?.address) this.#changed(each, before, chosen, now);
      else if (each.isMissed) this.#tellMissing(each);
    }
  }

  #changed(each: Family, before: string | undefined, chosen: GivenAddress | undefined, now: Instant): void {
    const { family, gateway } = each;
    if (before !== undefined) this.#outputs.push({ kind: 'lost', family, address: before, cause: this.#lossOf(family) });
    if (chosen === undefined) {
      this.#timers.set(`patience-${family}`, after(now, PATIENCE_MS));
      return;
    }
    this.#timers.clear(`patience-${family}`);
    this.#outputs.push({ kind: 'gained', family, address: chosen.address, gateway, validSeconds: chosen.validSeconds });
    if (!each.isMissed) return;
    each.isMissed = false;
    each.toldCause = '';
    this.#outputs.push({ kind: 'found', family });
  }

  #tellMissing(each: Family): void {
    const { cause, nextStep } = this.#reason(each.family);
    each.isMissed = true;
    if (each.toldCause === cause) return;
    each.toldCause = cause;
    this.#outputs.push({ kind: 'missing', family: each.family, cause, nextStep });
  }

  #lossOf(family: AddressFamily): string {
    if (!this.#carrier) return 'the port has no carrier';
    return family === 4 ? 'the DHCP server refused it, or the lease ended' : 'it is no longer advertised, or the lease ended';
  }

  #reason(family: AddressFamily): { readonly cause: string; readonly nextStep: string } {
    const { circuit } = this.#options;
    if (this.#failure !== undefined) return this.#failure;
    if (!this.#carrier) return { cause: `the port ${circuit} has no carrier`, nextStep: 'plug its cable in, and check what is at the other end' };
    if (family === 4) return { cause: `no DHCP server gives ${circuit} an address`, nextStep: 'check the DHCP server of that network, or give the circuit a static IPv4 address' };
    return { cause: `no router advertises a prefix for addresses on ${circuit}, and no DHCPv6 server gives one`, nextStep: 'check the router of that network, or give the circuit a static IPv6 address' };
  }
}

function isOf(family: AddressFamily, address: string): boolean {
  return address.includes(':') === (family === 6);
}

/** Unique local addresses (RFC 4193) come after global ones: what is behind a WAN is seldom reached from them. */
function isUniqueLocal(address: string): boolean {
  return /^f[cd]/i.test(address);
}

/** The one in use as long as it may be; else one that is not deprecated, global before unique local, and lasts longest. */
function choose(given: readonly GivenAddress[], family: AddressFamily, current: string | undefined): GivenAddress | undefined {
  const mine = given.filter(({ address }) => isOf(family, address));
  const rank = ({ address, deprecated, validSeconds = Infinity }: GivenAddress): readonly number[] => [deprecated ? 1 : 0, address === current ? 0 : 1, isUniqueLocal(address) ? 1 : 0, -validSeconds];
  return mine.toSorted((a, b) => {
    const [left, right] = [rank(a), rank(b)];
    const at = left.findIndex((value, i) => value !== right[i]);
    return at < 0 ? (a.address < b.address ? -1 : 1) : left[at]! - right[at]!;
  })[0];
}
