// Loaded into a branch's firmware before its own code: a branch that was taken over. It behaves until SIGUSR2, then
// reads what to announce from HOSTILE_ORDER and says it over its own BGP session, with its own good credential.
import { readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';
import type { BgpRoute } from '../../firmware/bgp/route.ts';
import { makeRoute } from '../../firmware/bgp/route.ts';
import { BgpService } from '../../firmware/services/bgp.ts';
import type { SdwanNlri } from '../../firmware/wire/bgp/nlri.ts';
import { HOSTILE_ORDER, withBadSignature } from './fault-lab-hostile.ts';
import type { HostileOrder } from './fault-lab-hostile.ts';

const ROUTE_TYPE_KEY = 0xff01;

function renamed(route: BgpRoute, siteId: number, nodeId: readonly number[]): BgpRoute {
  const { value } = route.nlri as SdwanNlri;
  const changed = Uint8Array.from(value);
  new DataView(changed.buffer).setUint32(8, siteId);
  changed.set(nodeId, 12);
  return makeRoute(route.family, { kind: 'sdwan', routeType: ROUTE_TYPE_KEY, value: changed }, route.nextHop, route);
}

function said({ what, siteId, nodeId }: HostileOrder, routes: readonly BgpRoute[]): BgpRoute {
  const newest = routes.at(-1)!;
  switch (what) {
    case 'newest':
      return newest;
    case 'oldest':
      return routes[0]!;
    case 'bad-signature':
      return { ...newest, tunnelEncapsulation: withBadSignature(newest.tunnelEncapsulation!)! };
    case 'renamed':
      return renamed(newest, siteId!, nodeId!);
  }
}

if (isMainThread) {
  const announced = new Map<BgpService, BgpRoute[]>();
  const push = BgpService.prototype.push;
  BgpService.prototype.push = function (input) {
    if (input.kind === 'originate' && input.route.nlri.kind === 'sdwan' && input.route.nlri.routeType === ROUTE_TYPE_KEY) {
      announced.set(this, [...(announced.get(this) ?? []), input.route]);
    }
    push.call(this, input);
  };
  process.on('SIGUSR2', () => {
    const order = JSON.parse(readFileSync(HOSTILE_ORDER, 'utf8')) as HostileOrder;
    for (const [service, routes] of announced) {
      if (service.options.organization === order.organization) push.call(service, { kind: 'originate', route: said(order, routes) });
    }
  });
}
