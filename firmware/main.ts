// The appliance's process: reads its configuration file, opens the drivers, starts the role's services, and ends in
// order on a signal. `--config FILE` names the file; with `--rescue` it is the rescue process of a branch.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DhcpcdClients } from '../drivers/dhcpcd.ts';
import { notifySystemd, openDrivers } from '../drivers/open.ts';
import { Rauc } from '../drivers/rauc.ts';
import { rebootHost } from '../drivers/service-manager.ts';
import { createWakeup } from '../drivers/threads.ts';
import { Alarms } from '../platform/alarms.ts';
import { utf8 } from '../platform/bytes.ts';
import { loadConfig, MOST_WORKERS, type Config } from '../platform/config.ts';
import { withCredentials } from '../platform/credentials.ts';
import { RealSuite } from '../platform/crypto-real.ts';
import { ConfigError, OperationalError, UsageError } from '../platform/errors.ts';
import { statusLine, Watchdog, watchdogMsOf } from '../platform/health.ts';
import { dataPartitionState, handleSignals, imageBuiltUnixMs, processorCount, readHostFacts, uptimeMs } from '../platform/host.ts';
import { FileSink, JournalSink } from '../platform/log-file.ts';
import { SinkLog, type Logger } from '../platform/log.ts';
import { SystemRandom, type Random } from '../platform/random.ts';
import { FileStore } from '../platform/store-file.ts';
import { ResilientStore } from '../platform/store-resilient.ts';
import { SlotStore, slotOf } from '../platform/store-slot.ts';
import { FlooredClock } from '../platform/time-floor.ts';
import { rfc3339, SystemClock, unixMsFromRfc3339, type Clock } from '../platform/time.ts';
import { createRole, readPrestaging } from './roles.ts';
import { ThreadForwarder } from './services/forwarder-thread.ts';
import { startAll, stopAll } from './services/lifecycle.ts';
import type { Service, Site } from './services/service.ts';
import type { SlotHost } from './services/upgrade.ts';
import { PLATFORM_VERSION } from './version.ts';

const DEFAULT_CONFIG = '/etc/selvage/selvage.json';
/** When the process was last started; also the first thing that a disk has to take. */
const STARTED_DOCUMENT = 'last-start';

interface Invocation {
  readonly config: string;
  readonly rescue: boolean;
}

function invocation(argv: readonly string[]): Invocation {
  try {
    const { values } = parseArgs({ args: [...argv], options: { config: { type: 'string' }, rescue: { type: 'boolean' } } });
    return { config: values.config ?? DEFAULT_CONFIG, rescue: values.rescue ?? false };
  } catch (error) {
    throw new UsageError(`${(error as Error).message}; usage: main.ts [--rescue] --config FILE`);
  }
}

/** State on a disk that is full or broken does not keep a box from being reached: it goes on in memory, and says so. */
function openStore(directory: string, clock: Clock, random: Random, alarms: Alarms): ResilientStore {
  const store = new ResilientStore({
    open: () => new FileStore(directory),
    clock,
    random,
    onLosing: (cause, nextStep) => alarms.raise({ name: 'state-not-stored', object: '', severity: 'critical', cause, nextStep: `${nextStep}; until then a restart forgets what is new` }),
    onKept: () => alarms.clear('state-not-stored'),
  });
  // A disk that takes nothing is known now, and not only when there is something to lose.
  store.write(STARTED_DOCUMENT, utf8(rfc3339(clock.unixMs())));
  return store;
}

/** An image whose data partition did not come up runs from memory, where everything can be written; one that was repaired may lack files. */
function raiseDiskAlarm(alarms: Alarms): void {
  const state = dataPartitionState();
  if (state === undefined || state === 'usable') return;
  if (state === 'repaired') {
    alarms.raise({ name: 'data-partition-repaired', object: '', severity: 'major', cause: 'the data partition was damaged and has been repaired; keys, configuration or logs may be lost', nextStep: 'onboard the box anew when it has no key or configuration; replace the disk when it happens again' });
    return;
  }
  const step = state === 'read-only' ? 'take the write protection off the disk, or replace it when it has none' : 'restart the box; when that does not help, replace the disk or flash it again';
  alarms.raise({ name: 'data-partition-lost', object: '', severity: 'critical', cause: `the data partition is ${state}; the box runs from memory`, nextStep: `${step}: until then every restart forgets everything` });
}

async function start(config: Config, rescue: boolean): Promise<void> {
  // Before anything is made or opened: a box that is told something wrong leaves no trace.
  const prestaging = config.role === 'branch' && config.prestaging !== '' ? readPrestaging(config.prestaging) : undefined;
  const hostClock = new SystemClock();
  const clock = new FlooredClock(hostClock, unixMsFromRfc3339(config.certificates.timeFloor) ?? imageBuiltUnixMs() ?? 0, uptimeMs());
  const log = new SinkLog([new FileSink(config.logDirectory), new JournalSink()], () => hostClock.unixMs());
  const service = log.channel('service');
  const { serial } = config.serial === '' ? await readHostFacts() : config;
  const drivers = openDrivers({ namespaceRequests: process.env['SELVAGE_NAMESPACE_REQUESTS'] });
  const random = new SystemRandom();
  const alarms = new Alarms(log.channel('alarms'), () => clock.unixMs());
  raiseDiskAlarm(alarms);
  const store = openStore(`${config.dataDirectory}/state`, clock, random, alarms);
  const slot = Rauc.isPresent() ? slotOf(readFileSync('/proc/cmdline', 'utf8')) : undefined;
  const slotStore = slot && new SlotStore(store, slot);
  const site: Site = {
    name: config.name === '' ? serial : config.name,
    clock,
    timeFloor: clock,
    random,
    suite: new RealSuite(() => clock.behindMs > 0),
    log,
    alarms,
    store: slotStore ?? store,
    network: drivers.network,
    kernel: drivers.kernel,
    addressClients: new DhcpcdClients(`${config.dataDirectory}/leases`, random),
  };
  let forwarder: ThreadForwarder | undefined;
  const services = createRole({
    config,
    site,
    serial,
    prestaging,
    rescue,
    slots: slot && slotStore && { slot, upMs: uptimeMs(), forgetOtherConfiguration: () => slotStore.forgetOther(), isKept: () => store.isKept, host: raucHost() },
    forgetEverything: () => forgetEverything(config.dataDirectory, store),
    driversDescription: drivers.description,
    forwarder: () => (forwarder = new ThreadForwarder({ devices: drivers.devices, clock, log: log.channel('forwarder'), createWakeup, workers: workersOf(config) })),
  });
  const watchdog = createWatchdog({ clock, services, forwarder, log: service, who: `${rescue ? 'rescue of ' : ''}${config.role} ${site.name}` });
  handleSignals({
    onStop: (signal) => {
      watchdog.stop();
      tellSystemd('STOPPING=1', service);
      service.info('appliance stops', { signal });
      void stopAll(services, service).then(() => process.exit(0));
    },
    onReload: () => log.reopen(),
  });
  await startAll(services, service);
  tellSystemd('READY=1', service);
  watchdog.start();
  service.info('appliance runs', { role: config.role, name: site.name, version: PLATFORM_VERSION, drivers: drivers.description, processId: process.pid });
}

/** Worker threads: as configured, or one for each processor. */
function workersOf({ forwarder }: Config): number {
  return forwarder.workers === 0 ? Math.min(MOST_WORKERS, processorCount()) : forwarder.workers;
}

function raucHost(): SlotHost {
  const rauc = new Rauc();
  return { status: () => rauc.status(), info: (bundle) => rauc.info(bundle), install: (bundle) => rauc.install(bundle), mark: (state, which) => rauc.mark(state, which), reboot: rebootHost };
}

/** Everything that makes this box the one it is; ends the process, so that nothing of it is written again from memory. */
function forgetEverything(directory: string, store: ResilientStore): never {
  for (const name of store.list()) store.remove(name);
  for (const part of ['state', 'debug', 'software', 'leases']) rmSync(join(directory, part), { recursive: true, force: true });
  process.exit(0);
}

interface Watched {
  readonly clock: Clock;
  readonly services: readonly Service[];
  /** Roles that do not forward have none. */
  readonly forwarder: ThreadForwarder | undefined;
  readonly log: Logger;
  readonly who: string;
}

function createWatchdog({ clock, services, forwarder, log, who }: Watched): Watchdog {
  return new Watchdog({
    clock,
    watchdogMs: watchdogMsOf(process.env, process.pid),
    parts: forwarder === undefined ? [] : [{ name: 'forwarder', ask: (answered) => forwarder.probe(answered) }],
    status: () => statusLine(who, services.map((each) => ({ name: each.name, ...each.status() }))),
    notify: notifySystemd,
    onSilent: (part) => log.error('part of the appliance does not answer', { part, nextStep: 'nothing: systemd starts the appliance again; report the lines before this one' }),
    onAnswersAgain: (part) => log.info('part of the appliance answers again', { part }),
    onNotifyFailed: (error) => log.warning('systemd could not be notified', { cause: error.message }),
  });
}

function tellSystemd(state: string, log: Logger): void {
  try {
    notifySystemd(state);
  } catch (error) {
    log.warning('systemd could not be notified', { cause: (error as Error).message });
  }
}

try {
  const { config, rescue } = invocation(process.argv.slice(2));
  await start(withCredentials(loadConfig(config), process.env['CREDENTIALS_DIRECTORY']), rescue);
} catch (error) {
  if (!(error instanceof ConfigError || error instanceof OperationalError || error instanceof UsageError)) throw error;
  const next = error instanceof OperationalError ? `; next: ${error.nextStep}` : '';
  process.stderr.write(`selvage: ${error.message}${next}\n`);
  process.exit(1);
}
