// A LAN host reaches no address around the overlay: not the WAN, not the overlay's own addresses, not Director. The
// gateway of the host is asked in the same way, so that a probe that sees nothing at all is not taken for isolation.
import { fileURLToPath } from 'node:url';
import type { IpAddress } from '../../firmware/model.ts';
import type { Clock } from '../../platform/time.ts';
import { HostProcess, jsonOf, runInPlace } from './host-process.ts';
import type { ProbeResult } from './host-probe.ts';
import { fewAtOnce } from './reachability.ts';
import type { LabHost, LabTopology } from './topology.ts';
import { withoutPrefix } from './topology.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';

/** An address that hosts must not reach, and whose it is. */
export interface ForbiddenAddress {
  readonly owner: string;
  readonly address: IpAddress;
}

export interface IsolationFinding extends ForbiddenAddress {
  readonly from: string;
  /** It is the host's own gateway, which must be seen. */
  readonly isGateway: boolean;
  readonly ping: boolean;
  readonly tcp: Readonly<Record<string, ProbeResult>>;
}

/** BGP, HTTPS and the overlay's port: what the product itself opens around the LANs. */
const PORTS: readonly number[] = [179, 443, 4790];
const PROBE = fileURLToPath(new URL('host-probe.ts', import.meta.url));
const PROBE_TIMEOUT_MS = 2_000;
const PROCESS_TIMEOUT_MS = 30_000;
const PINGS_AT_ONCE = 12;

/** What the topology itself has around the LANs: WAN addresses and Director's wire. */
export function addressesAroundLans(topology: LabTopology): ForbiddenAddress[] {
  return topology.wires
    .filter(({ use }) => use.kind !== 'lan')
    .flatMap(({ ends }) => ends.flatMap((end) => end.addresses.map((address) => ({ owner: end.place, address: withoutPrefix(address) }))));
}

function targetText(address: IpAddress, port: number): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

async function pings(clock: Clock, from: string, address: IpAddress): Promise<boolean> {
  const { code } = await runInPlace(clock, from, ['ping', '-c', '2', '-i', '0.2', '-W', '1', address], PROCESS_TIMEOUT_MS);
  return code === 0;
}

async function probe(clock: Clock, from: string, targets: readonly string[]): Promise<Record<string, ProbeResult>> {
  const child = new HostProcess(from, [process.execPath, '--disable-warning=ExperimentalWarning', PROBE, String(PROBE_TIMEOUT_MS), ...targets]);
  return jsonOf(child, await child.ended(clock, PROCESS_TIMEOUT_MS)) as Record<string, ProbeResult>;
}

/** Tries every forbidden address from every host, by ICMP and TCP. */
export async function tryForbidden(clock: Clock, topology: LabTopology, hosts: readonly LabHost[], forbidden: readonly ForbiddenAddress[]): Promise<IsolationFinding[]> {
  const findings = await Promise.all(
    hosts.map((host) => {
      const gateways = topology.places.find((place) => place.name === host.name)!.gateways;
      return tryFrom(clock, host.name, [...gateways.map((address) => ({ owner: host.branch, address, isGateway: true })), ...forbidden.map((entry) => ({ ...entry, isGateway: false }))]);
    }),
  );
  return findings.flat();
}

async function tryFrom(clock: Clock, from: string, addresses: readonly (ForbiddenAddress & { readonly isGateway: boolean })[]): Promise<IsolationFinding[]> {
  const tcp = await probe(clock, from, addresses.flatMap(({ address }) => PORTS.map((port) => targetText(address, port))));
  return fewAtOnce(addresses, PINGS_AT_ONCE, async (entry) => {
    const targets = PORTS.map((port) => targetText(entry.address, port));
    return { from, ...entry, ping: await pings(clock, from, entry.address), tcp: Object.fromEntries(targets.map((target) => [target, tcp[target] ?? 'silent'])) };
  });
}

export function judgeIsolation(findings: readonly IsolationFinding[]): Verdict {
  const causes: string[] = [];
  for (const { from, owner, address, isGateway, ping, tcp } of findings) {
    const answers = Object.entries(tcp).filter(([, result]) => result === 'open' || result === 'refused');
    const seen = [...(ping ? ['ping'] : []), ...answers.map(([target, result]) => `${target} ${result}`)];
    if (isGateway && !ping) causes.push(`${from} does not reach its gateway ${address}, so the probe proves nothing`);
    if (!isGateway && seen.length > 0) causes.push(`${from} reaches ${address} of ${owner}: ${seen.join(', ')}`);
  }
  if (!findings.some(({ isGateway }) => !isGateway)) causes.push('no address was tried');
  return verdictOf(causes);
}
