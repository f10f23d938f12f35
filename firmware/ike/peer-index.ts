// IKE SAs by the identity of their peer: INITIAL_CONTACT (RFC 7296 2.4) asks for those of one peer among very many.
import type { IkeSa } from './ike-sa.ts';
import type { IkeIdentity } from './profile.ts';
import { sameIdentity } from './profile.ts';

/** Who the peer is, or is to be. */
function identityOf(sa: IkeSa): IkeIdentity | undefined {
  return sa.peer.identity ?? sa.profile.remoteIdentity;
}

/** Equal for identities that are the same; `sameIdentity` has the last word. */
function keyOf({ kind, value }: IkeIdentity): string {
  return `${kind} ${value.toLowerCase()}`;
}

export class PeerIndex {
  readonly #byKey = new Map<string, Set<IkeSa>>();
  readonly #placed = new Map<IkeSa, IkeIdentity>();

  /** To be called whenever the peer's identity may have become known or other. */
  place(sa: IkeSa): void {
    const identity = identityOf(sa);
    if (this.#placed.get(sa) === identity) return;
    this.remove(sa);
    if (identity === undefined) return;
    const key = keyOf(identity);
    const sas = this.#byKey.get(key) ?? new Set();
    sas.add(sa);
    this.#byKey.set(key, sas);
    this.#placed.set(sa, identity);
  }

  remove(sa: IkeSa): void {
    const identity = this.#placed.get(sa);
    if (identity === undefined) return;
    this.#placed.delete(sa);
    const key = keyOf(identity);
    const sas = this.#byKey.get(key)!;
    sas.delete(sa);
    if (sas.size === 0) this.#byKey.delete(key);
  }

  /** The SAs of other connections between the same two identities. */
  between(sa: IkeSa): IkeSa[] {
    const theirs = identityOf(sa);
    if (theirs === undefined) return [];
    return [...(this.#byKey.get(keyOf(theirs)) ?? [])].filter(
      (other) => other.number !== sa.number && sameIdentity(identityOf(other)!, theirs) && sameIdentity(other.profile.localIdentity, sa.profile.localIdentity),
    );
  }
}
