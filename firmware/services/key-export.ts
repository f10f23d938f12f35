// Decryptable debugging: on an operator's order the session keys of a tenant's tunnels, or of one peer's, are written in
// the formats of Wireshark's `ikev2_decryption_table` and `esp_sa`. Off by default; an order expires by itself, and then
// the files are removed; an alarm lasts as long as the order does.
//
// Wireshark keeps one set of keys per pair of SPIs: with an additional key exchange (RFC 9370) it opens IKE_AUTH and what
// follows, not the IKE_INTERMEDIATE before.
import { toHex } from '../../platform/bytes.ts';
import { UsageError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { after, rfc3339, type CancelTimer } from '../../platform/time.ts';
import type { IkeOutput } from '../ike/input-output.ts';
import type { SessionKeys, SessionKeysOwner } from '../ike/session-keys.ts';
import type { ForwardingState, SaSpec, TenantId, TunnelSpec } from '../model.ts';
import type { KeyExportView } from '../views.ts';
import type { ForwardingService } from './forwarding.ts';
import type { Service, ServiceStatus, Site } from './service.ts';
import { espLines, ikeLine } from './wireshark-tables.ts';

export const LONGEST_MINUTES = 1440;
/** Older SAs stay in a table, so that an earlier part of a capture can be read; beyond this the oldest go. */
const MOST_SAS = 10_000;
const ALARM = 'session-keys-exported';
const TABLES = ['esp_sa', 'ikev2_decryption_table'] as const;
type Table = (typeof TABLES)[number];

/** Undefined members mean all. */
export interface KeyExportOrder {
  readonly tenant: TenantId | undefined;
  /** A peer's identity, device name or address. */
  readonly peer: string | undefined;
  readonly minutes: number;
}

export interface KeyFiles {
  /** Replaces a file as a whole, readable by its owner only. */
  write(file: string, text: string): void;
  remove(file: string): void;
}

export class KeyExport implements Service {
  readonly name = 'key-export';
  readonly #site: Site;
  readonly #log: Logger;
  readonly #directory: string;
  readonly #files: KeyFiles;
  readonly #first: KeyExportOrder | undefined;
  readonly #lines: Readonly<Record<Table, Map<string, readonly string[]>>> = { esp_sa: new Map(), ikev2_decryption_table: new Map() };
  #ikeKeys: () => readonly SessionKeys[] = () => [];
  #state: ForwardingState | undefined;
  #order: (KeyExportOrder & { readonly untilUnixMs: number }) | undefined;
  #timer: CancelTimer | undefined;

  /** @param first the order that is given at the start, if the configuration has one */
  constructor(site: Site, forwarding: ForwardingService, directory: string, files: KeyFiles, first?: KeyExportOrder) {
    this.#site = site;
    this.#log = site.log.channel('ipsec');
    this.#directory = directory;
    this.#files = files;
    this.#first = first;
    forwarding.onState((state) => {
      this.#state = state;
      this.#takeEsp();
    });
  }

  async start(): Promise<void> {
    // Keys of an earlier life of the process: its order ended with it.
    this.#removeFiles();
    if (this.#first !== undefined) this.begin(this.#first);
  }

  async stop(): Promise<void> {
    this.#timer?.();
  }

  status(): ServiceStatus {
    const order = this.#order;
    return { state: 'up', detail: order === undefined ? '' : `session keys are written to ${this.#directory} until ${rfc3339(order.untilUnixMs)}` };
  }

  /** `ikeKeys` gives the keys of all IKE SAs that live now and are wanted. */
  attach(ikeKeys: () => readonly SessionKeys[]): void {
    this.#ikeKeys = ikeKeys;
  }

  /** Replaces an order that is in force. @throws UsageError for a time that is not between 1 and 1440 minutes */
  begin(order: KeyExportOrder): void {
    const { minutes } = order;
    if (!Number.isInteger(minutes) || minutes < 1 || minutes > LONGEST_MINUTES) throw new UsageError(`minutes are a number from 1 to ${LONGEST_MINUTES}`);
    this.end();
    const { clock, alarms } = this.#site;
    const untilUnixMs = clock.unixMs() + minutes * 60_000;
    this.#order = { ...order, untilUnixMs };
    this.#timer = clock.at(after(clock.now(), minutes * 60_000), () => this.end());
    const cause = `session keys of ${scopeText(order)} are written to ${this.#directory} until ${rfc3339(untilUnixMs)}`;
    alarms.raise({ name: ALARM, object: '', severity: 'warning', cause, nextStep: 'copy the files before they are removed then; "request debug keys off" ends it now' });
    this.#log.warning('session keys are written to disk', { directory: this.#directory, scope: scopeText(order), minutes });
    this.#takeEsp();
    this.#takeLiving();
  }

  /** Ends the order, if there is one, and removes the files. */
  end(): void {
    this.#timer?.();
    if (this.#order === undefined) return;
    this.#order = undefined;
    for (const table of TABLES) this.#lines[table].clear();
    this.#removeFiles();
    this.#site.alarms.clear(ALARM);
    this.#log.info('session keys are no longer written to disk', {});
  }

  view(): KeyExportView {
    const order = this.#order;
    if (order === undefined) return { on: false, scope: '', until: '', files: [] };
    const files = TABLES.map((table) => ({ file: `${this.#directory}/${table}`, sas: this.#lines[table].size }));
    return { on: true, scope: scopeText(order), until: rfc3339(order.untilUnixMs), files };
  }

  /** For the IKE endpoint: whether the keys of an IKE SA are to be given out. */
  wants({ tenant, peer, remote }: SessionKeysOwner): boolean {
    return this.#covers(tenant, [peer, remote.address]);
  }

  onOutput(output: IkeOutput): void {
    if (output.kind === 'session-keys') this.#takeIke([output.keys]);
    // Who the peer is has become known.
    else if (output.kind === 'ike-up' || output.kind === 'ike-rekeyed') this.#takeLiving();
  }

  #takeLiving(): void {
    if (this.#order !== undefined) this.#takeIke(this.#ikeKeys());
  }

  #takeIke(all: readonly SessionKeys[]): void {
    const entries = all.filter((keys) => this.wants(keys)).flatMap((keys) => {
      const line = ikeLine(keys);
      return line === undefined ? [] : [[`${toHex(keys.spiInitiator)}${toHex(keys.spiResponder)}`, [line]] as const];
    });
    this.#keep('ikev2_decryption_table', entries);
  }

  #covers(tenant: TenantId, peerNames: readonly string[]): boolean {
    const order = this.#order;
    if (order === undefined) return false;
    return (order.tenant === undefined || order.tenant === tenant) && (order.peer === undefined || peerNames.includes(order.peer));
  }

  #takeEsp(): void {
    if (this.#order === undefined) return;
    const wanted = (this.#state?.tunnels ?? []).filter((t) => this.#covers(t.tenant, [t.peer, ...t.paths.map((path) => path.remote.address)]));
    this.#keep('esp_sa', wanted.flatMap(sasOf).map((sa) => [String(sa.id), espLines(sa)] as const));
  }

  #keep(table: Table, entries: readonly (readonly [string, readonly string[]])[]): void {
    const known = this.#lines[table];
    const news = entries.filter(([key, lines]) => known.get(key)?.join() !== lines.join());
    if (news.length === 0) return;
    for (const [key, lines] of news) known.set(key, lines);
    for (const key of known.keys()) {
      if (known.size <= MOST_SAS) break;
      known.delete(key);
    }
    this.#write(table, `${[...known.values()].flat().join('\n')}\n`);
  }

  /** A full disk ends the debugging, never the tunnels. */
  #write(table: Table, text: string): void {
    const file = `${this.#directory}/${table}`;
    try {
      this.#files.write(file, text);
    } catch (error) {
      this.#log.error('session keys could not be written', { file, cause: (error as Error).message, nextStep: 'free space on the disk and order it again' });
      this.end();
    }
  }

  #removeFiles(): void {
    for (const table of TABLES) {
      const file = `${this.#directory}/${table}`;
      try {
        this.#files.remove(file);
      } catch (error) {
        this.#log.error('session keys could not be removed from disk', { file, cause: (error as Error).message, nextStep: 'remove the file by hand' });
      }
    }
  }
}

function sasOf(tunnel: TunnelSpec): readonly SaSpec[] {
  return [...tunnel.rx, ...(tunnel.tx === undefined ? [] : [tunnel.tx])];
}

function scopeText({ tenant, peer }: KeyExportOrder): string {
  const tenants = tenant === undefined ? 'all tenants' : `tenant ${tenant}`;
  return peer === undefined ? tenants : `${tenants}, peer ${peer}`;
}
