// The Director role: opens (or founds) the data directory and serves the API. Everything that matters is in the
// database, so a restart at any moment continues where the last answered request left off.
import { chmodSync, existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import type { Service, ServiceStatus } from '../../firmware/services/service.ts';
import type { Suite } from '../../platform/crypto.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Log } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import { randomBelow } from '../../platform/random.ts';
import { after } from '../../platform/time.ts';
import type { CancelTimer, Clock } from '../../platform/time.ts';
import { createAuthorityKeys, openAuthority } from '../authority.ts';
import type { AuthorityKeys } from '../authority.ts';
import { createApi } from './api.ts';
import { ChangeSignal } from './changes.ts';
import type { DirectorContext } from './context.ts';
import { ensureProvider } from './organizations.ts';
import { PackageStore } from './packages.ts';
import { openDatabase } from './store/open.ts';
import type { Db } from './store/tables.ts';
import { issueToken } from './tokens.ts';
import { sweepUpgrades } from './upgrades.ts';

export interface DirectorOptions {
  /** Data directory; created with mode 0700. */
  readonly directory: string;
  /** The provider's organisation name; fixed for the life of the data directory. */
  readonly provider: string;
  /** Where to listen; port 0 takes any free one. */
  readonly listen: { readonly host: string; readonly port: number };
  /** Addresses under which devices reach this Director; they go into its certificate and every configuration. */
  readonly addresses: readonly string[];
  /** Further names for its certificate. */
  readonly dnsNames?: readonly string[];
  readonly softwareVersion: string;
  readonly asNumber?: number;
  readonly overlayPool?: string;
  readonly stagingPools?: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly suite: Suite;
  readonly log: Log;
  /** How often boxes are looked for that were silent for too long. */
  readonly sweepMs?: number;
}

export interface DirectorService extends Service {
  /** The port that is listened on; 0 before the start. */
  readonly port: number;
  /** The provider's trust anchor, DER; undefined before the start. */
  readonly anchor: Uint8Array | undefined;
}

const DATABASE_FILE = 'director.sqlite';
/** The operator's bearer token, readable by the owner only. */
export const OPERATOR_TOKEN_FILE = 'operator.token';
/** The provider's trust anchor (DER), for clients on this machine. */
export const ANCHOR_FILE = 'trust-anchor.der';

const SOFTWARE_DIRECTORY = 'software';
const SWEEP_MS = 15_000;

const DEFAULT_AS_NUMBER = 64_512;
const DEFAULT_OVERLAY_POOL = '10.0.0.0/8';
const DEFAULT_STAGING_POOLS = '172.30.0.0/16';

async function loadAuthorityKeys(db: Db, options: DirectorOptions): Promise<AuthorityKeys> {
  const rows = new Map((await db.selectFrom('signing_keys').selectAll().execute()).map((row) => [row.name, { certificate: row.certificate_der, privateKey: row.private_key_der }]));
  const [root, bundleSigner] = [rows.get('root'), rows.get('bundle-signer')];
  if (root && bundleSigner) return { root, bundleSigner };
  const keys = await createAuthorityKeys(options.provider, options.clock, options.random);
  await db
    .insertInto('signing_keys')
    .values([
      { name: 'root', certificate_der: keys.root.certificate, private_key_der: keys.root.privateKey },
      { name: 'bundle-signer', certificate_der: keys.bundleSigner.certificate, private_key_der: keys.bundleSigner.privateKey },
    ])
    .execute();
  return keys;
}

function writePrivate(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
  chmodSync(path, 0o600);
}

/** The token file is the token's only copy: when it is gone, former tokens end and a new one is made. */
async function ensureOperatorToken(context: DirectorContext, directory: string): Promise<void> {
  const path = join(directory, OPERATOR_TOKEN_FILE);
  if (existsSync(path)) return;
  await context.db.deleteFrom('tokens').where('kind', '=', 'operator').execute();
  writePrivate(path, `${await issueToken(context, context.db, 'operator', null, null)}\n`);
  context.log.info('Operator token written', { file: path });
}

interface Running {
  readonly context: DirectorContext;
  readonly app: FastifyInstance;
  readonly port: number;
}

async function open(options: DirectorOptions): Promise<Running> {
  mkdirSync(options.directory, { recursive: true, mode: 0o700 });
  const db = openDatabase(join(options.directory, DATABASE_FILE));
  try {
    const { clock, random, suite } = options;
    const authority = openAuthority(options.provider, await loadAuthorityKeys(db, options), clock, random);
    const settings = {
      provider: options.provider,
      addresses: options.addresses,
      port: options.listen.port,
      softwareVersion: options.softwareVersion,
      asNumber: options.asNumber ?? DEFAULT_AS_NUMBER,
      overlayPool: options.overlayPool ?? DEFAULT_OVERLAY_POOL,
      stagingPools: options.stagingPools ?? DEFAULT_STAGING_POOLS,
    };
    const context: DirectorContext = { db, settings, authority, suite, clock, random, log: options.log.channel('director'), changes: new ChangeSignal(clock), packages: new PackageStore(join(options.directory, SOFTWARE_DIRECTORY)) };
    await ensureProvider(context);
    await context.packages.open(context);
    await ensureOperatorToken(context, options.directory);
    writeFileSync(join(options.directory, ANCHOR_FILE), authority.anchor);
    const app = await createApi(context, await authority.issueDirector(options.addresses, options.dnsNames ?? []));
    await app.listen({ host: options.listen.host, port: options.listen.port });
    const address = app.server.address();
    // Known only now when any free port was asked for; no route has read it yet.
    if (typeof address === 'object' && address) settings.port = address.port;
    return { context, app, port: settings.port };
  } catch (error) {
    await db.destroy();
    throw error;
  }
}

class Director implements DirectorService {
  readonly name = 'director';
  readonly #options: DirectorOptions;
  #running: Running | undefined;
  #cancelSweep: CancelTimer = () => {};
  #sweeping: Promise<void> = Promise.resolve();
  #status: ServiceStatus = { state: 'down', detail: 'Director is not started. Start it.' };

  constructor(options: DirectorOptions) {
    this.#options = options;
  }

  get port(): number {
    return this.#running?.port ?? 0;
  }

  get anchor(): Uint8Array | undefined {
    return this.#running?.context.authority.anchor;
  }

  async start(): Promise<void> {
    if (this.#running) return;
    this.#status = { state: 'starting', detail: 'Director opens its data. Wait.' };
    try {
      this.#running = await open(this.#options);
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      const nextStep = error instanceof OperationalError ? error.nextStep : 'check the data directory and that the port is free';
      this.#status = { state: 'down', detail: `Director did not start: ${cause}. Next: ${nextStep}.` };
      throw new OperationalError('director-start', `Director did not start: ${cause}`, nextStep, error);
    }
    this.#status = { state: 'up', detail: '' };
    this.#sweepLater(this.#running.context);
    this.#running.context.log.info('Director listens', { host: this.#options.listen.host, port: this.#running.port, provider: this.#options.provider });
  }

  #sweepLater(context: DirectorContext): void {
    const { clock, random, sweepMs = SWEEP_MS } = this.#options;
    this.#cancelSweep = clock.at(after(clock.now(), sweepMs * 0.75 + randomBelow(random, sweepMs / 2)), () => {
      this.#sweeping = sweepUpgrades(context)
        .catch((error: Error) => context.log.error('Upgrades could not be looked after', { cause: error.message }))
        .then(() => {
          if (this.#running) this.#sweepLater(context);
        });
    });
  }

  async stop(): Promise<void> {
    const running = this.#running;
    if (!running) return;
    this.#running = undefined;
    this.#cancelSweep();
    await this.#sweeping;
    // Long polls are answered first, else closing the server would wait for them.
    running.context.changes.close();
    await running.app.close();
    await running.context.db.destroy();
    this.#status = { state: 'down', detail: 'Director was stopped. Start it.' };
  }

  status(): ServiceStatus {
    return this.#status;
  }
}

export function createDirectorService(options: DirectorOptions): DirectorService {
  return new Director(options);
}
