// @hot (find, fields)  The SAs as rows: the hot description of what SaSpec describes cold. Keys live in the AEAD engine
// only, under `handle`. Receive rows are found by SPI through a hash; peers choose SPIs of IKE-less SAs together, so two
// may be equal: rows with one SPI form a chain of at most MAX_SAME_SPI.
import type { AeadEngine } from '../../drivers/aead.ts';
import { ESP_SHAPES } from '../../drivers/esp-suite.ts';
import type { SaSpec, TenantId } from '../model.ts';
import { capacityOf, sequenceWord, setSaRow, type CounterPage } from './counters.ts';
import { createRing, fillRing, windowSize } from './replay.ts';

const MAX_SAME_SPI = 4;

/** SAs that are gone and whose sequence numbers are still known. */
const MAX_REMEMBERED = 65_536;

const NO_ROW = -1;

/** Flags of limits that were reported already. */
export const REPORTED_PACKETS = 1;
export const REPORTED_BYTES = 2;
export const REPORTED_FAILURES = 4;
export const REPORTED_FIRST = 8;

export class SaTable {
  readonly handle: Int32Array;
  readonly spi: Int32Array;
  readonly tenant: Int32Array;
  /** Row of the tunnel. */
  readonly tunnel: Int32Array;
  /** `next` of the worker that has the SA; 0 = this one. */
  readonly handTo: Int32Array;
  readonly esn: Uint8Array;
  /** How its suite lays out a packet. */
  readonly ivBytes: Uint8Array;
  readonly icvBytes: Uint8Array;
  readonly blockBytes: Uint8Array;
  readonly window: Int32Array;
  readonly reported: Uint8Array;
  readonly packets: Float64Array;
  readonly octets: Float64Array;
  readonly failures: Float64Array;
  readonly softPackets: Float64Array;
  readonly softBytes: Float64Array;
  readonly hardPackets: Float64Array;
  readonly hardBytes: Float64Array;
  readonly rings: Int32Array[] = [];
  /** Rows of SAs that other workers have. */
  others = 0;
  /** Sequence numbers live on the shared page (counters.ts): sequences[sequenceWord(row)]. */
  readonly sequences: CounterPage;

  readonly #engine: AeadEngine;
  readonly #former: Map<number, number>;
  readonly #rowOfId = new Map<number, number>();
  readonly #free: number[] = [];
  readonly #noted: number[] = [];
  #rows = 0;
  #heads = new Int32Array(16).fill(NO_ROW);
  readonly #following: Int32Array;
  readonly #capacity: number;

  /** `former`: sequence numbers by SA id that a forwarder before this one reached on the same page. */
  constructor(engine: AeadEngine, page: CounterPage, former: Map<number, number>) {
    this.#engine = engine;
    this.sequences = page;
    this.#former = former;
    const { sas } = capacityOf(page);
    this.#capacity = sas;
    this.handle = new Int32Array(sas).fill(-1);
    this.spi = new Int32Array(sas);
    this.tenant = new Int32Array(sas);
    this.tunnel = new Int32Array(sas).fill(-1);
    this.handTo = new Int32Array(sas);
    this.esn = new Uint8Array(sas);
    this.ivBytes = new Uint8Array(sas);
    this.icvBytes = new Uint8Array(sas);
    this.blockBytes = new Uint8Array(sas);
    this.window = new Int32Array(sas);
    this.reported = new Uint8Array(sas);
    this.packets = new Float64Array(sas);
    this.octets = new Float64Array(sas);
    this.failures = new Float64Array(sas);
    this.softPackets = new Float64Array(sas);
    this.softBytes = new Float64Array(sas);
    this.hardPackets = new Float64Array(sas);
    this.hardBytes = new Float64Array(sas);
    this.#following = new Int32Array(sas).fill(NO_ROW);
  }

  /**
   * The row of an SA, made when it is new. What persists by id keeps sequence number, window and counts.
   * Returns -1 when the table is full.
   */
  install(spec: SaSpec, tenant: TenantId, tunnel: number, receives: boolean): number {
    let row = this.#rowOfId.get(spec.id);
    if (row === undefined) {
      row = this.#freeRow();
      if (row === NO_ROW) return NO_ROW;
      this.#start(row, spec, receives);
    }
    this.tenant[row] = tenant;
    this.tunnel[row] = tunnel;
    this.softPackets[row] = spec.softPackets;
    this.softBytes[row] = spec.softBytes;
    this.hardPackets[row] = spec.hardPackets;
    this.hardBytes[row] = spec.hardBytes;
    return row;
  }

  /** A row by which packets for an SA of another worker are known, until the next `retain`. */
  note(spec: SaSpec, tenant: TenantId, tunnel: number, handTo: number): number {
    const row = this.#freeRow();
    if (row === NO_ROW) return NO_ROW;
    this.#noted.push(row);
    this.others = this.#noted.length;
    this.handTo[row] = handTo;
    this.spi[row] = spec.spi;
    this.tenant[row] = tenant;
    this.tunnel[row] = tunnel;
    return row;
  }

  #freeRow(): number {
    return this.#free.pop() ?? (this.#rows < this.#capacity ? this.#rows++ : NO_ROW);
  }

  #start(row: number, spec: SaSpec, receives: boolean): void {
    const former = this.#former.get(spec.id);
    this.#former.delete(spec.id);
    this.handle[row] = this.#engine.install(spec);
    this.handTo[row] = 0;
    this.spi[row] = spec.spi;
    this.esn[row] = spec.esn ? 1 : 0;
    const { ivBytes, icvBytes, blockBytes } = ESP_SHAPES[spec.suite];
    this.ivBytes[row] = ivBytes;
    this.icvBytes[row] = icvBytes;
    this.blockBytes[row] = blockBytes;
    this.window[row] = windowSize(spec.windowPackets);
    this.rings[row] = createRing(receives ? this.window[row] : 32);
    if (former !== undefined) fillRing(this.rings[row], former);
    this.reported[row] = 0;
    this.packets[row] = former ?? 0;
    this.octets[row] = 0;
    this.failures[row] = 0;
    setSaRow(this.sequences, row, spec.id, former ?? 0);
    this.#rowOfId.set(spec.id, row);
  }

  /** Removes, and wipes the keys of, every SA whose id is not in `wanted`, and forgets those of other workers. */
  retain(wanted: ReadonlySet<number>): void {
    for (const row of this.#noted.splice(0)) {
      this.tunnel[row] = -1;
      this.#free.push(row);
    }
    this.others = 0;
    for (const [id, row] of this.#rowOfId) {
      if (wanted.has(id)) continue;
      this.#engine.remove(this.handle[row]!);
      this.handle[row] = -1;
      this.tunnel[row] = -1;
      this.#remember(id, this.sequence(row));
      setSaRow(this.sequences, row, 0, 0);
      this.#rowOfId.delete(id);
      this.#free.push(row);
    }
  }

  /** An SA that comes back under its id must go on from here: a number never serves twice under one key. */
  #remember(id: number, sequence: number): void {
    this.#former.set(id, sequence);
    for (const oldest of this.#former.keys()) {
      if (this.#former.size <= MAX_REMEMBERED) return;
      this.#former.delete(oldest);
    }
  }

  /** Wipes all keys, at the end. The page keeps its numbers for a forwarder that is started after this one. */
  wipe(): void {
    for (const row of this.#rowOfId.values()) this.#engine.remove(this.handle[row]!);
    this.#rowOfId.clear();
    this.index([]);
  }

  /** Makes the hash over the receive rows anew; returns how many found no place in their chain. */
  index(rows: readonly number[]): number {
    let size = 16;
    while (size < rows.length * 2) size *= 2;
    this.#heads = new Int32Array(size).fill(NO_ROW);
    let refused = 0;
    for (const row of rows) {
      let same = 0;
      for (let other = this.first(this.spi[row]!); other !== NO_ROW; other = this.after(other)) same++;
      if (same === MAX_SAME_SPI) {
        refused++;
        continue;
      }
      const slot = this.#slotOf(this.spi[row]!);
      this.#following[row] = this.#heads[slot]!;
      this.#heads[slot] = row;
    }
    return refused;
  }

  #slotOf(spi: number): number {
    const mixed = Math.imul(spi ^ (spi >>> 15), 0x2c1b_3c6d);
    return (mixed ^ (mixed >>> 13)) & (this.#heads.length - 1);
  }

  /** The first row with this SPI, or -1. */
  first(spi: number): number {
    return this.#matching(this.#heads[this.#slotOf(spi | 0)]!, spi | 0);
  }

  /** The next row with the same SPI, or -1. */
  after(row: number): number {
    return this.#matching(this.#following[row]!, this.spi[row]!);
  }

  #matching(start: number, spi: number): number {
    let row = start;
    while (row !== NO_ROW && this.spi[row] !== spi) row = this.#following[row]!;
    return row;
  }

  sequence(row: number): number {
    return this.sequences[sequenceWord(row)]!;
  }
}
