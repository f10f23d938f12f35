// Joins one tenant's BGP speaker to TCP 179 inside the tenant's control VR. Overlay addresses only: the session runs
// inside the encrypted TVI, so nothing else authenticates it.
import type { Logger } from '../../platform/log.ts';
import type { Listener, StreamSocket } from '../../drivers/port.ts';
import type { BgpInput, BgpOutput, BgpPeerConfig, BgpSpeaker } from '../bgp/speaker.ts';
import type { IpAddress } from '../model.ts';
import { MachineRunner } from './machine-runner.ts';
import type { Service, ServiceStatus, Site } from './service.ts';

export const BGP_PORT = 179;

export interface BgpServiceOptions {
  readonly organization: string;
  readonly vr: string;
  readonly localAddress: IpAddress;
  readonly listen: boolean;
  readonly speaker: BgpSpeaker;
  onOutput(output: BgpOutput): void;
}

export class BgpService implements Service {
  readonly name: string;
  readonly options: BgpServiceOptions;
  readonly #site: Site;
  readonly #log: Logger;
  readonly #runner: MachineRunner<BgpInput, BgpOutput>;
  readonly #streams = new Map<number, StreamSocket>();
  readonly #established = new Set<string>();
  #peers: readonly BgpPeerConfig[] = [];
  /** Streams that peers opened get negative ids, so that they never meet the speaker's own. */
  #nextIncoming = -1;
  #listener: Listener | undefined;

  constructor(site: Site, options: BgpServiceOptions) {
    this.name = `bgp ${options.organization}`;
    this.options = options;
    this.#site = site;
    this.#log = site.log.channel('bgp');
    this.#runner = new MachineRunner(options.speaker, site.clock, (output) => this.#output(output));
  }

  async start(): Promise<void> {
    if (!this.options.listen) return;
    this.#listener = this.#site.network.listenStream({
      vr: this.options.vr,
      local: { address: this.options.localAddress, port: BGP_PORT },
      onStream: (stream) => this.#accept(stream),
      onError: (error) => this.#log.error('BGP listener failed', { organization: this.options.organization, cause: error.message }),
    });
  }

  /** Ends without a word: peers then keep our routes for the time of a restart (RFC 4724). */
  async stop(): Promise<void> {
    this.#listener?.close();
    this.#runner.stop();
    for (const stream of this.#streams.values()) stream.close();
    this.#streams.clear();
  }

  /** Ends for good: peers withdraw our routes at once. */
  async remove(): Promise<void> {
    for (const peer of this.#peers) this.push({ kind: 'stop', peer: peer.id, reason: 'the tenant is no longer configured' });
    await this.stop();
  }

  status(): ServiceStatus {
    const up = this.#established.size;
    const configured = this.#peers.length;
    if (up > 0 && up === configured) return { state: 'up', detail: '' };
    return { state: up > 0 ? 'up' : 'starting', detail: `${up} of ${configured} BGP sessions established` };
  }

  isEstablished(peer: string): boolean {
    return this.#established.has(peer);
  }

  get peers(): readonly BgpPeerConfig[] {
    return this.#peers;
  }

  setPeers(peers: readonly BgpPeerConfig[]): void {
    this.#peers = peers;
    this.push({ kind: 'peers', peers: [...peers] });
  }

  push(input: BgpInput): void {
    this.#runner.push(input);
  }

  #accept(stream: StreamSocket): void {
    const peer = this.#peers.find((p) => p.remote === stream.remote.address);
    if (peer === undefined) {
      this.#log.warning('BGP connection refused: no neighbour is configured with this address', {
        organization: this.options.organization,
        remote: stream.remote.address,
      });
      stream.handlers = { onConnected() {}, onData() {}, onClosed() {} };
      stream.close();
      return;
    }
    const id = this.#nextIncoming--;
    this.#attach(id, stream);
    this.push({ kind: 'stream-connected', peer: peer.id, stream: id, incoming: true });
  }

  #attach(id: number, stream: StreamSocket): void {
    this.#streams.set(id, stream);
    stream.handlers = {
      onConnected: () => undefined,
      onData: (bytes) => this.push({ kind: 'stream-data', stream: id, bytes }),
      onClosed: (error) => this.#closed(id, error),
    };
  }

  #closed(id: number, error: Error | undefined): void {
    if (!this.#streams.delete(id)) return;
    this.push({ kind: 'stream-closed', stream: id, cause: error?.message });
  }

  #connect(output: Extract<BgpOutput, { kind: 'connect' }>): void {
    const { stream: id, peer } = output;
    const stream = this.#site.network.connectStream({
      vr: this.options.vr,
      localAddress: output.local,
      remote: { address: output.remote, port: BGP_PORT },
      handlers: {
        onConnected: () => this.push({ kind: 'stream-connected', peer, stream: id, incoming: false }),
        onData: (bytes) => this.push({ kind: 'stream-data', stream: id, bytes }),
        onClosed: (error) => this.#closed(id, error),
      },
    });
    this.#streams.set(id, stream);
  }

  #output(output: BgpOutput): void {
    switch (output.kind) {
      case 'connect':
        this.#connect(output);
        return;
      case 'write':
        this.#streams.get(output.stream)?.write(output.bytes);
        return;
      case 'close': {
        const stream = this.#streams.get(output.stream);
        this.#streams.delete(output.stream);
        stream?.close();
        return;
      }
      case 'log':
        this.#log.event(output.event);
        return;
      case 'peer-up':
        this.#established.add(output.peer);
        break;
      case 'peer-down':
        this.#established.delete(output.peer);
        break;
    }
    this.options.onOutput(output);
  }
}
