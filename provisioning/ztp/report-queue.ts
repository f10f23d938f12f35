// Reports that Director must get even when it is away for a while: kept in the store, sent in order, repeated until
// Director answers. A report's id lets Director act once on one that it gets twice.
import { fromUtf8, toHex, utf8 } from '../../platform/bytes.ts';
import type { Random } from '../../platform/random.ts';
import type { Store } from '../../platform/store.ts';
import { canonicalJson } from './canonical.ts';

export interface QueuedReport {
  readonly reportId: string;
  /** API path. */
  readonly path: string;
  /** Without `reportId`. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly isFailure: boolean;
}

const DOCUMENT = 'ztp-reports';
/** The oldest go first: what a box does now matters more than what it did. */
const QUEUE_LIMIT = 256;
/** Failures that anybody may have caused: they have room of their own, so that they push out nothing else. */
const FAILURE_LIMIT = 32;
const REPORT_ID_BYTES = 16;

export class ReportQueue {
  readonly #store: Store;
  readonly #random: Random;
  #reports: QueuedReport[];

  constructor(store: Store, random: Random) {
    this.#store = store;
    this.#random = random;
    this.#reports = this.#load();
  }

  get length(): number {
    return this.#reports.length;
  }

  /** Adds a report unless the same one is waiting already. Returns false then. */
  add(path: string, body: Readonly<Record<string, unknown>>): boolean {
    if (!this.#append({ path, body, isFailure: false }, QUEUE_LIMIT)) return false;
    this.#save();
    return true;
  }

  /** The same for a failure that nobody vouches for: it takes its turn, but is not kept over a restart. */
  addFailure(path: string, body: Readonly<Record<string, unknown>>): boolean {
    return this.#append({ path, body, isFailure: true }, FAILURE_LIMIT);
  }

  #append(report: Omit<QueuedReport, 'reportId'>, limit: number): boolean {
    const text = canonicalJson(report.body);
    if (this.#reports.some(({ path, body }) => path === report.path && canonicalJson(body) === text)) return false;
    this.#reports.push({ reportId: toHex(this.#random.bytes(REPORT_ID_BYTES)), ...report });
    const alike = this.#reports.filter(({ isFailure }) => isFailure === report.isFailure);
    if (alike.length > limit) this.#reports = this.#reports.filter((each) => each !== alike[0]);
    return true;
  }

  first(): QueuedReport | undefined {
    return this.#reports[0];
  }

  /** Director has answered; a report that was dropped meanwhile is no error. */
  done(reportId: string): void {
    const done = this.#reports.find((report) => report.reportId === reportId);
    if (done === undefined) return;
    this.#reports = this.#reports.filter((report) => report !== done);
    if (!done.isFailure) this.#save();
  }

  #save(): void {
    this.#store.write(DOCUMENT, utf8(JSON.stringify(this.#reports.filter(({ isFailure }) => !isFailure))));
  }

  #load(): QueuedReport[] {
    const bytes = this.#store.read(DOCUMENT);
    if (!bytes) return [];
    try {
      const list = JSON.parse(fromUtf8(bytes)) as unknown;
      return Array.isArray(list) ? (list as QueuedReport[]).slice(-QUEUE_LIMIT).map((report) => ({ ...report, isFailure: false })) : [];
    } catch {
      return []; // half-known reports of a damaged store are worth less than a running Controller
    }
  }
}
