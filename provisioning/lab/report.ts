// What a run of the lab found, as data for `--json` and as text for people.
import type { TaskView } from '../director/tasks.ts';
import type { DecryptionResult } from './decryption-check.ts';
import type { ReachabilityEntry } from './reachability.ts';
import type { RekeyResult } from './rekey-check.ts';
import type { RunningNode } from './running-lab.ts';
import type { Throughput } from './throughput.ts';
import type { NatPolicy } from './topology.ts';
import type { Verdict } from './verdict.ts';
import type { WanAudit } from './wan-audit.ts';

export interface CheckRecord extends Verdict {
  readonly name: string;
  readonly seconds: number;
}

export interface LabReport {
  readonly tasks: readonly unknown[];
  readonly reachability: readonly ReachabilityEntry[];
  /** The slower direction; null when there is no number. Both are in `throughput`. */
  readonly throughputGbps: number | null;
  readonly onboardingSeconds: Readonly<Record<string, number>>;
  /** Null when the rekeys were not carried out. */
  readonly rekeyLostPackets: number | null;
  /** By appliance. */
  readonly drivers: Readonly<Record<string, string>>;
  readonly nodes: readonly RunningNode[];
  readonly nat: NatPolicy;
  readonly startedAt: string;
  readonly throughput: readonly Throughput[];
  readonly rekey: RekeyResult | null;
  readonly decryption: DecryptionResult | null;
  readonly wan: WanAudit | null;
  /** Seconds from giving back what was taken away until traffic flowed again, by check. */
  readonly recoverySeconds: Readonly<Record<string, number>>;
  readonly checks: readonly CheckRecord[];
  /** Every check held. */
  readonly held: boolean;
}

const WAYS = [
  { title: 'IPv4 TCP', family: 'IPv4', transport: 'tcp' },
  { title: 'IPv4 UDP', family: 'IPv4', transport: 'udp' },
  { title: 'IPv6 TCP', family: 'IPv6', transport: 'tcp' },
  { title: 'IPv6 UDP', family: 'IPv6', transport: 'udp' },
] as const;

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd());
}

/** What reaches what: one line per ordered pair of hosts. */
export function reachabilityLines(entries: readonly ReachabilityEntry[]): string[] {
  const pairs = [...new Set(entries.map(({ from, to }) => `${from} ${to}`))];
  const rows = pairs.map((pair) => {
    const [from, to] = pair.split(' ') as [string, string];
    const own = entries.filter((entry) => entry.from === from && entry.to === to);
    const cells = WAYS.map(({ family, transport }) => {
      const found = own.filter((entry) => entry.family === family && entry.transport === transport);
      if (found.length === 0) return '-';
      return found.every(({ reaches }) => reaches) ? 'yes' : 'no';
    });
    return [from, to, ...cells, own.every(({ expected }) => expected) ? 'yes' : 'no'];
  });
  return aligned([['From', 'To', ...WAYS.map(({ title }) => title), 'Should'], ...rows]);
}

function taskLine(task: Partial<TaskView>): string {
  return `  ${task.serial}: ${task.status}, ${task.percentage} %, ${(task.steps ?? []).map(({ name, state }) => `${name} ${state}`).join(', ')}`;
}

function wanLines({ packets, octets, kinds, leaks, unexpected, direct, controllerOctets, lostByCapture, cutFrames }: WanAudit): string[] {
  const counts = Object.entries(kinds).map(([kind, count]) => `${kind} ${count}`);
  return [
    `WAN: ${packets} packets, ${octets} octets (${counts.join(', ')})`,
    `  ${leaks.count} with a LAN in clear, ${unexpected.count} unexpected, ${lostByCapture} lost by the capture, ${cutFrames} recorded without their end`,
    ...direct.map((flow) => `  ${flow.from} to ${flow.to} directly: ${flow.packets} packets, ${flow.octets} octets`),
    `  through the Controller's wire: ${controllerOctets} octets`,
  ];
}

/** The end of a run as an operator reads it. */
export function reportLines(report: LabReport): string[] {
  const { tasks, nodes, drivers, onboardingSeconds, throughput, rekey, wan, checks } = report;
  const nodeRows = nodes.map(({ name, role, processId }) => [`  ${name}`, role, `process ${processId}`, drivers[name] ?? '']);
  const failed = checks.filter(({ held }) => !held);
  return [
    '',
    `Nodes (NAT box with input policy ${report.nat})`,
    ...(nodeRows.length === 0 ? [] : aligned(nodeRows)),
    'Tasks',
    ...tasks.map((task) => taskLine(task as Partial<TaskView>)),
    ...Object.entries(onboardingSeconds).map(([name, seconds]) => `  ${name} was onboarded in ${seconds.toFixed(1)} s`),
    '',
    ...reachabilityLines(report.reachability),
    '',
    ...throughput.map(({ from, to, gbps, retransmits, cause }) => `${from} to ${to}: ${cause === '' ? `${gbps.toFixed(3)} Gbit/s, ${retransmits} retransmissions` : cause}`),
    ...(rekey === null ? [] : rekey.streams.map(({ from, to, sender, echo }) => `${from} to ${to}: ${sender.sent} sent, ${echo.received} received; back ${echo.sent} sent, ${sender.received} received`)),
    ...(rekey === null ? [] : [`${rekey.lostPackets} packets lost during rekeys`]),
    ...(wan === null ? [] : wanLines(wan)),
    '',
    ...checks.map(({ name, held, cause, seconds }) => `${held ? 'held  ' : 'FAILED'}  ${name} (${seconds.toFixed(1)} s)${held ? '' : `: ${cause}`}`),
    failed.length === 0 ? `All ${checks.length} checks held.` : `${failed.length} of ${checks.length} checks failed.`,
  ];
}

/** 0 only when every check was carried out and held. */
export function exitCodeOf(report: LabReport): number {
  return report.held ? 0 : 1;
}
