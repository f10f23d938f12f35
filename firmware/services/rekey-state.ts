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
  const bytes = store.read(documentName(tenant));
  if (bytes === undefined) return { bootCount, counter: 0, epochs: {} };
  const last = JSON.parse(new TextDecoder().decode(bytes)) as TenantStart;
  return { bootCount, counter: last.bootCount === bootCount ? last.counter : 0, epochs: last.epochs };
}

/** As durable as the store. */
export function saveTenantStart(store: Store, tenant: TenantId, start: TenantStart): void {
  store.write(documentName(tenant), new TextEncoder().encode(JSON.stringify(start)));
}
