// Operator option `debug.exportKeys`: writes the session keys of all tunnels in the format of Wireshark's esp_sa table,
// for packet analysis in a lab. Off by default; while it is on, the log says so at every start and every hour.
import type { Logger } from '../../platform/log.ts';
import { toHex } from '../../platform/bytes.ts';
import { after, type CancelTimer } from '../../platform/time.ts';
import type { EspSuite } from '../../drivers/esp-suite.ts';
import type { ForwardingState, SaSpec } from '../model.ts';
import type { ForwardingService } from './forwarding.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

const REMINDER_MS = 3_600_000;
/** Older SAs stay in the table, so that an earlier part of a capture can be read; beyond this the oldest go. */
const MOST_SAS = 10_000;

const WIRESHARK_NAMES: Readonly<Record<EspSuite, string>> = {
  'aes-256-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'aes-128-gcm-16': 'AES-GCM with 16 octet ICV [RFC4106]',
  'chacha20-poly1305': 'ChaCha20 with Poly1305 [RFC7634]',
};

/** Any address: a NAT may change it, and the SPI tells SAs apart. */
function tableLine(family: 'IPv4' | 'IPv6', sa: SaSpec): string {
  const spi = `0x${sa.spi.toString(16).padStart(8, '0')}`;
  const key = `0x${toHex(sa.key)}${toHex(sa.salt)}`;
  return [family, '*', '*', spi, WIRESHARK_NAMES[sa.suite], key, 'NULL', ''].map((value) => `"${value}"`).join(',');
}

export class KeyExport implements Service {
  readonly name = 'key-export';
  readonly #site: Site;
  readonly #log: Logger;
  readonly #file: string;
  readonly #write: (file: string, text: string) => void;
  readonly #lines = new Map<number, readonly string[]>();
  #timer: CancelTimer | undefined;

  /** `write` replaces the file as a whole, readable by its owner only. */
  constructor(site: Site, forwarding: ForwardingService, file: string, write: (file: string, text: string) => void) {
    this.#site = site;
    this.#log = site.log.channel('ipsec');
    this.#file = file;
    this.#write = write;
    forwarding.onState((state) => this.#stateChanged(state));
  }

  async start(): Promise<void> {
    this.#remind();
  }

  async stop(): Promise<void> {
    this.#timer?.();
  }

  status(): ServiceStatus {
    return { state: 'up', detail: `session keys are being written to ${this.#file}` };
  }

  #remind(): void {
    this.#log.error('session keys are written to disk', { file: this.#file, nextStep: 'set debug.exportKeys to false when the analysis is done' });
    this.#timer = this.#site.clock.at(after(this.#site.clock.now(), REMINDER_MS), () => this.#remind());
  }

  #stateChanged(state: ForwardingState): void {
    let added = false;
    for (const tunnel of state.tunnels) {
      for (const sa of [...tunnel.rx, ...(tunnel.tx === undefined ? [] : [tunnel.tx])]) {
        if (this.#lines.has(sa.id)) continue;
        this.#lines.set(sa.id, (['IPv4', 'IPv6'] as const).map((family) => tableLine(family, sa)));
        added = true;
      }
    }
    if (!added) return;
    for (const id of this.#lines.keys()) {
      if (this.#lines.size <= MOST_SAS) break;
      this.#lines.delete(id);
    }
    this.#write(this.#file, `${[...this.#lines.values()].flat().join('\n')}\n`);
  }
}
