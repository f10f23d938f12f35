// Asks peers what their paths carry, answers their questions, and puts what was found into the tunnels' MTU: packets
// that are larger are then fragmented or answered with "too big" (too-big.ts), and TCP's MSS is clamped to it.
import type { AeadEngine } from '../../drivers/aead.ts';
import { BURST_PACKETS, LARGEST_READ, Next, slotStart, type Burst } from '../../drivers/burst.ts';
import { earlier, instant, type Instant } from '../../platform/time.ts';
import { GRE_HEADER_BYTES } from '../wire/gre.ts';
import { MPLS_ENTRY_BYTES } from '../wire/mpls.ts';
import { PROBE_ANSWER, PROBE_BYTES, PROBE_QUESTION, probeInnerBytes, probeKind, probeNumber, writeProbe } from '../wire/path-probe.ts';
import { Reason } from './counters.ts';
import { sealAndSend } from './inside.ts';
import { PathSearch } from './path-search.ts';
import type { Tables } from './tables.ts';
import { KIND_VXLAN_ESP, type TunnelTable } from './tunnel.ts';
import { wrapDummy } from './wrap.ts';

/** Answers that wait for the end of a breath; a peer that asks more loses questions, not packets. */
const MOST_ANSWERS = 64;
const LABEL_BYTES = GRE_HEADER_BYTES + MPLS_ENTRY_BYTES;
/** A burst's slot holds no larger packet. */
const LARGEST_INNER = LARGEST_READ - LABEL_BYTES;
const AT_ONCE = instant(0);

interface Answer {
  readonly row: number;
  readonly innerBytes: number;
  readonly number: number;
}

interface Searched {
  readonly id: number;
  readonly search: PathSearch;
  /** The MTU that the control plane knows; 0 = none, as another forwarder may have told it something else before. */
  reported: number;
}

export class PathProbes {
  /** By row of the tunnel. */
  readonly #searched: (Searched | undefined)[] = [];
  #answers: Answer[] = [];
  /** When `send` has something to do. */
  due: Instant | undefined;

  /** A new state is in force: keeps what was found for tunnels that stay, forgets the others, begins with new ones. */
  follow(tunnels: TunnelTable): void {
    this.due = undefined;
    this.#answers = [];
    for (let row = 0; row < Math.max(tunnels.rows, this.#searched.length); row++) {
      const spec = row < tunnels.rows ? tunnels.specOf(row) : undefined;
      const known = this.#searched[row];
      const stays = known !== undefined && known.id === spec?.id && known.search.ceiling === ceilingOf(spec.mtu);
      const own = tunnels.handTo[row] === 0;
      if (!stays) this.#searched[row] = spec?.probesMtu === true && own ? begin(spec.id, spec.mtu) : undefined;
      this.#use(row, tunnels);
    }
  }

  /** Everybody who was told something else about the path of the tunnel has to ask anew. */
  restart(row: number, tables: Tables, now: Instant): void {
    const searched = this.#searched[row];
    if (searched === undefined) return;
    searched.search.restart(now);
    this.#changed(row, tables);
  }

  /** The host would not send a packet of the tunnel: it was longer than the path carries. */
  refused(row: number, tables: Tables, now: Instant): void {
    const { tunnels } = tables;
    const id = tunnels.id[row]!;
    if (this.#searched[row]?.id !== id) this.#searched[row] = begin(id, tunnels.mtu[row]!);
    this.#searched[row]!.search.refused(now);
    this.#changed(row, tables);
  }

  /** A dummy packet came over the tunnel. Returns the reason that it is counted under. */
  heard(bytes: Uint8Array, at: number, length: number, row: number, tables: Tables, now: Instant): number {
    const kind = probeKind(bytes, at, length);
    if (kind === 0) return Reason.dummy;
    const innerBytes = probeInnerBytes(bytes, at);
    if (kind === PROBE_ANSWER) {
      this.#searched[row]?.search.answered(innerBytes, now);
      this.#changed(row, tables);
    } else if (this.#answers.length < MOST_ANSWERS && innerBytes <= length) {
      // A question that says more than it carries proves nothing.
      this.#answers.push({ row, innerBytes, number: probeNumber(bytes, at) });
      this.due = AT_ONCE;
    }
    return Reason['path-probe'];
  }

  /** Sends the answers that wait and the questions that are due. */
  send(burst: Burst, tables: Tables, aead: AeadEngine, now: Instant): void {
    const { tunnels } = tables;
    burst.count = 0;
    this.due = undefined;
    for (const { row, innerBytes, number } of this.#answers) if (canSend(row, tunnels)) append(burst, row, PROBE_ANSWER, PROBE_BYTES, innerBytes, number, tables);
    this.#answers = [];
    for (let row = 0; row < this.#searched.length; row++) {
      const search = this.#searched[row]?.search;
      if (search === undefined || !canSend(row, tunnels)) continue;
      if (burst.count === BURST_PACKETS) {
        this.due = now;
        break;
      }
      const question = search.next(now);
      if (question !== undefined) {
        const label = tunnels.kind[row] === KIND_VXLAN_ESP ? LABEL_BYTES : 0;
        append(burst, row, PROBE_QUESTION, label + question.innerBytes, question.innerBytes, question.number, tables);
      }
      this.#use(row, tunnels);
      this.#report(row, tables);
      this.due = earlier(this.due, search.due);
    }
    if (burst.count > 0) sealAndSend(burst, tables, aead, now);
  }

  #changed(row: number, tables: Tables): void {
    this.#use(row, tables.tunnels);
    this.#report(row, tables);
  }

  #use(row: number, tunnels: TunnelTable): void {
    const searched = this.#searched[row];
    if (searched === undefined) return;
    tunnels.mtu[row] = searched.search.mtu;
    this.due = earlier(this.due, searched.search.due);
  }

  #report(row: number, { tunnels, events }: Tables): void {
    const searched = this.#searched[row]!;
    const { mtu } = searched.search;
    if (searched.reported === mtu) return;
    searched.reported = mtu;
    events.push({ kind: 'path-mtu', tunnel: tunnels.id[row]!, mtu });
  }
}

function ceilingOf(mtu: number): number {
  return Math.min(mtu, LARGEST_INNER);
}

function begin(id: number, mtu: number): Searched {
  return { id, search: new PathSearch(ceilingOf(mtu), id, AT_ONCE), reported: 0 };
}

function canSend(row: number, tunnels: TunnelTable): boolean {
  return tunnels.txSa[row]! >= 0 && tunnels.next[row] !== 0;
}

function append(burst: Burst, row: number, kind: number, length: number, innerBytes: number, number: number, tables: Tables): void {
  const i = burst.count++;
  const at = slotStart(i);
  burst.offset[i] = at;
  burst.length[i] = length;
  burst.segment[i] = 0;
  burst.reason[i] = 0;
  burst.next[i] = Next.wrap;
  burst.bytes.fill(0, at, at + length);
  writeProbe(burst.bytes, at, kind, innerBytes, number);
  wrapDummy(burst, i, row, tables);
}
