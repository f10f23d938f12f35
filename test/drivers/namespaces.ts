// Network namespaces for one test file: unique names, removed afterwards.
import { execFileSync } from 'node:child_process';
import { IprouteKernel } from '../../drivers/kernel.ts';

/** A name that no other run of the tests uses. */
export function namespaceName(what: string): string {
  return `selvage-test-${process.pid}-${what}`;
}

/** Inside a describe: the namespace exists (loopback up) while its tests run. */
export function withNamespace(what: string): string {
  const vr = namespaceName(what);
  const kernel = new IprouteKernel();
  before(() => kernel.ensureVr(vr));
  after(() => kernel.removeVr(vr));
  return vr;
}

export function ip(...args: string[]): string {
  return execFileSync('ip', args, { encoding: 'utf8', timeout: 10_000, stdio: ['ignore', 'pipe', 'pipe'] });
}

/** A virtual cable between two namespaces with addresses of both families; each side's device is `wan0`. */
export function connectNamespaces(a: string, b: string, mtu = 1500): void {
  const cable = `st${process.pid % 1_000_000}`;
  ip('link', 'add', `${cable}a`, 'type', 'veth', 'peer', 'name', `${cable}b`);
  for (const [vr, side, host] of [[a, 'a', 1], [b, 'b', 2]] as const) {
    ip('link', 'set', `${cable}${side}`, 'netns', vr, 'name', 'wan0');
    ip('-n', vr, 'addr', 'add', `192.0.2.${host}/24`, 'dev', 'wan0');
    ip('-n', vr, 'addr', 'add', `2001:db8::${host}/64`, 'dev', 'wan0', 'nodad');
    ip('-n', vr, 'link', 'set', 'wan0', 'mtu', `${mtu}`, 'up');
  }
}
