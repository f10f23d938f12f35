// What a LAN host meets at the overlay's edge by default: the largest packet passes, one octet more is answered with the
// right next MTU (RFC 1191, RFC 8201), and TCP is told a segment size that fits.
import type { Clock } from '../../platform/time.ts';
import { HostProcess, runInPlace } from './host-process.ts';
import type { Verdict } from './verdict.ts';
import { verdictOf } from './verdict.ts';
import { waitFor } from './wait-for.ts';

export interface MtuCheck {
  readonly clock: Clock;
  readonly from: string;
  readonly to: string;
  readonly addresses: readonly { readonly family: 'IPv4' | 'IPv6'; readonly address: string }[];
  /** The LAN core's MTU. */
  readonly mtu: number;
  /** Opens one TCP connection to the address, so that its SYN can be seen. */
  readonly connect: (address: string) => Promise<unknown>;
}

const HEADERS = { IPv4: { ping: 28, tcp: 40 }, IPv6: { ping: 48, tcp: 60 } } as const;
const PING_TIMEOUT_MS = 10_000;
const SYN_TIMEOUT_MS = 10_000;

/** The next MTU that ping was told, in any of its wordings. */
export function toldMtu(output: string): number | undefined {
  const found = /mtu\s*=\s*(\d+)/i.exec(output)?.[1];
  return found === undefined ? undefined : Number(found);
}

/** The MSS option of a SYN in tcpdump's words. */
export function segmentSize(output: string): number | undefined {
  const found = /mss (\d+)/.exec(output)?.[1];
  return found === undefined ? undefined : Number(found);
}

export async function checkMtu(check: MtuCheck): Promise<Verdict> {
  const causes: string[] = [];
  for (const { family, address } of check.addresses) {
    const payload = check.mtu - HEADERS[family].ping;
    const fits = await ping(check, family, address, payload);
    if (fits.code !== 0) causes.push(`${check.from}: a packet of ${check.mtu} octets does not reach ${address}`);
    const tooBig = await ping(check, family, address, payload + 1);
    const told = toldMtu(tooBig.stdout + tooBig.stderr);
    if (tooBig.code === 0) causes.push(`${check.from}: a packet of ${check.mtu + 1} octets reached ${address}, unfragmented it cannot`);
    else if (told !== check.mtu) causes.push(`${check.from}: a packet too big for ${address} was answered with MTU ${told ?? '(nothing)'}, ${check.mtu} is right`);
    const segment = await synSegmentSize(check, family, address);
    const expected = check.mtu - HEADERS[family].tcp;
    if (segment !== expected) causes.push(`${check.to}: a SYN arrived with MSS ${segment ?? '(none seen)'} over ${family}, ${expected} is right`);
  }
  return verdictOf(causes);
}

function ping({ clock, from }: MtuCheck, family: string, address: string, payload: number): ReturnType<typeof runInPlace> {
  const command = ['ping', family === 'IPv4' ? '-4' : '-6', '-M', 'do', '-c', '2', '-i', '0.2', '-W', '1', '-s', String(payload), address];
  return runInPlace(clock, from, command, PING_TIMEOUT_MS);
}

/** The MSS of the first SYN that arrives at the far host. */
async function synSegmentSize({ clock, to, connect }: MtuCheck, family: string, address: string): Promise<number | undefined> {
  // Flags stand at octet 13 of the TCP header; tcpdump's own words for them do not know IPv6.
  const filter = family === 'IPv4' ? 'tcp[13] & 2 != 0' : 'ip6 and ip6[6] == 6 and ip6[53] & 2 != 0';
  const capture = new HostProcess(to, ['tcpdump', '-n', '-v', '-l', '-c', '1', '-Q', 'in', '-i', 'eth0', filter]);
  await waitFor({ clock, timeoutMs: SYN_TIMEOUT_MS, pauseMs: 20 }, async () =>
    capture.stderr.includes('listening on') ? { ok: true, value: undefined } : { ok: false, cause: 'tcpdump does not listen yet' },
  );
  await connect(address);
  const { stdout } = await capture.ended(clock, SYN_TIMEOUT_MS);
  return segmentSize(stdout);
}
