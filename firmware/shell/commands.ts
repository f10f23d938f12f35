// Every command of the operator's shell: its words, the query behind it, and how the answer looks as text.
import type {
  AlarmView,
  BgpNeighborView,
  CertificatesView,
  DhkeyView,
  DropView,
  DynamicTunnelView,
  IkeHistoryView,
  IkeSaView,
  PackageView,
  KeyExportView,
  RekeyView,
  SystemView,
  WanInterfaceView,
  WorkerView,
} from '../views.ts';
import { stagingFlags, stagingParameters } from './staging.ts';
import { textTable } from './text-table.ts';

export interface Command {
  /** `<name>` takes a word, `[word]` may be left out, `<name...>` takes the rest. */
  readonly pattern: string;
  readonly help: string;
  readonly query: string;
  /** What is sent instead of the words' own parameters. */
  readonly prepare?: (parameters: Readonly<Record<string, string>>) => Readonly<Record<string, string>>;
  render(data: never, parameters: Readonly<Record<string, string>>): string;
}

function command<Data>(pattern: string, query: string, help: string, render: (data: Data, parameters: Readonly<Record<string, string>>) => string): Command {
  return { pattern, query, help, render: render as Command['render'] };
}

export const COMMANDS: readonly Command[] = [
  command('show orgs org-services <tenant> ipsec vpn-profile <profile> ike history', 'ike-history', 'the life of the IKE SAs of a VPN profile', renderHistory),
  command(
    'show orgs org-services <tenant> ipsec vpn-profile <profile> ike security-associations [brief] [detail]',
    'ike-security-associations',
    'IKE SAs and their child SAs; configured but down is listed as down; detail: with the life of each',
    renderSecurityAssociations,
  ),
  command('show dhkey site <tenant> <site>', 'dhkey', 'IKE-less keys of a tenant: own keys, peers\' keys, associations', renderDhkey),
  command('show bgp neighbor', 'bgp-neighbors', 'BGP sessions of every tenant', renderNeighbors),
  command('show interfaces wan', 'wan-interfaces', 'WAN circuits: where their addresses come from, what they are, and until when', renderWanInterfaces),
  command('show interfaces dynamic-tunnels', 'dynamic-tunnels', 'tunnels to peers, their endpoints, MTU, SPIs and packets', renderTunnels),
  command('show counters drops', 'drops', 'dropped packets by reason', renderDrops),
  command('show counters workers', 'workers', 'what each worker of the forwarder carried, handed to another one and dropped', renderWorkers),
  command('show rekey tenant <tenant>', 'rekey', 'a Controller\'s supervision of a tenant\'s rekeys', renderRekey),
  command('show alarms', 'alarms', 'conditions that need an operator, oldest first', renderAlarms),
  command('show certificates', 'certificates', 'own certificate, trust anchors, their ends, and the revocation list', renderCertificates),
  command('show system status', 'system', 'this box, its drivers and services', renderSystem),
  command('show debug keys', 'debug-keys', 'whose session keys are being written for a packet analysis, until when and where', renderKeyExport),
  command('request debug keys minutes <minutes>', 'request-debug-keys', 'write the session keys of all tunnels for Wireshark; ends by itself', renderKeyExport),
  command('request debug keys tenant <tenant> minutes <minutes>', 'request-debug-keys', "write a tenant's session keys for Wireshark; ends by itself", renderKeyExport),
  command('request debug keys tenant <tenant> peer <peer> minutes <minutes>', 'request-debug-keys', "write one peer's session keys (identity, device or address) for Wireshark; ends by itself", renderKeyExport),
  command('request debug keys off', 'request-debug-keys-off', 'end it now and remove the files', renderKeyExport),
  command('request rekey tenant <tenant>', 'request-rekey', 'on a Controller: all branches of the tenant; on a branch: this box', () => 'rekey ordered'),
  {
    ...command('request staging <flags...>', 'request-staging', `takes the prestaging record of this box\n${stagingFlags()}`, renderStaging),
    prepare: ({ flags = '' }) => stagingParameters(flags.split(' ')),
  },
  command('show system package', 'package', 'the system of each slot, what is on trial, and why the last change failed', renderPackage),
  command('request system package upgrade <bundle>', 'request-upgrade', 'checks a bundle (path of a file on this box), installs it in the other slot and reboots', renderUpgrade),
  command('request system rollback', 'request-rollback', 'boots the system of the other slot', () => 'the box reboots into its other slot'),
  command('request system factory-reset <serial>', 'request-factory-reset', 'forgets keys, certificates and configuration; the serial of this box confirms it', () => 'the box forgets everything and starts anew'),
  command('request ike rekey-child <tenant>', 'request-rekey-child', 'a new child SA with every Controller (or branch) of the tenant', renderOrdered),
];

function renderWanInterfaces(rows: readonly WanInterfaceView[]): string {
  return textTable(
    [
      { title: 'Interface', cell: (r) => r.interface },
      { title: 'Transport', cell: (r) => r.transport },
      { title: 'Family', cell: (r) => r.family },
      { title: 'From', cell: (r) => r.method },
      { title: 'State', cell: (r) => r.state },
      { title: 'Address', cell: (r) => r.address },
      { title: 'Gateway', cell: (r) => r.gateway },
      { title: 'Lease ends', cell: (r) => r.leaseEnds },
      { title: 'Cause', cell: (r) => r.cause },
    ],
    rows,
    'no circuit is configured',
  );
}

function historyCause({ cause, replaces, replacedBy }: IkeHistoryView): string {
  if (replaces !== undefined) return `replaces ${replaces}: ${cause}`;
  return replacedBy === undefined ? cause : `replaced by ${replacedBy}: ${cause}`;
}

function renderHistory(rows: readonly IkeHistoryView[]): string {
  return textTable(
    [
      { title: 'Time', cell: (r) => r.time },
      { title: 'Event', cell: (r) => r.event },
      { title: 'Peer', cell: (r) => r.peer },
      { title: 'Endpoint', cell: (r) => r.remote },
      { title: 'Role', cell: (r) => r.role },
      { title: 'SPIs', cell: (r) => r.spis },
      { title: 'NAT', cell: (r) => (r.nat ? 'yes' : 'no') },
      { title: 'Cause', cell: historyCause },
    ],
    rows,
    'no IKE event has been recorded for this profile',
  );
}

function renderSecurityAssociations(rows: readonly IkeSaView[], parameters: Readonly<Record<string, string>>): string {
  if (parameters['brief'] !== undefined) {
    return textTable(
      [
        { title: 'Peer', cell: (r) => r.peer },
        { title: 'State', cell: (r) => r.state },
        { title: 'Endpoint', cell: (r) => r.remote },
        { title: 'Child SAs', cell: (r) => r.children.length },
        { title: 'Cause', cell: (r) => r.cause },
      ],
      rows,
      'no peer is configured for this profile',
    );
  }
  if (rows.length === 0) return 'no peer is configured for this profile';
  return rows.map((sa) => [renderIkeSa(sa), ...(parameters['detail'] === undefined ? [] : sa.history.map(historyLine))].join('\n')).join('\n\n');
}

function historyLine(entry: IkeHistoryView): string {
  const cause = historyCause(entry);
  return `  ${entry.time}  ${entry.event}  ${entry.spis}${cause === '' ? '' : `  ${cause}`}`;
}

function renderIkeSa(sa: IkeSaView): string {
  const lines = [
    `Peer ${sa.peer}  (${sa.profile})`,
    `  state       ${sa.state}${sa.cause === '' ? '' : `: ${sa.cause}`}`,
    `  endpoints   ${sa.local} <-> ${sa.remote}  ${sa.role}`,
    `  IKE SPIs    ${sa.spis}`,
    `  algorithms  ${sa.suite}`,
    ...sa.children.map((c) => `  child SA    ${c.spis}  ${c.suite}  ${c.encapsulation}  ${c.state}`),
  ];
  return lines.join('\n');
}

function hexMask(mask: number): string {
  return `0x${mask.toString(16)}`;
}

function spi(value: number): string {
  return `0x${value.toString(16).padStart(8, '0')}`;
}

function renderDhkey(view: DhkeyView): string {
  const keyId = (id: number): string => `0x${id.toString(16).padStart(4, '0')}`;
  return [
    `Tenant:Site ${view.tenant}:${view.siteId}  node ${view.nodeId}  profile ${view.profile}`,
    `lifetime ${view.lifetimeSeconds} s  rekey ${view.rekeySeconds} s  next rekey in ${view.nextRekeySeconds ?? '-'} s`,
    `DH groups [${view.groups.join(' ')}] mask ${hexMask(view.groupMask)}  transforms [${view.transforms.join(' ')}] mask ${hexMask(view.transformMask)}`,
    '',
    'Self keys',
    textTable(
      [
        { title: 'Key id', cell: (k) => keyId(k.id) },
        { title: 'Rekey counter', cell: (k) => k.rekeyCounter },
        { title: 'State', cell: (k) => k.state.toUpperCase() },
        { title: 'Age', cell: (k) => k.ageSeconds },
        { title: 'Left', cell: (k) => k.secondsLeft },
        { title: 'Groups', cell: (k) => k.groups.join(' ') },
      ],
      view.selfKeys,
      'none yet',
    ),
    '',
    'Peer key exchange',
    textTable(
      [
        { title: 'Site', cell: (k) => k.siteId },
        { title: 'Name', cell: (k) => k.name },
        { title: 'Node', cell: (k) => k.nodeId },
        { title: 'Key id', cell: (k) => keyId(k.id) },
        { title: 'Rekey counter', cell: (k) => k.rekeyCounter },
        { title: 'Age', cell: (k) => k.ageSeconds },
        { title: 'Left', cell: (k) => k.secondsLeft },
        { title: 'Headless', cell: (k) => (k.headless ? 'yes' : 'no') },
      ],
      view.peerKeys,
      'no key route of another node is known',
    ),
    '',
    'Peer associations (peer : peer key : self key)',
    textTable(
      [
        { title: 'Id', cell: (a) => a.id },
        { title: 'Node', cell: (a) => a.nodeId },
        { title: 'State', cell: (a) => a.state.toUpperCase() },
        { title: 'Sends', cell: (a) => (a.sends ? 'yes' : 'no') },
        { title: 'SPI in', cell: (a) => spi(a.spiIn) },
        { title: 'SPI out', cell: (a) => spi(a.spiOut) },
        { title: 'Suite', cell: (a) => a.suite },
        { title: 'Group', cell: (a) => a.group },
        { title: 'Age', cell: (a) => a.ageSeconds },
      ],
      view.associations,
      'none',
    ),
    '',
    `counters: ${Object.entries(view.counters)
      .map(([name, count]) => `${name} ${count}`)
      .join('  ')}`,
  ].join('\n');
}

function renderNeighbors(rows: readonly BgpNeighborView[]): string {
  return textTable(
    [
      { title: 'Organization', cell: (r) => r.organization },
      { title: 'Neighbor', cell: (r) => r.neighbor },
      { title: 'Address', cell: (r) => r.address },
      { title: 'AS', cell: (r) => r.remoteAs },
      { title: 'State', cell: (r) => r.state },
      { title: 'Uptime', cell: (r) => r.uptimeSeconds },
      { title: 'Received', cell: (r) => r.received },
      { title: 'Refused', cell: (r) => r.refused },
      { title: 'Last error', cell: (r) => r.lastError },
    ],
    rows,
    'no BGP neighbour is configured',
  );
}

function renderTunnels(rows: readonly DynamicTunnelView[]): string {
  return textTable(
    [
      { title: 'Organization', cell: (r) => r.organization },
      { title: 'Peer', cell: (r) => r.peer },
      { title: 'Kind', cell: (r) => r.kind },
      { title: 'State', cell: (r) => r.state },
      { title: 'Endpoint', cell: (r) => r.endpoint },
      { title: 'MTU', cell: (r) => r.mtu },
      { title: 'SPI out', cell: (r) => r.txSpi },
      { title: 'SPIs in', cell: (r) => r.rxSpis },
      { title: 'Sent', cell: (r) => r.txPackets },
      { title: 'Received', cell: (r) => r.rxPackets },
    ],
    rows,
    'no tunnel is configured',
  );
}

function renderWorkers(rows: readonly WorkerView[]): string {
  return textTable(
    [
      { title: 'Worker', cell: (r) => r.worker },
      { title: 'Tunnels', cell: (r) => r.tunnels },
      { title: 'TX packets', cell: (r) => r.txPackets },
      { title: 'RX packets', cell: (r) => r.rxPackets },
      { title: 'Handed over', cell: (r) => r.handedOver },
      { title: 'Dropped', cell: (r) => r.dropped },
    ],
    rows,
    'there is no forwarder',
  );
}

function renderDrops(rows: readonly DropView[]): string {
  return textTable(
    [
      { title: 'Reason', cell: (r) => r.reason },
      { title: 'Packets', cell: (r) => r.packets },
    ],
    rows,
    'nothing was dropped',
  );
}

function renderAlarms(rows: readonly AlarmView[]): string {
  return textTable(
    [
      { title: 'Since', cell: (r) => r.since },
      { title: 'Severity', cell: (r) => r.severity },
      { title: 'Alarm', cell: (r) => r.name },
      { title: 'About', cell: (r) => r.object },
      { title: 'Cause', cell: (r) => r.cause },
      { title: 'Next step', cell: (r) => r.nextStep },
    ],
    rows,
    'no alarm is active',
  );
}

function renderKeyExport(view: KeyExportView): string {
  if (!view.on) return 'no session keys are written';
  return [`session keys of ${view.scope} are written until ${view.until}, then the files are removed`, ...view.files.map(({ file, sas }) => `  ${file}  ${sas} SAs`)].join('\n');
}

function renderRekey(view: RekeyView): string {
  const laggards = view.laggards.length === 0 ? 'none' : view.laggards.join(', ');
  return `${view.organization}: epoch ${view.epoch}, ${view.done} of ${view.total} done, waiting for: ${laggards}`;
}

function renderOrdered(view: { readonly children: number }): string {
  return `rekey of ${view.children} child SAs ordered`;
}

function renderCertificates(view: CertificatesView): string {
  const certificates = textTable(
    [
      { title: 'Kind', cell: (r) => r.kind },
      { title: 'Serial', cell: (r) => r.serialNumber },
      { title: 'Subject', cell: (r) => r.subject },
      { title: 'Issuer', cell: (r) => r.issuer },
      { title: 'Not before', cell: (r) => r.notBefore },
      { title: 'Not after', cell: (r) => r.notAfter },
      { title: 'Days left', cell: (r) => r.daysLeft },
      { title: 'Revocation', cell: (r) => r.revocation },
    ],
    view.certificates,
    'the box has no certificate yet',
  );
  const lists = textTable(
    [
      { title: 'List of', cell: (r) => r.issuer },
      { title: 'Number', cell: (r) => r.number },
      { title: 'Made', cell: (r) => r.thisUpdate },
      { title: 'Next', cell: (r) => r.nextUpdate },
      { title: 'Current', cell: (r) => (r.current ? 'yes' : 'no') },
      { title: 'Revoked', cell: (r) => r.revoked },
    ],
    view.revocationLists,
    'no revocation list is known yet',
  );
  return `${certificates}\n\nrevocation: ${view.revocationPolicy} fail\n${lists}${view.clock === '' ? '' : `\n\n${view.clock}`}`;
}

function renderStaging(view: { readonly serial: string; readonly provider: string }): string {
  return `prestaging record of ${view.serial} for ${view.provider} taken; "show system status" tells how onboarding goes`;
}

function renderSystem(view: SystemView): string {
  const services = textTable(
    [
      { title: 'Service', cell: (s) => s.service },
      { title: 'State', cell: (s) => s.state },
      { title: 'Detail', cell: (s) => s.detail },
    ],
    view.services,
    'no service runs',
  );
  return `${view.name}  ${view.role}  serial ${view.serial}  version ${view.version}  process ${view.processId}\ndrivers ${view.drivers}\n\n${services}`;
}

function renderPackage(view: PackageView): string {
  const slots = textTable(
    [
      { title: 'Slot', cell: (s) => s.name },
      { title: 'Booted', cell: (s) => (s.booted ? 'yes' : 'no') },
      { title: 'Good', cell: (s) => (s.good ? 'yes' : 'no') },
    ],
    view.slots,
    'no slot is known',
  );
  const facts = [['trial', view.trial], ['activity', view.activity], ['last failure', view.lastFailure]].filter(([, text]) => text !== '').map(([name, text]) => `\n${name}: ${text}`);
  return `version ${view.version}  nothing older than ${view.floor === '' ? '(any)' : view.floor} is installed\n\n${slots}${facts.join('')}`;
}

function renderUpgrade(view: { readonly version: string }): string {
  return `version ${view.version} is accepted and being installed; the box reboots by itself. See: show system package`;
}
