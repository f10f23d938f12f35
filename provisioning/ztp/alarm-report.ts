// Tells Director which alarms a box has: the whole list, whenever it has changed since Director last took it.
import { OperationalError } from '../../platform/errors.ts';
import type { Alarms } from '../../platform/alarms.ts';
import { DirectorRefusal } from './director-session.ts';
import type { DirectorSession } from './director-session.ts';

/** What Director takes. */
const LONGEST_TEXT = 500;
const NOT_FOUND = 404;

export class AlarmReport {
  readonly #alarms: Alarms;
  /** Undefined at the start: Director may still hold what an earlier life of the box told. */
  #told: number | undefined;

  constructor(alarms: Alarms) {
    this.#alarms = alarms;
  }

  /** To be called with every poll. A Director that is away or refuses hears of them with a later one. */
  async tell(session: DirectorSession): Promise<void> {
    const { version } = this.#alarms;
    if (version === this.#told) return;
    try {
      const alarms = this.#alarms.active().map((alarm) => ({ ...alarm, cause: alarm.cause.slice(0, LONGEST_TEXT), nextStep: alarm.nextStep.slice(0, LONGEST_TEXT) }));
      await session.call('POST', '/api/v1/devices/self/alarms', { alarms });
      this.#told = version;
    } catch (error) {
      // An older Director knows no alarms: asking it with every poll would not change that.
      if (error instanceof DirectorRefusal && error.status === NOT_FOUND) this.#told = version;
      else if (!(error instanceof OperationalError)) throw error;
    }
  }
}
