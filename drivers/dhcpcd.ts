// Addresses of a port from its network: dhcpcd (DHCP, router advertisements, DHCPv6) inside the port's virtual router,
// and the kernel as the record of what came of it. dhcpcd's own hooks are not used: whatever changes an address, the
// kernel tells, with its lifetime, and it has taken an expired one away also when dhcpcd is dead.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { OperationalError } from '../platform/errors.ts';
import type { Random } from '../platform/random.ts';
import { sleep } from '../platform/time.ts';
import { addressesGiven, type AddressDevice, type DefaultRoute } from './given-addresses.ts';
import { ipJson } from './iproute.ts';
import type { AddressClient, AddressClientOptions, AddressClients } from './port.ts';
import { Program } from './program.ts';

/** Where Debian puts it; a service's PATH need not hold it. */
const PROGRAMS = ['/usr/sbin/dhcpcd', '/sbin/dhcpcd'];
const INSTALL = 'run: apt-get install dhcpcd-base';
/** Changes that come together are read once. */
const SETTLE_MS = 50;
/** How long it may take to give a lease up, with a killed client after 5 s; shorter than a service manager waits. */
const CLOSE_MS = 10_000;
/** Longer lines of the program are cut. */
const LONGEST_WORDS = 300;

/**
 * Everything of one port: the program, a line of output when the port is clean and for each change of an address or link
 * after that, and an end to both when standard input ends, so in whatever way the appliance ends. Runs in a mount table of
 * its own (ip netns exec makes it): there the program's fixed places lie in our state directory and in memory. It works for
 * itself under its own user, so ending it takes CAP_KILL. Afterwards IPv6 has its link-local address by the kernel again.
 */
const RUN = `
port=$1 program=$2 state=$3 configuration=$4 families=$5
mount -t tmpfs -o mode=755,size=1m tmpfs /run && mkdir /run/dhcpcd || exit 1
printf '%s' "$configuration" >/run/dhcpcd.conf || exit 1
mount --bind "$state" /var/lib/dhcpcd || exit 1
# The kernel itself configures nothing, and is asked whether an address is somebody else's already (RFC 4862 5.4).
ipv6=/proc/sys/net/ipv6/conf/$port
echo 0 >"$ipv6/accept_ra"
echo 1 >"$ipv6/accept_dad"
# What a client leaves that is killed: the next one does not know it.
clean() {
  for family in $families; do
    ip "-$family" route flush dev "$port" default
    ip "-$family" addr flush dev "$port" scope global
  done
}
clean
echo clean
exec 3<&0
ip -o monitor address link &
monitor=$!
"$program" --nobackground --config /run/dhcpcd.conf --script /bin/true --nodev "$port" >&2 3<&- &
client=$!
{ cat; kill "$client"; sleep 5 & trap "kill $!" TERM; wait $! && kill -KILL "$client"; } <&3 3<&- >/dev/null 2>&1 &
watcher=$!
wait "$client"
code=$?
kill "$watcher" "$monitor" 2>/dev/null
clean
echo 0 >"$ipv6/addr_gen_mode" 2>/dev/null
exit "$code"
`;

/**
 * Waits for ever; asks first, for 3 s, for the lease it had. Tells its servers a stable identity and nothing about the box;
 * what they say of names, time and MTU is not asked for.
 */
function configuration({ families }: AddressClientOptions): string {
  const only = families.length > 1 ? [] : [families[0] === 4 ? 'ipv4only' : 'ipv6only'];
  // An address is not probed for by ARP (RFC 2131 4.4.1: SHOULD): that costs 5 s, and the server has looked.
  return ['clientid', 'vendorclassid', 'noipv4ll', 'noarp', 'slaac private', 'timeout 0', 'reboot 3', ...only, ''].join('\n');
}

export class DhcpcdClients implements AddressClients {
  readonly #state: string;
  readonly #random: Random;
  readonly #programs: readonly string[];

  /** @param state directory of leases and identity; made when the first client is opened */
  constructor(state: string, random: Random, programs: readonly string[] = PROGRAMS) {
    this.#state = state;
    this.#random = random;
    this.#programs = programs;
  }

  open(options: AddressClientOptions): AddressClient {
    const program = this.#programs.find((path) => existsSync(path));
    if (program === undefined) return new FailedClient(options, 'the DHCP client dhcpcd is not on this host', INSTALL);
    try {
      this.#prepare();
    } catch (error) {
      return new FailedClient(options, `the directory of leases cannot be written: ${(error as Error).message}`, 'make room on the disk, or repair it');
    }
    try {
      return new DhcpcdClient(options, program, this.#state);
    } catch (error) {
      if (!(error instanceof OperationalError)) throw error;
      return new FailedClient(options, `dhcpcd could not be started: ${error.message}`, error.nextStep);
    }
  }

  /** One identity per box for all ports (RFC 8415 11), of the form that needs no hardware address (RFC 6355). */
  #prepare(): void {
    mkdirSync(this.#state, { recursive: true, mode: 0o700 });
    const file = join(this.#state, 'duid');
    if (existsSync(file)) return;
    const octets = [0, 4, ...this.#random.bytes(16)];
    writeFileSync(file, `${octets.map((octet) => octet.toString(16).padStart(2, '0')).join(':')}\n`, { mode: 0o600 });
  }
}

/** Ends as soon as whoever opened it can listen. */
class FailedClient implements AddressClient {
  #closed = false;

  constructor({ onEnded }: AddressClientOptions, cause: string, nextStep: string) {
    queueMicrotask(() => {
      if (!this.#closed) onEnded(cause, nextStep);
    });
  }

  look(): void {}

  async close(): Promise<void> {
    this.#closed = true;
  }
}

class DhcpcdClient implements AddressClient {
  readonly #options: AddressClientOptions;
  readonly #program: Program;
  #closed = false;
  #reading = false;
  #readAgain = false;
  #lastWords = '';

  constructor(options: AddressClientOptions, program: string, state: string) {
    this.#options = options;
    const args = ['netns', 'exec', options.vr, 'sh', '-c', RUN, 'dhcpcd', options.device, program, state, configuration(options), options.families.join(' ')];
    this.#program = new Program('ip', args);
    this.#program.stdout.on('data', () => this.look());
    this.#program.stderr.on('data', (chunk: Buffer) => this.#heard(chunk.toString()));
    void this.#untilEnded();
  }

  look(): void {
    this.#readAgain = true;
    if (!this.#reading) void this.#read();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#program.stdin.end();
    await Promise.race([this.#program.ended, sleep(CLOSE_MS)]);
  }

  async #untilEnded(): Promise<void> {
    const { code, signal } = await this.#program.ended;
    // What waits for the end of standard input must not outlive the rest.
    this.#program.stdin.destroy();
    await this.#end(`dhcpcd ended with ${code ?? signal}${this.#lastWords === '' ? '' : `: ${this.#lastWords}`}`);
  }

  #heard(text: string): void {
    const words = text.trim().split('\n').at(-1) ?? '';
    if (words !== '') this.#lastWords = words.slice(0, LONGEST_WORDS);
  }

  async #end(cause: string): Promise<void> {
    if (this.#closed) return;
    await this.#give();
    if (this.#closed) return;
    this.#closed = true;
    this.#options.onEnded(cause, 'nothing: it is started again; if it does not stay, report its last words');
  }

  async #read(): Promise<void> {
    this.#reading = true;
    while (this.#readAgain && !this.#closed) {
      await sleep(SETTLE_MS);
      this.#readAgain = false;
      await this.#give();
    }
    this.#reading = false;
  }

  async #give(): Promise<void> {
    const { vr, device, families } = this.#options;
    try {
      const [devices, routes4, routes6] = await Promise.all([
        ipJson(vr, 'addr', 'show', 'dev', device),
        ipJson(vr, '-4', 'route', 'show', 'default', 'dev', device),
        ipJson(vr, '-6', 'route', 'show', 'default', 'dev', device),
      ]);
      const given = addressesGiven(families, devices as AddressDevice[], [...(routes4 as DefaultRoute[]), ...(routes6 as DefaultRoute[])]);
      if (!this.#closed) this.#options.onGiven(given);
    } catch (error) {
      // The port has left the virtual router, or the kernel is short of memory: the next look tells.
      if (!(error instanceof OperationalError)) throw error;
      this.#heard(error.message);
    }
  }
}
