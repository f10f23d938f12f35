// Policy rules of a virtual router (ip-rule(8)): what enters by a confined device is forwarded to named prefixes only.
// The router's own addresses are not affected: the local table stands before every rule.
import type { VrPlan } from './port.ts';

/** Preferences of our rules; rules with other preferences are not ours. */
const ALLOW = 1000;
const REFUSE = 1100;

export type Family = '-4' | '-6';

/** As `ip -j rule show` prints it. */
export interface ActualRule {
  readonly priority: number;
  readonly iif?: string;
  readonly dst?: string;
  readonly dstlen?: number;
  readonly table?: string;
  readonly action?: string;
}

function wantedRules(plan: VrPlan, family: Family): string[] {
  return (plan.confined ?? []).flatMap(({ device, to }) => [
    // First of all the refusal: at no moment may the device reach more than it will in the end.
    `pref ${REFUSE} iif ${device} prohibit`,
    ...to.filter((prefix) => prefix.includes(':') === (family === '-6')).map((prefix) => `pref ${ALLOW} iif ${device} to ${prefix} lookup main`),
  ]);
}

function textOf({ priority, iif, dst, dstlen, table, action }: ActualRule, family: Family): string {
  const to = dst === undefined ? '' : ` to ${dst}/${dstlen ?? (family === '-6' ? 128 : 32)}`;
  return `pref ${priority} iif ${iif ?? 'none'}${to} ${action === undefined ? `lookup ${table}` : action}`;
}

/** Lines for `ip -batch` of one family that bring the rules to the plan. */
export function ruleLines(plan: VrPlan, actual: readonly ActualRule[], family: Family): string[] {
  const wanted = wantedRules(plan, family);
  const present = actual.filter(({ priority }) => priority === ALLOW || priority === REFUSE).map((rule) => textOf(rule, family));
  return [
    ...wanted.filter((rule) => !present.includes(rule)).map((rule) => `rule add ${rule}`),
    ...present.filter((rule) => !wanted.includes(rule)).map((rule) => `rule delete ${rule}`),
  ];
}
