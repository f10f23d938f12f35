// An operator's order to run another version, carried out by a box that works: fetched through the control tunnel,
// installed, tried, and told to Director at every turn. The order is kept, so that it goes on after a restart, and its end
// is told until Director has heard it. Before the slot is written Director must say once more that the order stands.
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import { after, pauseUntil } from '../../platform/time.ts';
import type { CancelTimer } from '../../platform/time.ts';
import type { Site } from '../../firmware/services/service.ts';
import { DirectorRefusal } from './director-session.ts';
import type { DirectorSession } from './director-session.ts';
import { isFinalDownloadError, PackageDownload } from './package-download.ts';
import { keptOrderCheck } from './software-messages.ts';
import type { KeptOrder, OrderReport, OrderState, SoftwareOrder } from './software-messages.ts';
import type { SystemSlots } from './software-slots.ts';

export interface SoftwareOrdersOptions {
  readonly site: Pick<Site, 'clock' | 'random' | 'store'>;
  readonly log: Logger;
  /** Undefined on a host without system slots: Director hears of that. */
  readonly slots: SystemSlots | undefined;
  readonly running: string;
}

const DOCUMENT = 'ztp-software-order';
const checkKeptOrder = keptOrderCheck();
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 120_000;
/** How often a trial, and an end that Director has not heard, are looked at between two polls. */
const LOOK_MS = 10_000;
const TOLD_PERCENT = 5;
const LONGEST_TEXT = 400;

/** Director says that the order is over. */
function isCallBack(error: unknown): boolean {
  return error instanceof DirectorRefusal && error.code === 'conflict';
}

function causeOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

export class SoftwareOrders {
  readonly #options: SoftwareOrdersOptions;
  readonly #download: PackageDownload | undefined;
  #order: KeptOrder | undefined;
  /** Of the last poll. */
  #session: DirectorSession | undefined;
  #abort: AbortController | undefined;
  #percentage = 0;
  #toldPercentage = 0;
  #isFetching = false;
  /** News of the download on their way: what comes after them must not overtake them. */
  #telling: Promise<void> | undefined;
  #isPolling = false;
  #isLooking = false;
  #cancelLook: CancelTimer | undefined;
  #stopped = false;

  constructor(options: SoftwareOrdersOptions) {
    this.#options = options;
    this.#download = options.slots && new PackageDownload({ clock: options.site.clock, directory: options.slots.directory });
    this.#order = this.#load();
  }

  /** What an operator on the box is shown; '' without an order. */
  get activity(): string {
    if (this.#order === undefined || this.#order.phase === 'over') return '';
    const { version } = this.#order.package;
    return this.#order.phase === 'downloading' ? `downloads ${version} by order ${this.#order.id} of Director: ${this.#percentage} %` : `carries out order ${this.#order.id} of Director: ${version}`;
  }

  /** At the start: what was installed, or given up, need not lie on the disk. `isNeeded`: something else is being fetched. */
  async tidy(isNeeded: boolean): Promise<void> {
    if (!isNeeded && this.#order?.phase !== 'downloading') await this.#download?.clear();
  }

  /** The box belongs to somebody else now. */
  forget(): void {
    this.#abort?.abort();
    this.#keep(undefined);
  }

  stop(): void {
    this.#stopped = true;
    this.#abort?.abort();
    this.#cancelLook?.();
  }

  /** To be called with every poll. A Director that is away or refuses is asked again with a later one. */
  async poll(session: DirectorSession): Promise<void> {
    this.#session = session;
    if (this.#isPolling || this.#stopped) return;
    this.#isPolling = true;
    // An answer that was asked for while there was an order may name one that has ended meanwhile.
    const isFree = this.#order === undefined;
    try {
      const { order } = await session.software(this.#options.running, await this.#options.slots?.compatible());
      if (this.#order?.phase === 'downloading' && order?.id !== this.#order.id) await this.#calledBack(`order ${this.#order.id} stands no longer`);
      await this.#look();
      if (order && isFree && !this.#stopped) this.#begin(order);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isPolling = false;
    }
  }

  /** A Director that is away is no news: the poll says so. */
  #failed(error: unknown): void {
    if (!(error instanceof OperationalError)) this.#options.log.error('Upgrade order could not be looked after', { cause: causeOf(error) });
  }

  #begin(order: SoftwareOrder): void {
    // A system on trial is judged first.
    if (this.#order !== undefined || this.#options.slots === undefined || this.#options.slots.outcome().kind === 'on-trial') return;
    const { version, bytes } = order.package;
    this.#options.log.info('Upgrade ordered by Director', { order: order.id, version, bytes });
    this.#percentage = 0;
    this.#keep({ ...order, phase: 'downloading' });
    this.#run(this.#order!);
  }

  // ------------------------------------------------------------------------------------------ work

  #run(order: KeptOrder): void {
    const abort = new AbortController();
    this.#abort = abort;
    void this.#carryOut(order, abort.signal)
      .catch((error: unknown) => this.#end('failed', causeOf(error), 'look into the log of the box'))
      .finally(() => {
        if (this.#abort === abort) this.#abort = undefined;
      });
  }

  async #carryOut(order: KeptOrder, signal: AbortSignal): Promise<void> {
    let isWriting = false;
    try {
      this.#toldPercentage = -TOLD_PERCENT;
      this.#isFetching = true;
      const file = await this.#fetch(order, signal).finally(() => (this.#isFetching = false));
      this.#options.log.info('Software package downloaded', { version: order.package.version, bytes: order.package.bytes });
      await this.#options.slots!.install(file, async (phase) => {
        signal.throwIfAborted();
        if (phase === 'rebooting') return this.#tell({ state: 'rebooting' }).catch(() => {});
        await this.#telling;
        await this.#persist(signal, 'Director could not be asked whether the order stands', () => this.#tell({ state: 'installing' }));
        isWriting = true;
        this.#keep({ ...order, phase: 'installing' });
      });
      await this.#download!.clear();
    } catch (error) {
      if (signal.aborted) return;
      if (isCallBack(error) && !isWriting) return this.#calledBack(causeOf(error));
      await this.#download!.clear();
      // Whatever is wrong with a package is found before a slot is written; a full disk is the box's own.
      const state = isWriting || isFinalDownloadError(error) ? 'failed' : 'refused';
      this.#end(state, causeOf(error), error instanceof OperationalError ? error.nextStep : 'look into the log of the box');
      void this.#look();
    }
  }

  #fetch(order: KeptOrder, signal: AbortSignal): Promise<string> {
    return this.#persist(signal, 'Download of software interrupted', (worked) =>
      this.#download!.fetch({
        wanted: order.package,
        bytesPerSecond: order.bytesPerSecond,
        signal,
        part: (first, last, timeoutMs) => this.#session!.packagePart(order.package.sha256, first, last, timeoutMs),
        progress: (percentage) => {
          if (percentage > this.#percentage) worked();
          this.#percentage = percentage;
          if (percentage >= this.#toldPercentage + TOLD_PERCENT) this.#tellDownload();
        },
      }),
    );
  }

  /** Does something until it works, with growing pauses; gives up at what is final. `worked` makes the next pause short. */
  async #persist<Result>(signal: AbortSignal, sentence: string, work: (worked: () => void) => Promise<Result>): Promise<Result> {
    for (let failures = 0; ; failures++) {
      try {
        return await work(() => (failures = 0));
      } catch (error) {
        signal.throwIfAborted();
        if (isFinalDownloadError(error) || (error instanceof DirectorRefusal && error.isFinal)) throw error;
        const meanMs = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(failures, 16));
        const delayMs = meanMs * 0.75 + randomBelow(this.#options.site.random, meanMs / 2);
        this.#options.log.warning(sentence, { percentage: this.#percentage, cause: causeOf(error), seconds: Math.round(delayMs / 1000) });
        const { clock } = this.#options.site;
        await pauseUntil(clock, after(clock.now(), delayMs), signal);
        signal.throwIfAborted();
      }
    }
  }

  // ------------------------------------------------------------------------------------------ state

  /** Whatever the state of the order needs now: to go on after a restart, to follow a trial, to tell its end. */
  async #look(): Promise<void> {
    const order = this.#order;
    if (order === undefined || this.#session === undefined || this.#isLooking || this.#stopped) return;
    this.#isLooking = true;
    try {
      if (order.phase === 'downloading' && this.#abort === undefined) this.#run(order);
      else if (order.phase === 'downloading') this.#tellDownload();
      else if (order.phase === 'installing' && this.#abort === undefined) await this.#followTrial(order);
      if (this.#order?.phase === 'over') await this.#deliver(this.#order);
    } catch (error) {
      this.#failed(error);
    } finally {
      this.#isLooking = false;
    }
    this.#lookLater();
  }

  #lookLater(): void {
    const { clock } = this.#options.site;
    this.#cancelLook?.();
    if (this.#order === undefined || this.#order.phase === 'downloading' || this.#stopped) return;
    this.#cancelLook = clock.at(after(clock.now(), LOOK_MS), () => void this.#look());
  }

  async #followTrial({ package: { version } }: KeptOrder): Promise<void> {
    const outcome = this.#options.slots?.outcome() ?? { kind: 'none' };
    switch (outcome.kind) {
      case 'on-trial':
        return this.#tell({ state: 'on-trial' });
      case 'none':
        return this.#end('failed', 'the box restarted before the new system was installed', 'order the upgrade anew');
      case 'good':
      case 'returned':
        if (outcome.version !== version) return this.#end('failed', `another system was started meanwhile: ${outcome.version}`, 'look at show system package on the box, then order the upgrade anew');
        return this.#end(outcome.kind, outcome.cause, outcome.kind === 'good' ? '' : 'look into versa-upgrade.log of the box');
    }
  }

  #end(state: OrderState, cause: string, nextStep: string): void {
    const order = this.#order;
    if (order === undefined) return;
    const { log } = this.#options;
    log.event({ level: state === 'good' ? 'info' : 'error', sentence: 'Upgrade order is over', fields: { order: order.id, state, cause: cause === '' ? undefined : cause } });
    this.#keep({ ...order, phase: 'over', end: { state, cause: cause.slice(0, LONGEST_TEXT), nextStep: nextStep.slice(0, LONGEST_TEXT) } });
  }

  async #deliver(order: KeptOrder): Promise<void> {
    try {
      await this.#tell(order.end!);
    } catch (error) {
      // Director has decided otherwise; it will not change its mind.
      if (!(error instanceof DirectorRefusal) || !error.isFinal) throw error;
    }
    if (this.#order === order) this.#keep(undefined);
  }

  async #calledBack(cause: string): Promise<void> {
    this.#abort?.abort();
    this.#options.log.warning('Upgrade order called back', { order: this.#order?.id, cause });
    this.#keep(undefined);
    await this.#download?.clear();
  }

  async #tell(report: Omit<OrderReport, 'order'>): Promise<void> {
    await this.#session!.tellUpgrade({ order: this.#order!.id, ...report });
  }

  /** Not waited for; a Director that says that the order is over ends the download. */
  #tellDownload(): void {
    if (this.#telling !== undefined || !this.#isFetching) return;
    this.#toldPercentage = this.#percentage;
    this.#telling = this.#tell({ state: 'downloading', percentage: this.#percentage })
      .catch((error: unknown) => {
        if (isCallBack(error) && this.#order?.phase === 'downloading') void this.#calledBack(causeOf(error));
      })
      .finally(() => (this.#telling = undefined));
  }

  #keep(order: KeptOrder | undefined): void {
    const { store } = this.#options.site;
    this.#order = order;
    if (order === undefined) store.remove(DOCUMENT);
    else store.write(DOCUMENT, utf8(JSON.stringify(order)));
    this.#lookLater();
  }

  /** A spoilt document counts as none; Director then gives the box up. */
  #load(): KeptOrder | undefined {
    const bytes = this.#options.site.store.read(DOCUMENT);
    if (bytes === undefined) return undefined;
    try {
      return checkKeptOrder(JSON.parse(fromUtf8(bytes)));
    } catch (error) {
      this.#options.log.warning('Upgrade order that was kept cannot be read', { cause: causeOf(error) });
      return undefined;
    }
  }
}
