// The part of a tenant's rekey machine that must survive: a counter that never goes back, and the directives acted on.
import type { Store } from '../../platform/store.ts';
import type { IpAddress, TenantId } from '../model.ts';

export interface TenantStart {
  readonly bootCount: number;
  /** Low half of the last rekey counter of `bootCount`. */
  readonly counter: number;
  readonly epochs: Readonly<Record<IpAddress, number>>;
}

function documentName(tenant: TenantId): string {
  return `rekey-${tenant}`;
}

/** What the machine starts from: a new boot counts from 0, a restart of the tenant within a boot goes on. */
export function nextTenantStart(store: Store, tenant: TenantId, bootCount: number): TenantStart {
  const last = lastStart(store.read(documentName(tenant)));
  return { bootCount, counter: last?.bootCount === bootCount ? last.counter : 0, epochs: last?.epochs ?? {} };
}

/** A document that the disk has spoilt counts as none: directives that were acted on are acted on again. */
function lastStart(bytes: Uint8Array | undefined): TenantStart | undefined {
  if (bytes === undefined) return undefined;
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as TenantStart;
  } catch {
    return undefined;
  }
}

/** As durable as the store. */
export function saveTenantStart(store: Store, tenant: TenantId, start: TenantStart): void {
  store.write(documentName(tenant), new TextEncoder().encode(JSON.stringify(start)));
}
