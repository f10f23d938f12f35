// What a peer is told about a path: whether at all, and with which attributes (RFC 4271 9.1.3, RFC 4456 8, RFC 4684 3.2).
import { toHex } from '../../platform/bytes.ts';
import type { IpAddress } from '../model.ts';
import type { PathAttributes } from '../wire/bgp/attributes.ts';
import { AS_SEQUENCE, encodeAttributes } from '../wire/bgp/attributes.ts';
import { isTransitiveCommunity } from '../wire/bgp/community.ts';
import { RTC, familyName, sameFamily } from '../wire/bgp/family.ts';
import { needsExtendedNextHop } from '../wire/bgp/next-hop.ts';
import type { ParsedNlri } from '../wire/bgp/nlri.ts';
import type { Path, PathSource } from './decision.ts';
import type { RibEntry } from './rib.ts';
import type { BgpRoute } from './route.ts';
import type { TargetFilter } from './targets.ts';
import { wants } from './targets.ts';

/** This speaker, as far as export depends on it. */
export interface ExportSelf {
  readonly asNumber: number;
  readonly routerId: IpAddress;
  readonly clusterId: IpAddress;
  readonly reflector: boolean;
}

/** A peer with an established session. */
export interface ExportPeer {
  readonly source: PathSource;
  readonly local: IpAddress;
  readonly filter: TargetFilter;
  /** familyName() of the negotiated families. */
  readonly families: ReadonlySet<string>;
  readonly extendedNextHop: ReadonlySet<string>;
}

/** Attributes and next hop ready to be sent; equal `group` texts share an UPDATE. */
export interface ExportedRoute {
  readonly nlri: ParsedNlri;
  readonly nextHop: IpAddress;
  readonly attributes: Uint8Array;
  readonly group: string;
}

export class Exporter {
  readonly #self: ExportSelf;
  /** A route leaves in the same form to every internal peer; encoded once per form. */
  readonly #plain = new WeakMap<BgpRoute, ExportedRoute>();
  readonly #reflected = new WeakMap<Path, ExportedRoute>();

  constructor(self: ExportSelf) {
    this.#self = self;
  }

  /** What `peer` is to be told of `entry`; undefined when it is to know nothing of it. */
  export(entry: RibEntry, peer: ExportPeer): ExportedRoute | undefined {
    if (!peer.families.has(familyName(entry.family))) return undefined;
    const path = this.#choose(entry, peer);
    if (!path || !this.#mayTell(path, peer) || !wants(peer.filter, path.route)) return undefined;
    const exported = this.#form(path, peer);
    if (needsExtendedNextHop(entry.family, exported.nextHop) && !peer.extendedNextHop.has(familyName(entry.family))) return undefined;
    return exported;
  }

  /** RFC 4684 3.2: to a non-client, a client's membership goes before another non-client's. */
  #choose(entry: RibEntry, peer: ExportPeer): Path | undefined {
    const { best } = entry;
    if (best?.source.kind !== 'non-client' || peer.source.kind !== 'non-client' || !sameFamily(entry.family, RTC)) return best;
    for (const path of entry.paths.values()) if (path.source.kind === 'client') return path;
    return best;
  }

  #mayTell(path: Path, peer: ExportPeer): boolean {
    if (path.source.id === peer.source.id) return this.#isMembershipToClient(path, peer);
    if (path.source.kind === 'local' || path.source.kind === 'external' || peer.source.kind === 'external') return true;
    return this.#self.reflector && (path.source.kind === 'client' || peer.source.kind === 'client');
  }

  /** A client must learn that others want a target, also when the best such path is its own (RFC 4684 3.2). */
  #isMembershipToClient(path: Path, peer: ExportPeer): boolean {
    return this.#self.reflector && peer.source.kind === 'client' && sameFamily(path.route.family, RTC);
  }

  #form(path: Path, peer: ExportPeer): ExportedRoute {
    if (peer.source.kind === 'external') return this.#toExternal(path.route, peer);
    if (path.source.kind === 'local' || path.source.kind === 'external') {
      let plain = this.#plain.get(path.route);
      if (!plain) this.#plain.set(path.route, (plain = finished(path.route, path.route, path.route.nextHop)));
      return plain;
    }
    if (this.#isMembershipToClient(path, peer)) {
      return finished(path.route, { ...this.#reflect(path), originatorId: this.#self.routerId }, peer.local);
    }
    let reflected = this.#reflected.get(path);
    if (!reflected) this.#reflected.set(path, (reflected = finished(path.route, this.#reflect(path), path.route.nextHop)));
    return reflected;
  }

  /** RFC 4456 8: everything else stays as it came, next hop included. */
  #reflect({ route, source }: Path): BgpRoute {
    return { ...route, originatorId: route.originatorId ?? source.routerId, clusterList: [this.#self.clusterId, ...route.clusterList] };
  }

  #toExternal(route: BgpRoute, peer: ExportPeer): ExportedRoute {
    const [first, ...others] = route.asPath;
    const asPath =
      first?.type === AS_SEQUENCE
        ? [{ type: AS_SEQUENCE, asNumbers: [this.#self.asNumber, ...first.asNumbers] }, ...others]
        : [{ type: AS_SEQUENCE, asNumbers: [this.#self.asNumber] }, ...route.asPath];
    const attributes: PathAttributes = {
      ...route, asPath, med: undefined, localPref: undefined, originatorId: undefined, clusterList: [],
      extendedCommunities: route.extendedCommunities.filter(isTransitiveCommunity),
    };
    return finished(route, attributes, peer.local);
  }
}

function finished(route: BgpRoute, attributes: PathAttributes, nextHop: IpAddress): ExportedRoute {
  const octets = encodeAttributes(attributes);
  return { nlri: route.nlri, nextHop, attributes: octets, group: `${nextHop} ${toHex(octets)}` };
}
