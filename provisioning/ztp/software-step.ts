// The software step of onboarding: when Director wants another version than the one that runs and has it for this box, it
// is fetched over the staging tunnel and installed; the box reboots, and goes on with onboarding in the new system. A
// package that was tried once is not tried again by itself: a box that comes back from it must become operational.
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import type { Clock } from '../../platform/time.ts';
import type { Store } from '../../platform/store.ts';
import { isFinalDownloadError, PackageDownload } from './package-download.ts';
import { DirectorRefusal } from './director-session.ts';
import type { DirectorSession } from './director-session.ts';
import { DEFAULT_BYTES_PER_SECOND } from './software-messages.ts';
import type { SoftwarePackage } from './software-messages.ts';
import type { SystemSlots } from './software-slots.ts';
import type { SoftwareProgress, StageOutcome } from './stages-messages.ts';

export interface SoftwareStepOptions {
  readonly clock: Clock;
  readonly store: Store;
  readonly log: Logger;
  /** Undefined on a host without system slots. */
  readonly slots: SystemSlots | undefined;
  readonly running: string;
}

/** The package of the last software step. */
interface Tried {
  readonly sha256: string;
  readonly version: string;
  /** `tried`: it was given to the slots; whatever came of that, it is not tried again by itself. */
  readonly phase: 'fetching' | 'tried';
  /** Why it was not installed; '' when that is not known. */
  readonly cause: string;
}

interface Attempt {
  readonly sha256: string;
  readonly abort: AbortController;
  isInstalling: boolean;
  told: (progress: SoftwareProgress) => void;
  result: Promise<StageOutcome>;
}

const TRIED_DOCUMENT = 'ztp-software-tried';

export class SoftwareStep {
  readonly #options: SoftwareStepOptions;
  readonly #download: PackageDownload | undefined;
  #attempt: Attempt | undefined;

  constructor(options: SoftwareStepOptions) {
    this.#options = options;
    this.#download = options.slots && new PackageDownload({ clock: options.clock, directory: options.slots.directory });
  }

  /** The package that was tried and that the box came back from, for Director to hear of. */
  get returned(): { readonly version: string; readonly cause: string } | undefined {
    const tried = this.#tried();
    const outcome = this.#options.slots?.outcome();
    return tried !== undefined && outcome?.kind === 'returned' && outcome.version === tried.version ? { version: tried.version, cause: outcome.cause } : undefined;
  }

  /** The box restarted while it fetched: the step is to be taken once more, and goes on with what is there. */
  get isUnfinished(): boolean {
    return this.#options.slots !== undefined && this.#tried()?.phase === 'fetching';
  }

  async check(session: DirectorSession): Promise<StageOutcome> {
    const { slots, running } = this.#options;
    const compatible = await slots?.compatible();
    const { version: wanted, package: found, bytesPerSecond = DEFAULT_BYTES_PER_SECOND } = await session.software(running, compatible);
    const tried = this.#tried();
    if (tried?.phase === 'fetching' && tried.sha256 !== found?.sha256) await this.#giveUp();
    if (!found || wanted === running) return { kind: 'software', wanted, upgrade: undefined, obstacle: compatible === undefined ? 'it has no system slots' : `Director has no package of it for ${compatible}` };
    if (tried?.sha256 !== found.sha256 || tried.phase === 'fetching') return { kind: 'software', wanted, upgrade: { package: found, bytesPerSecond }, obstacle: '' };
    const cause = this.returned?.cause ?? tried.cause;
    return { kind: 'software', wanted, upgrade: undefined, obstacle: `it was tried already${cause === '' ? '' : `: ${cause}`}` };
  }

  /** Fetches and installs a package; the same one under way is only moved to the new session, or waited for. */
  async upgrade(session: DirectorSession, wanted: SoftwarePackage, bytesPerSecond: number, told: (progress: SoftwareProgress) => void): Promise<StageOutcome> {
    const former = this.#attempt;
    if (former?.isInstalling === true && former.sha256 === wanted.sha256) {
      former.told = told;
      return former.result;
    }
    former?.abort.abort();
    await former?.result.catch(() => {});
    const attempt: Attempt = { sha256: wanted.sha256, abort: new AbortController(), isInstalling: false, told, result: Promise.resolve({ kind: 'reported' }) };
    this.#attempt = attempt;
    attempt.result = this.#try(attempt, session, wanted, bytesPerSecond).finally(() => {
      if (this.#attempt === attempt) this.#attempt = undefined;
    });
    return attempt.result;
  }

  stop(): void {
    this.#attempt?.abort.abort();
  }

  /** Another prestaging record: what was tried before says nothing any longer. */
  forget(): void {
    this.#options.store.remove(TRIED_DOCUMENT);
  }

  async #try(attempt: Attempt, session: DirectorSession, wanted: SoftwarePackage, bytesPerSecond: number): Promise<StageOutcome> {
    const { version, bytes } = wanted;
    const { slots, log } = this.#options;
    const { sha256 } = wanted;
    let isWriting = false;
    try {
      this.#remember({ sha256, version, phase: 'fetching', cause: '' });
      const file = await this.#download!.fetch({
        wanted,
        bytesPerSecond,
        signal: attempt.abort.signal,
        part: (first, last, timeoutMs) => session.packagePart(sha256, first, last, timeoutMs),
        progress: (percentage) => attempt.told({ version, phase: 'downloading', percentage }),
      });
      log.info('Software package downloaded', { version, bytes });
      attempt.isInstalling = true;
      this.#remember({ sha256, version, phase: 'tried', cause: '' });
      await slots!.install(file, async (phase) => {
        isWriting = true;
        attempt.told({ version, phase });
      });
      await this.#download!.clear();
      return { kind: 'software-installed' };
    } catch (error) {
      if (attempt.abort.signal.aborted) return { kind: 'failed', cause: 'the download was given up', refused: false, certificateRefused: false };
      const isRefusal = error instanceof DirectorRefusal && error.isFinal;
      if (!attempt.isInstalling && !isRefusal && !isFinalDownloadError(error)) throw error;
      const cause = error instanceof Error ? error.message : String(error);
      const nextStep = error instanceof OperationalError ? error.nextStep : 'look into the log of the box';
      await this.#giveUp();
      // A full disk may have room the next time.
      if (attempt.isInstalling) this.#remember({ sha256, version, phase: 'tried', cause });
      return { kind: 'software-refused', version, isWriting, cause, nextStep };
    }
  }

  async #giveUp(): Promise<void> {
    this.forget();
    await this.#download?.clear();
  }

  #remember(tried: Tried): void {
    this.#options.store.write(TRIED_DOCUMENT, utf8(JSON.stringify(tried)));
  }

  /** A spoilt document counts as none. */
  #tried(): Tried | undefined {
    const bytes = this.#options.store.read(TRIED_DOCUMENT);
    if (bytes === undefined) return undefined;
    try {
      const { sha256, version, phase, cause } = JSON.parse(fromUtf8(bytes)) as Tried;
      return { sha256, version, phase, cause };
    } catch {
      return undefined;
    }
  }
}
