// The rescue process of a branch, beside the main service and never at its time: systemd starts it when the main
// service was started too often (systemd/selvage.service). It has the provider's tenant and no LAN, so that Director
// reaches the box, and tries the main service again at growing intervals. How often it did so outlives both processes,
// and is forgotten when the main service has run for long enough.
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import type { Logger } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import type { DeviceConfiguration } from '../configuration.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

const DOCUMENT = 'rescue-attempts';
export const RESCUE_ALARM = 'branch-in-maintenance-mode';
/** As long as systemd counts starts: who lives longer is healthy. */
const HEALTHY_MS = 900_000;
/** The provider's tenant is the management of every box. */
const PROVIDER_TENANT = 1;

export interface RescueOptions {
  readonly site: Site;
  readonly firstRetrySeconds: number;
  readonly longestRetrySeconds: number;
  /** Asks the service manager for the main service, which ends this process. */
  readonly startMain: () => Promise<void>;
}

function attemptsOf({ store }: Site): number {
  const stored = store.read(DOCUMENT);
  const count = stored === undefined ? 0 : Number(fromUtf8(stored));
  return Number.isSafeInteger(count) && count > 0 ? count : 0;
}

/** What rescue leaves of a configuration: circuits and the provider's tenant, through which Director reaches the box. */
export function managementOnly(configuration: DeviceConfiguration): DeviceConfiguration {
  const provider = configuration.tenants.filter((tenant) => tenant.tenant === PROVIDER_TENANT);
  return { ...configuration, tenants: provider.map((tenant) => ({ ...tenant, lan: undefined })) };
}

/** Part of the rescue process: the alarm, and the way back. */
export class RescueService implements Service {
  readonly name = 'rescue';
  readonly #options: RescueOptions;
  readonly #log: Logger;
  #cancel: CancelTimer | undefined;
  #attempts = 0;

  constructor(options: RescueOptions) {
    this.#options = options;
    this.#log = options.site.log.channel('service');
  }

  async start(): Promise<void> {
    const { site } = this.#options;
    this.#attempts = attemptsOf(site);
    site.alarms.raise({
      name: RESCUE_ALARM,
      object: '',
      severity: 'critical',
      cause: 'the main service was started too often within 15 minutes; LAN traffic is not forwarded',
      nextStep: 'read journalctl -u selvage and correct the cause; rescue tries the main service again by itself',
    });
    this.#arm();
  }

  async stop(): Promise<void> {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  status(): ServiceStatus {
    return { state: 'down', detail: `The box is in maintenance mode after ${this.#attempts} attempts of rescue. Read journalctl -u selvage.` };
  }

  /** Doubles up to the limit, spread by a quarter to both sides. */
  #arm(): void {
    const { site, firstRetrySeconds, longestRetrySeconds } = this.#options;
    const meanMs = 1000 * Math.min(longestRetrySeconds, firstRetrySeconds * 2 ** Math.min(this.#attempts, 16));
    const delayMs = meanMs * 0.75 + randomBelow(site.random, meanMs / 2 + 1);
    this.#log.warning('rescue waits before it tries the main service again', { attempts: this.#attempts, seconds: Math.round(delayMs / 1000) });
    this.#cancel = site.clock.at(after(site.clock.now(), delayMs), () => void this.#tryMain());
  }

  async #tryMain(): Promise<void> {
    this.#attempts++;
    this.#options.site.store.write(DOCUMENT, utf8(`${this.#attempts}`));
    this.#log.info('rescue starts the main service', { attempts: this.#attempts });
    try {
      await this.#options.startMain();
    } catch (error) {
      this.#log.error('rescue could not start the main service', { cause: (error as Error).message, nextStep: 'run: systemctl reset-failed selvage; systemctl start selvage' });
    }
    // The main service ends this process; as long as it does not, the next attempt is due.
    if (this.#cancel !== undefined) this.#arm();
  }
}

/** Part of the main service: when it has run for long enough, the next rescue begins with its first interval again. */
export class RescueEnd implements Service {
  readonly name = 'rescue-end';
  readonly #site: Site;
  #cancel: CancelTimer | undefined;

  constructor(site: Site) {
    this.#site = site;
  }

  async start(): Promise<void> {
    const attempts = attemptsOf(this.#site);
    if (attempts === 0) return;
    const { clock, store, log } = this.#site;
    this.#cancel = clock.at(after(clock.now(), HEALTHY_MS), () => {
      store.remove(DOCUMENT);
      log.channel('service').info('rescue is over', { attempts });
    });
  }

  async stop(): Promise<void> {
    this.#cancel?.();
  }

  status(): ServiceStatus {
    return { state: 'up', detail: '' };
  }
}
