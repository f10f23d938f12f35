// A laboratory with FRR's bgpd and our speaker on one machine, torn down by ending one process. Needs root and the
// package `frr`; everything happens in namespaces of its own, and nothing outlives the test, not even when that is killed.
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { BgpInput, BgpOutput, BgpPeerConfig } from '../../firmware/bgp/speaker.ts';
import type { BgpSnapshot } from '../../firmware/bgp/snapshot.ts';
import type { Family } from '../../firmware/wire/bgp/family.ts';
import { OperationalError } from '../../platform/errors.ts';
import { sleep } from '../../platform/time.ts';

/** Debian's place for it. */
export const BGPD = '/usr/lib/frr/bgpd';
export const OUR_ADDRESS = '192.0.2.1';
export const FRR_ADDRESS = '192.0.2.2';
const POLL_MS = 100;

export interface LabOptions {
  readonly asNumber: number;
  readonly peer: BgpPeerConfig;
  /** bgpd.conf */
  readonly frr: string;
}

/** A route as JSON carries it: octets as hex. */
export interface LabRoute {
  readonly family: Family;
  readonly nlri:
    | { readonly kind: 'vpn'; readonly rd: string; readonly prefix: string; readonly label: number }
    | { readonly kind: 'sdwan'; readonly routeType: number; readonly value: string };
  readonly nextHop: string;
  readonly attributes: {
    readonly extendedCommunities?: readonly string[];
    readonly tunnelEncapsulation?: string;
    readonly originatorId?: string;
    readonly clusterList?: readonly string[];
  };
}

export type LabRequest =
  | { readonly kind: 'start'; readonly options: LabOptions }
  | { readonly kind: 'input'; readonly input: Exclude<BgpInput, { kind: 'stream-data' | 'originate' }> }
  | { readonly kind: 'originate'; readonly route: LabRoute }
  | { readonly kind: 'raw'; readonly hex: string }
  | { readonly kind: 'show'; readonly command: string }
  | { readonly kind: 'configure'; readonly lines: readonly string[] }
  | { readonly kind: 'snapshot' }
  | { readonly kind: 'kill-frr' }
  | { readonly kind: 'start-frr'; readonly configuration: string };

export class FrrLab {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  readonly outputs: BgpOutput[] = [];
  readonly frrLines: string[] = [];
  #nextId = 1;

  constructor() {
    if (!existsSync(BGPD)) {
      throw new OperationalError('no-frr', 'FRR is not installed', 'Install the package frr and run the test again.');
    }
    const lab = fileURLToPath(new URL('frr-lab.ts', import.meta.url));
    const args = ['--pid', '--mount', '--net', '--fork', '--kill-child', '--mount-proc', process.execPath, lab];
    this.#child = spawn('unshare', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface(this.#child.stdout!).on('line', (line) => this.#line(line));
    this.#child.on('exit', () => {
      for (const { reject } of this.#waiting.values()) reject(new Error(`the laboratory ended; bgpd said: ${this.frrLines.slice(-5).join(' / ')}`));
    });
  }

  #line(line: string): void {
    const said = JSON.parse(line) as { id?: number; result?: unknown; error?: string; output?: BgpOutput; frr?: string };
    if (said.frr !== undefined) this.frrLines.push(said.frr);
    if (said.output) this.outputs.push(said.output);
    if (said.id === undefined) return;
    const waiting = this.#waiting.get(said.id)!;
    this.#waiting.delete(said.id);
    if (said.error === undefined) waiting.resolve(said.result);
    else waiting.reject(new Error(said.error));
  }

  ask<T = unknown>(request: LabRequest): Promise<T> {
    const id = this.#nextId++;
    return new Promise<T>((resolve, reject) => {
      this.#waiting.set(id, { resolve: resolve as (result: unknown) => void, reject });
      this.#child.stdin!.write(`${JSON.stringify({ id, request })}\n`);
    });
  }

  snapshot(): Promise<BgpSnapshot> {
    return this.ask<BgpSnapshot>({ kind: 'snapshot' });
  }

  async show<T = Record<string, unknown>>(command: string): Promise<T> {
    return JSON.parse(await this.ask<string>({ kind: 'show', command: `${command} json` })) as T;
  }

  /** Changes bgpd's running configuration. */
  async configure(lines: readonly string[]): Promise<void> {
    await this.ask({ kind: 'configure', lines });
  }

  /** Asks again until `condition` holds; the last answer is in the error. */
  async until<T>(what: string, look: () => Promise<T>, condition: (seen: T) => boolean, attempts = 200): Promise<T> {
    let seen: T | undefined;
    let failure = '';
    for (let i = 0; i < attempts; i++) {
      try {
        seen = await look();
        if (condition(seen)) return seen;
      } catch (error) {
        failure = String(error); // vtysh answers only once bgpd listens
      }
      await sleep(POLL_MS);
    }
    throw new Error(`${what} did not come true; last seen: ${JSON.stringify(seen)?.slice(0, 2000)} ${failure}; bgpd said: ${this.frrLines.slice(-5).join(' / ')}`);
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    this.#child.stdin!.end();
    await ended;
  }
}
