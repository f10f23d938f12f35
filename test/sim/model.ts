// The reference: who must reach whom, from what an operator did and nothing else. Scenarios change the model and the
// world alike, and then compare.

export interface ModelSite {
  readonly name: string;
  /** Tenants that the site serves. */
  readonly tenants: readonly number[];
  /** Transport domains that the site has a circuit in. */
  readonly transports: readonly string[];
}

/** 'may': a relay could carry it, but nothing promises that. */
export type Verdict = 'must' | 'may' | 'must-not';

interface State {
  readonly site: ModelSite;
  on: boolean;
  revoked: boolean;
  readonly circuitsDown: Set<string>;
}

export interface Pair {
  readonly from: string;
  readonly to: string;
  readonly tenant: number;
  readonly verdict: Verdict;
}

export class ReachModel {
  readonly #sites = new Map<string, State>();
  readonly #partitions = new Set<string>();

  addSite(site: ModelSite): void {
    this.#sites.set(site.name, { site, on: true, revoked: false, circuitsDown: new Set() });
  }

  setPower(name: string, on: boolean): void {
    this.#state(name).on = on;
  }

  revoke(name: string): void {
    this.#state(name).revoked = true;
  }

  setCircuit(name: string, transport: string, up: boolean): void {
    const { circuitsDown } = this.#state(name);
    if (up) circuitsDown.delete(transport);
    else circuitsDown.add(transport);
  }

  partition(a: string, b: string): void {
    this.#partitions.add(pairKey(a, b));
  }

  heal(a: string, b: string): void {
    this.#partitions.delete(pairKey(a, b));
  }

  /** What must hold between hosts of one tenant at two sites once things have settled. */
  verdict(from: string, to: string, tenant: number): Verdict {
    const [a, b] = [this.#state(from), this.#state(to)];
    const served = a.site.tenants.includes(tenant) && b.site.tenants.includes(tenant);
    if (!served || !a.on || !b.on || a.revoked || b.revoked) return 'must-not';
    const usable = (state: State): readonly string[] => state.site.transports.filter((transport) => !state.circuitsDown.has(transport));
    if (usable(a).length === 0 || usable(b).length === 0) return 'must-not';
    const direct = usable(a).some((transport) => usable(b).includes(transport));
    return direct && !this.#partitions.has(pairKey(from, to)) ? 'must' : 'may';
  }

  /** Every ordered pair of different sites, per tenant of the first. */
  pairs(): readonly Pair[] {
    const all = [...this.#sites.values()].map(({ site }) => site);
    return all.flatMap((a) =>
      all.filter((b) => b !== a).flatMap((b) => a.tenants.map((tenant) => ({ from: a.name, to: b.name, tenant, verdict: this.verdict(a.name, b.name, tenant) }))),
    );
  }

  #state(name: string): State {
    const state = this.#sites.get(name);
    if (state === undefined) throw new Error(`the model has no site ${name}`);
    return state;
  }
}

function pairKey(a: string, b: string): string {
  return [a, b].sort().join('|');
}
