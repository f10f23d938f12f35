// The reports that a branch still owes Director, in order, and which of them are on their way.
import type { StageReport } from './stages-messages.ts';

const REPORT_LIMIT = 32;
const TEXT_LIMIT = 400;

export class ReportOutbox {
  #reports: StageReport[] = [];
  /** How many of the first reports the request under way carries. */
  #sending: { readonly request: number; readonly count: number } | undefined;

  get isEmpty(): boolean {
    return this.#reports.length === 0;
  }

  get isSending(): boolean {
    return this.#sending !== undefined;
  }

  /** Beyond the limit the oldest are dropped; progress takes the place of earlier progress that waits. */
  add(reports: readonly StageReport[]): void {
    const text = (value: string): string => value.slice(0, TEXT_LIMIT);
    for (const { nextStep, ...report } of reports) {
      const last = this.#reports.length > (this.#sending?.count ?? 0) ? this.#reports.at(-1) : undefined;
      if (report.percentage !== undefined && last?.percentage !== undefined && last.step === report.step) this.#reports.pop();
      this.#reports.push({ ...report, message: text(report.message), ...(nextStep === undefined ? {} : { nextStep: text(nextStep) }) });
    }
    const over = this.#reports.length - REPORT_LIMIT;
    if (over <= 0) return;
    this.#reports.splice(0, over);
    if (this.#sending) this.#sending = { ...this.#sending, count: Math.max(0, this.#sending.count - over) };
  }

  all(): readonly StageReport[] {
    return [...this.#reports];
  }

  sending(request: number): void {
    this.#sending = { request, count: this.#reports.length };
  }

  isRequest(request: number): boolean {
    return this.#sending?.request === request;
  }

  /** The request is over; `taken` says whether its reports need not be sent again. */
  sent(taken: boolean): void {
    if (taken) this.#reports.splice(0, this.#sending?.count ?? 0);
    this.#sending = undefined;
  }

  /** The path broke under the request: its answer is not awaited any longer. */
  abandon(): void {
    this.#sending = undefined;
  }

  clear(): void {
    this.#reports = [];
    this.#sending = undefined;
  }
}
