// The WAN circuits of a box as they are: configured addresses, and those that the network gives to ports whose families
// are automatic. Whoever needs a circuit's address takes it from `actual`, and is told when it has changed.
import type { AddressClient, AddressFamily } from '../../drivers/port.ts';
import { OperationalError } from '../../platform/errors.ts';
import type { Logger } from '../../platform/log.ts';
import { randomBelow } from '../../platform/random.ts';
import { after, rfc3339, type CancelTimer, type Instant } from '../../platform/time.ts';
import type { CircuitConfiguration } from '../configuration.ts';
import { deviceName, transportVrName } from '../model.ts';
import type { WanInterfaceView } from '../views.ts';
import { CircuitAddressing, type AddressingInput, type AddressingOutput, type FamilyState } from './circuit-addressing.ts';
import { MachineRunner } from './machine-runner.ts';
import type { Site } from './service.ts';
import type { VirtualRouters } from './virtual-routers.ts';
import { automaticFamilies, circuitPlan, isIpv6, type IdFor } from './vr-plan.ts';

export const ADDRESS_ALARM = 'circuit-without-address';
/** Between attempts to set what the kernel has refused; up to twice as long. */
const RETRY_MS = 3_000;
const METHOD = { 4: 'DHCP', 6: 'SLAAC' } as const;
const NAME = { 4: 'IPv4', 6: 'IPv6' } as const;

/** One circuit's client, and what came of it. */
interface Automatic {
  readonly configuration: CircuitConfiguration;
  readonly machine: CircuitAddressing;
  readonly runner: MachineRunner<AddressingInput, AddressingOutput>;
  client: AddressClient | undefined;
}

export class WanCircuits {
  readonly #site: Site;
  readonly #routers: VirtualRouters;
  readonly #idFor: IdFor;
  readonly #changed: () => void;
  readonly #log: Logger;
  readonly #automatic = new Map<string, Automatic>();
  #configured: readonly CircuitConfiguration[] = [];
  #cancelRetry: CancelTimer | undefined;

  /** `changed`: the network gave other addresses, and the forwarder has them. */
  constructor(site: Site, routers: VirtualRouters, idFor: IdFor, changed: () => void) {
    this.#site = site;
    this.#routers = routers;
    this.#idFor = idFor;
    this.#changed = changed;
    this.#log = site.log.channel('service');
  }

  /** Circuits with all addresses that they have now. */
  get actual(): readonly CircuitConfiguration[] {
    return this.#configured.map((circuit) => ({ ...circuit, addresses: [...circuit.addresses, ...this.#given(circuit.name)] }));
  }

  /** Brings the ports to this configuration; clients of circuits that stay as they are go on. Rejects with an OperationalError of the host. */
  async open(circuits: readonly CircuitConfiguration[]): Promise<void> {
    this.#configured = circuits;
    for (const [name, automatic] of [...this.#automatic]) {
      const stays = circuits.some((circuit) => clientKey(circuit) === clientKey(automatic.configuration));
      if (!stays) await this.#end(name);
    }
    await this.#apply();
    // Another configuration may have come meanwhile.
    if (this.#configured !== circuits) return;
    for (const circuit of circuits) if (automaticFamilies(circuit).length > 0 && !this.#automatic.has(circuit.name)) this.#begin(circuit);
  }

  async stop(): Promise<void> {
    this.#configured = [];
    this.#cancelRetry?.();
    await Promise.all([...this.#automatic.keys()].map((name) => this.#end(name)));
  }

  /** Why no circuit has an address that could be used; undefined: one has, or none is to come. */
  missing(): { readonly cause: string; readonly nextStep: string } | undefined {
    if (this.actual.some(({ addresses }) => addresses.length > 0)) return undefined;
    return [...this.#automatic.values()].flatMap(({ machine }) => machine.states()).find(({ address }) => address === undefined);
  }

  view(): WanInterfaceView[] {
    return this.#configured.flatMap((circuit) => {
      const states = this.#automatic.get(circuit.name)?.machine.states() ?? automaticFamilies(circuit).map((family) => ({ family, ...UNKNOWN }));
      return [...staticRows(circuit), ...states.map((state) => this.#row(circuit, state))];
    });
  }

  #row(circuit: CircuitConfiguration, { family, address, gateway, validUntil, cause, nextStep }: FamilyState): WanInterfaceView {
    const { name, transport } = circuit;
    const row = { interface: name, transport, family: NAME[family], method: METHOD[family] };
    if (address === undefined) return { ...row, state: 'waiting', address: '-', gateway: '-', leaseEnds: '-', cause: `${cause}; ${nextStep}` };
    const noGateway = gateway === undefined ? 'the network named no gateway; only its own hosts are reached' : '';
    return { ...row, state: 'up', address, gateway: gateway ?? '-', leaseEnds: this.#endOf(validUntil), cause: noGateway };
  }

  #endOf(validUntil: Instant | undefined): string {
    const { clock } = this.#site;
    return validUntil === undefined ? 'never' : rfc3339(clock.unixMs() + validUntil - clock.now());
  }

  #given(circuit: string): readonly string[] {
    return this.#automatic.get(circuit)?.machine.addresses() ?? [];
  }

  #apply(): Promise<void> {
    return this.#routers.apply('circuits', circuitPlan(this.#configured, this.#idFor, (circuit) => this.#given(circuit)));
  }

  #begin(configuration: CircuitConfiguration): void {
    const { name } = configuration;
    const machine = new CircuitAddressing({ circuit: name, families: automaticFamilies(configuration), random: this.#site.random });
    const runner: Automatic['runner'] = new MachineRunner<AddressingInput, AddressingOutput>(machine, this.#site.clock, (output) => this.#output(automatic, output));
    const automatic: Automatic = { configuration, machine, runner, client: undefined };
    this.#automatic.set(name, automatic);
    runner.push({ kind: 'start' });
  }

  async #end(name: string): Promise<void> {
    const automatic = this.#automatic.get(name);
    if (automatic === undefined) return;
    this.#automatic.delete(name);
    automatic.runner.stop();
    for (const family of automaticFamilies(automatic.configuration)) this.#site.alarms.clear(ADDRESS_ALARM, objectOf(name, family));
    await automatic.client?.close();
  }

  #output(automatic: Automatic, output: AddressingOutput): void {
    const circuit = automatic.configuration.name;
    switch (output.kind) {
      case 'run':
        this.#run(automatic);
        return;
      case 'look':
        automatic.client?.look();
        return;
      case 'gained': {
        const { address, gateway, validSeconds } = output;
        this.#log.info('circuit was given an address', { circuit, address, gateway, seconds: validSeconds });
        this.#moved();
        return;
      }
      case 'lost':
        this.#log.warning('circuit has lost its address', { circuit, address: output.address, cause: output.cause });
        this.#moved();
        return;
      case 'missing': {
        const { family, cause, nextStep } = output;
        const hasOther = this.actual.some(({ name, addresses }) => name === circuit && addresses.length > 0);
        const severity = hasOther ? 'minor' : 'major';
        this.#site.alarms.raise({ name: ADDRESS_ALARM, object: objectOf(circuit, family), severity, cause, nextStep });
        return;
      }
      case 'found':
        this.#site.alarms.clear(ADDRESS_ALARM, objectOf(circuit, output.family));
        return;
      case 'restarts':
        this.#log.warning('address client has ended and is started again', { circuit, cause: output.cause, nextStep: output.nextStep, seconds: Math.round(output.restartMs / 1000) });
        automatic.client = undefined;
        return;
    }
  }

  #run(automatic: Automatic): void {
    const { configuration, runner } = automatic;
    const clients = this.#site.addressClients;
    if (clients === undefined) {
      runner.push({ kind: 'ended', cause: 'this host cannot ask a network for addresses', nextStep: 'give the circuit static addresses' });
      return;
    }
    automatic.client = clients.open({
      vr: transportVrName(configuration.transport),
      device: deviceName(configuration.name),
      families: automaticFamilies(configuration),
      onGiven: (given) => runner.push({ kind: 'given', given }),
      onEnded: (cause, nextStep) => runner.push({ kind: 'ended', cause, nextStep }),
    });
  }

  /** Ports first, then whoever uses them. */
  #moved(): void {
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    this.#apply().then(
      () => this.#changed(),
      (error: unknown) => this.#retry(error as Error),
    );
  }

  #retry(error: Error): void {
    const { clock, random } = this.#site;
    if (this.#automatic.size === 0) return;
    const nextStep = error instanceof OperationalError ? error.nextStep : 'nothing: it is tried again';
    this.#log.error('circuit addresses could not be applied', { cause: error.message, nextStep });
    this.#cancelRetry?.();
    this.#cancelRetry = clock.at(after(clock.now(), RETRY_MS + randomBelow(random, RETRY_MS)), () => this.#moved());
  }
}

const UNKNOWN = { address: undefined, gateway: undefined, validUntil: undefined, cause: 'the port is not open yet', nextStep: 'see versa-service.log' } as const;

/** What a client depends on: a lease is not given up for anything else. */
function clientKey(circuit: CircuitConfiguration): string {
  return [circuit.name, circuit.transport, ...automaticFamilies(circuit).toSorted()].join(' ');
}

function objectOf(circuit: string, family: AddressFamily): string {
  return `${circuit} ${NAME[family]}`;
}

/** Rows of what is configured; also of Controllers, which have nothing else. */
export function staticRows({ name, transport, addresses, gateways }: CircuitConfiguration): WanInterfaceView[] {
  return addresses.map((address) => ({
    interface: name,
    transport,
    family: isIpv6(address) ? NAME[6] : NAME[4],
    method: 'static',
    state: 'up',
    address,
    gateway: gateways.find((gateway) => isIpv6(gateway) === isIpv6(address)) ?? '-',
    leaseEnds: 'never',
    cause: '',
  }));
}
