// @hot (fields)  The insides as rows, and what arriving labels and VNIs mean. Made anew from every ForwardingState:
// nothing here is learned.
import { addressBytes, isAddress } from '../wire/address.ts';
import type { ForwardingState, InsideKind, TenantId } from '../model.ts';

export const INSIDE_CLEAR = 0;
const INSIDE_ENCRYPTED = 1;
export const INSIDE_LAN = 2;

const KINDS: Readonly<Record<InsideKind, number>> = { 'clear-tvi': INSIDE_CLEAR, 'encrypted-tvi': INSIDE_ENCRYPTED, lan: INSIDE_LAN };

export class InsideTable {
  readonly id: Int32Array;
  readonly kind: Uint8Array;
  readonly tenant: Int32Array;
  readonly mtu: Int32Array;
  /** Of its tenant, or -1. */
  readonly vni: Int32Array;
  /** Roots in the FIB. */
  readonly root4: Int32Array;
  readonly root6: Int32Array;
  /** `next` of its link; 0 = not attached. */
  readonly next: Int32Array;
  /** Octets of the box's own addresses, per row. */
  readonly #own4: readonly Uint8Array[][];
  readonly #own6: readonly Uint8Array[][];
  readonly #rowOfId = new Map<number, number>();
  readonly #rowOfLabel: Int32Array;
  readonly #tenantOfVni = new Map<number, TenantId>();
  readonly #vniOfTenant = new Map<TenantId, number>();
  readonly #clearOfTenant = new Map<TenantId, number>();

  constructor(state: ForwardingState) {
    const rows = state.insides.length;
    this.id = Int32Array.from(state.insides, (inside) => inside.id);
    this.kind = Uint8Array.from(state.insides, (inside) => KINDS[inside.kind]);
    this.tenant = Int32Array.from(state.insides, (inside) => inside.tenant);
    this.mtu = Int32Array.from(state.insides, (inside) => inside.mtu);
    this.root4 = Int32Array.from({ length: rows }, (_, row) => 1 + 2 * row);
    this.root6 = Int32Array.from({ length: rows }, (_, row) => 2 + 2 * row);
    this.next = new Int32Array(rows);
    const own = state.insides.map((inside) => inside.addresses.filter(isAddress).map(addressBytes));
    this.#own4 = own.map((addresses) => addresses.filter((address) => address.length === 4));
    this.#own6 = own.map((addresses) => addresses.filter((address) => address.length === 16));
    for (const [row, inside] of state.insides.entries()) {
      this.#rowOfId.set(inside.id, row);
      if (inside.kind === 'clear-tvi') this.#clearOfTenant.set(inside.tenant, row);
    }
    for (const { tenant, vni } of state.tenants) {
      this.#tenantOfVni.set(vni, tenant);
      this.#vniOfTenant.set(tenant, vni);
    }
    this.vni = Int32Array.from(state.insides, (inside) => this.vniOfTenant(inside.tenant));
    this.#rowOfLabel = labelRows(state, this.#rowOfId);
  }

  get rows(): number {
    return this.id.length;
  }

  /** Row of an inside id, or -1. */
  rowOf(id: number): number {
    return this.#rowOfId.get(id) ?? -1;
  }

  /** Row that an arriving VPN label belongs to, or -1. */
  rowOfLabel(label: number): number {
    return label < this.#rowOfLabel.length ? this.#rowOfLabel[label]! : -1;
  }

  /** Tenant of a VNI, or -1. */
  tenantOfVni(vni: number): TenantId {
    return this.#tenantOfVni.get(vni) ?? -1;
  }

  /** VNI of a tenant, or -1. */
  vniOfTenant(tenant: TenantId): number {
    return this.#vniOfTenant.get(tenant) ?? -1;
  }

  /** Row of a tenant's clear TVI, or -1. */
  clearOfTenant(tenant: TenantId): number {
    return this.#clearOfTenant.get(tenant) ?? -1;
  }

  /** Whether the address at `at` is one of the box's own on this inside. */
  isOwn(row: number, version: number, bytes: Uint8Array, at: number): boolean {
    const own = version === 4 ? this.#own4[row]! : this.#own6[row]!;
    for (let i = 0; i < own.length; i++) {
      if (sameOctets(own[i]!, bytes, at)) return true;
    }
    return false;
  }
}

function sameOctets(address: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < address.length; i++) if (address[i] !== bytes[at + i]) return false;
  return true;
}

function labelRows(state: ForwardingState, rowOfId: ReadonlyMap<number, number>): Int32Array {
  const largest = state.labels.reduce((most, { label }) => Math.max(most, label), -1);
  const rows = new Int32Array(largest + 1).fill(-1);
  for (const { label, inside } of state.labels) rows[label] = rowOfId.get(inside) ?? -1;
  return rows;
}
