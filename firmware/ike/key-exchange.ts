// One Diffie-Hellman exchange of ours: the pair lives from the KE payload that is sent to the secret that comes of it.
import { wipe } from '../../platform/bytes.ts';
import type { DhGroup, DhKeyPair, Suite } from '../../platform/crypto.ts';
import type { Random } from '../../platform/random.ts';
import type { PayloadOf } from '../wire/ike/payloads.ts';

export class KeyExchange {
  readonly group: DhGroup;
  readonly #suite: Suite;
  readonly #pair: DhKeyPair;

  constructor(suite: Suite, random: Random, group: DhGroup) {
    this.#suite = suite;
    this.group = group;
    this.#pair = suite.dhGenerate(group, random);
  }

  payload(): PayloadOf<'KE'> {
    return { kind: 'KE', group: this.group, data: this.#pair.publicValue };
  }

  /** The shared secret, owned by the caller; undefined for a public value that RFC 6989 refuses. Ends the exchange. */
  shared(peer: PayloadOf<'KE'>): Uint8Array | undefined {
    const secret = peer.group === this.group ? this.#suite.dhShared(this.#pair, peer.data) : undefined;
    this.wipe();
    return secret;
  }

  wipe(): void {
    wipe(this.#pair.privateValue);
  }
}

/** The group number that INVALID_KE_PAYLOAD names. */
export function wantedGroup(data: Uint8Array): number | undefined {
  return data.length === 2 ? (data[0]! << 8) | data[1]! : undefined;
}

export function groupBytes(group: number): Uint8Array {
  return Uint8Array.of(group >> 8, group & 0xff);
}
