// What a network gives to the appliances on it: DHCP, and router advertisements with a prefix, by dnsmasq in the namespace
// of the place at the other end of the wire. Leases are renewed within seconds, so that every lab lives through renewals.
import { spawn, type ChildProcess } from 'node:child_process';
import { closeSync, openSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const LEASE_SECONDS = 120;
/** T1 and T2. A refusal is broadcast (RFC 2131 4.3.2), so a client hears it when it asks all servers, after T2. */
const [RENEWAL_SECONDS, REBINDING_SECONDS] = [5, 7];
const [OPTION_RENEWAL, OPTION_REBINDING] = [58, 59];

export interface AddressServerOptions {
  /** Namespace, and its device on the wire. */
  readonly place: string;
  readonly device: string;
  /** The place's own IPv4 address, which is the next hop. */
  readonly gateway: string;
  /** For leases and the log. */
  readonly directory: string;
}

export interface Offer {
  /** IPv4 addresses with one client each; none: whoever asks is refused. */
  readonly addresses: readonly string[];
  /** `2001:db8:1::/64`: advertised for autoconfiguration, or handed out by DHCPv6. */
  readonly prefix?: { readonly address: string; readonly stateful: boolean };
}

export class AddressServer {
  readonly #options: AddressServerOptions;
  #server: ChildProcess | undefined;

  constructor(options: AddressServerOptions) {
    this.#options = options;
  }

  /** Offers this and nothing of what was offered before: leases of other addresses are refused when they are renewed. */
  async serve(offer: Offer): Promise<void> {
    await this.stop();
    const { place, device, directory } = this.#options;
    const log = openSync(join(directory, `${place}-addresses.log`), 'a');
    try {
      this.#server = spawn('ip', ['netns', 'exec', place, 'dnsmasq', ...this.#arguments(offer)], { stdio: ['ignore', log, log] });
    } finally {
      closeSync(log);
    }
    await new Promise<void>((resolve, reject) => {
      this.#server!.once('spawn', resolve);
      this.#server!.once('error', (error) => reject(new Error(`the address server on ${device} of ${place}: ${error.message}`, { cause: error })));
    });
  }

  /** Nobody answers any longer; leases run on. */
  async stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server === undefined || server.exitCode !== null || server.signalCode !== null) return;
    const ended = new Promise((resolve) => server.once('exit', resolve));
    server.kill();
    await ended;
  }

  #arguments({ addresses, prefix }: Offer): string[] {
    const { place, device, gateway, directory } = this.#options;
    const leases = join(directory, `${place}-leases`);
    rmSync(leases, { force: true });
    const ranges = addresses.length === 0 ? [`${gateway},static`] : addresses.map((address) => `${address},${address}`);
    const ipv6 = prefix === undefined ? [] : ['--enable-ra', `--ra-param=${device},10`, `--dhcp-range=${prefix.stateful ? statefulRange(prefix.address) : `${prefix.address.split('/')[0]},slaac,64`},${LEASE_SECONDS}s`];
    return [
      ...['--keep-in-foreground', '--conf-file=/dev/null', '--pid-file=', '--port=0', '--user=root', '--log-facility=-', '--log-dhcp'],
      ...[`--interface=${device}`, '--bind-interfaces', '--except-interface=lo', `--dhcp-leasefile=${leases}`, '--dhcp-authoritative', '--no-ping'],
      ...[`--dhcp-option=option:router,${gateway}`, `--dhcp-option=${OPTION_RENEWAL},${RENEWAL_SECONDS}s`, `--dhcp-option=${OPTION_REBINDING},${REBINDING_SECONDS}s`],
      ...ranges.map((range) => `--dhcp-range=${range},${LEASE_SECONDS}s`),
      ...ipv6,
    ];
  }
}

function statefulRange(prefix: string): string {
  const network = prefix.split('/')[0]!;
  return `${network}100,${network}1ff,64`;
}
