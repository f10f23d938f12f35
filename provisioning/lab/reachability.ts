// Who answers whom: every LAN host asks every LAN address for its host's name. The prefixes of the tenants overlap, so
// the only right answer is the name of the asker's own tenant's host; any other name is a leak between tenants.
import type { IpAddress } from '../../firmware/model.ts';
import { verdictOf } from './verdict.ts';
import type { Verdict } from './verdict.ts';
import type { LabHost } from './topology.ts';

export type Transport = 'tcp' | 'udp';
export type Family = 'IPv4' | 'IPv6';

export interface Question {
  readonly from: string;
  readonly address: IpAddress;
  readonly transport: Transport;
}

export interface Answer extends Question {
  /** Undefined: nobody answered in time. */
  readonly answeredBy: string | undefined;
}

/** LabNetwork is one. */
export interface Asker {
  ask(fromHost: string, address: string, transport: Transport, timeoutMs: number): Promise<string | undefined>;
}

/** One ordered pair of hosts over one family and transport. */
export interface ReachabilityEntry {
  readonly from: string;
  readonly to: string;
  readonly address: IpAddress;
  readonly family: Family;
  readonly transport: Transport;
  readonly expected: boolean;
  readonly reaches: boolean;
  /** Who answered at the address; another host than `to` when both have it. Null: nobody. */
  readonly answeredBy: string | null;
}

const TRANSPORTS: readonly Transport[] = ['tcp', 'udp'];
const ANSWER_TIMEOUT_MS = 10_000;
/** Each question is a process; more at once only wait for the processor. */
const QUESTIONS_AT_ONCE = 4;

export function familyOf(address: IpAddress): Family {
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

/** Runs over all of `items`, a few at once; results in their order. */
export async function fewAtOnce<Item, Result>(items: readonly Item[], atOnce: number, run: (item: Item) => Promise<Result>): Promise<Result[]> {
  const results: Result[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length) {
      const index = next++;
      results[index] = await run(items[index]!);
    }
  };
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker));
  return results;
}

/** Every host to every LAN address, its own included, over both transports. */
export function allQuestions(hosts: readonly LabHost[]): Question[] {
  const addresses = [...new Set(hosts.flatMap((host) => host.addresses))];
  return hosts.flatMap(({ name }) => addresses.flatMap((address) => TRANSPORTS.map((transport) => ({ from: name, address, transport }))));
}

export function askAll(asker: Asker, questions: readonly Question[], timeoutMs = ANSWER_TIMEOUT_MS): Promise<Answer[]> {
  return fewAtOnce(questions, QUESTIONS_AT_ONCE, async (question) => ({
    ...question,
    answeredBy: await asker.ask(question.from, question.address, question.transport, timeoutMs),
  }));
}

/** The table of every ordered pair of different hosts. */
export function reachabilityTable(hosts: readonly LabHost[], answers: readonly Answer[]): ReachabilityEntry[] {
  return answers.flatMap(({ from, address, transport, answeredBy }) => {
    const tenant = hosts.find((host) => host.name === from)?.tenant;
    return hosts
      .filter((to) => to.name !== from && to.addresses.includes(address))
      .map((to) => ({
        from,
        to: to.name,
        address,
        family: familyOf(address),
        transport,
        expected: to.tenant === tenant,
        reaches: answeredBy === to.name,
        answeredBy: answeredBy ?? null,
      }));
  });
}

/** Holds when every answer came from the asker's own tenant and every host of the tenant was reached. */
export function judgeReachability(hosts: readonly LabHost[], answers: readonly Answer[]): Verdict {
  const causes: string[] = [];
  for (const question of allQuestions(hosts)) {
    const { from, address, transport } = question;
    const tenant = hosts.find((host) => host.name === from)!.tenant;
    const right = hosts.find((host) => host.tenant === tenant && host.addresses.includes(address))?.name;
    const answer = answers.find((a) => a.from === from && a.address === address && a.transport === transport);
    const asked = `${from} asked ${address} over ${transport.toUpperCase()}`;
    if (answer === undefined) causes.push(`${asked}: the question was not put`);
    else if (answer.answeredBy !== right) causes.push(`${asked}: ${answer.answeredBy ?? 'nobody'} answered, ${right ?? 'nobody'} should`);
  }
  return verdictOf(causes);
}
