// What every contestant of the tunnel bench stands on: two namespaces with a veth pair of their own, and a folder.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';
import { TestNetwork } from '../system/namespaces.ts';

const POLL_MS = 50;
const SETTLE_MS = 20_000;

export interface Underlay {
  readonly namespaces: readonly [string, string];
  readonly addresses: readonly [string, string];
  /** Addresses for the two ends of the tunnel. */
  readonly insides: readonly [string, string];
}

/** Two ends between which traffic can be sent. */
export interface Contestant {
  readonly name: string;
  readonly version: string;
  readonly underlay: Underlay;
  /** Where traffic is made and measured; the underlay's own namespaces but for ours. */
  readonly namespaces: readonly [string, string];
  readonly addresses: readonly [string, string];
  /** The processes of end 0 and of end 1; none for the bare cable. */
  readonly pids: readonly [number, number] | undefined;
  /** Ours: resident MB of a process before it had a forwarder. */
  readonly residentBefore?: number;
}

export class TunnelLab {
  readonly network = new TestNetwork();
  readonly directory = mkdtempSync(join(tmpdir(), 'selvage-bench-'));
  #pairs = 0;

  addUnderlay(): Underlay {
    const n = ++this.#pairs;
    const namespaces = [this.network.addNamespace(`a${n}`), this.network.addNamespace(`b${n}`)] as const;
    const addresses = [`10.78.${n}.1`, `10.78.${n}.2`] as const;
    const [a, b] = namespaces;
    this.network.addVeth({ namespace: a, device: 'wan', addresses: [`${addresses[0]}/24`] }, { namespace: b, device: 'wan', addresses: [`${addresses[1]}/24`] });
    return { namespaces, addresses, insides: [`10.255.${n}.1`, `10.255.${n}.2`] };
  }

  /** Returns the file's path. */
  write(name: string, content: string): string {
    const path = join(this.directory, name);
    writeFileSync(path, content, { mode: 0o600 });
    return path;
  }

  read(name: string): string {
    return readFileSync(join(this.directory, name), 'utf8');
  }

  /** Whether a NIC of the underlay would cut UDP super-packets itself. */
  setSegmentation({ namespaces }: Underlay, on: boolean): void {
    for (const namespace of namespaces) this.network.run(namespace, ['ethtool', '-K', 'wan', 'tx-udp-segmentation', on ? 'on' : 'off']);
  }

  /** Until the far end answers; throws OperationalError when it does not. */
  async awaitPath({ name, namespaces, addresses }: Contestant): Promise<void> {
    await this.until(`${name}: ${addresses[1]} does not answer`, () => this.network.attempt(namespaces[0], ['ping', '-c', '1', '-W', '1', addresses[1]], 3000).status === 0);
  }

  async until(failure: string, holds: () => boolean): Promise<void> {
    for (let waitedMs = 0; !holds(); waitedMs += POLL_MS) {
      if (waitedMs > SETTLE_MS) throw new OperationalError('bench', failure, 'Read what the contestant wrote above');
      await sleep(POLL_MS);
    }
  }

  async close(): Promise<void> {
    await this.network.close();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
