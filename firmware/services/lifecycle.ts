// Services begin in order and end in reverse.
import type { Logger } from '../../platform/log.ts';
import type { Service } from './service.ts';

/** When one cannot start, it and those before it are stopped again, so that what they have opened and made known ends in order. */
export async function startAll(services: readonly Service[], log: Logger): Promise<void> {
  for (const [i, each] of services.entries()) {
    try {
      await each.start();
    } catch (error) {
      log.error('service did not start', { service: each.name, cause: (error as Error).message });
      await stopAll(services.slice(0, i + 1), log);
      throw error;
    }
  }
}

/** One service that cannot stop does not keep the others from stopping. */
export async function stopAll(services: readonly Service[], log: Logger): Promise<void> {
  for (const each of services.toReversed()) {
    try {
      await each.stop();
    } catch (error) {
      log.error('service did not stop in order', { service: each.name, cause: (error as Error).message });
    }
  }
}
