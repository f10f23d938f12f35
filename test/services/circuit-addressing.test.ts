// Which address a circuit has of those that its network gives, and what is said while it has none.
import { deepStrictEqual, match, ok, strictEqual } from 'node:assert/strict';
import type { GivenAddress } from '../../drivers/port.ts';
import { CircuitAddressing, LONGEST_RESTART_MS, LOOK_MS, PATIENCE_MS, type AddressingInput, type AddressingOutput } from '../../firmware/services/circuit-addressing.ts';
import { MachineRunner } from '../../firmware/services/machine-runner.ts';
import { SeededRandom } from '../../platform/random.ts';
import { ManualClock } from './manual-clock.ts';

interface Fixture {
  readonly clock: ManualClock;
  readonly machine: CircuitAddressing;
  /** What came out since the last call, but for looks at the kernel. */
  said(): AddressingOutput[];
  looks(): number;
  give(...addresses: (string | GivenAddress)[]): void;
  push(input: AddressingInput): void;
}

function make(families: readonly (4 | 6)[] = [4]): Fixture {
  const clock = new ManualClock();
  let outputs: AddressingOutput[] = [];
  let looks = 0;
  const machine = new CircuitAddressing({ circuit: 'vni-0/0', families, random: new SeededRandom(1) });
  const runner = new MachineRunner<AddressingInput, AddressingOutput>(machine, clock, (output) => {
    if (output.kind === 'look') looks++;
    else outputs.push(output);
  });
  runner.push({ kind: 'start' });
  return {
    clock,
    machine,
    said: () => outputs.splice(0),
    looks: () => looks,
    push: (input) => runner.push(input),
    give: (...addresses) => runner.push({ kind: 'given', given: { carrier: true, gateways: ['192.0.2.1', 'fe80::1'], addresses: addresses.map((given) => (typeof given === 'string' ? { address: given, deprecated: false, validSeconds: 600 } : given)) } }),
  };
}

function kinds(outputs: readonly AddressingOutput[]): string {
  return outputs.map((output) => output.kind).join(' ');
}

describe('services/circuit-addressing', () => {
  it('has the address that was given, its gateway and its end, and a renewal is no change', () => {
    const { clock, machine, said, give } = make();
    give('192.0.2.50/24');
    deepStrictEqual(said().slice(1), [{ kind: 'gained', family: 4, address: '192.0.2.50/24', gateway: '192.0.2.1', validSeconds: 600 }]);
    clock.advance(300_000);
    give('192.0.2.50/24');
    deepStrictEqual(said(), []);
    deepStrictEqual(machine.states(), [{ family: 4, address: '192.0.2.50/24', gateway: '192.0.2.1', validUntil: 900_000, cause: '', nextStep: '' }]);
  });

  it('loses one address and gains the other when the server changes it', () => {
    const { machine, said, give } = make();
    give('192.0.2.50/24');
    give('192.0.2.60/24');
    deepStrictEqual(said().slice(2).map((output) => [output.kind, (output as { address?: string }).address]), [['lost', '192.0.2.50/24'], ['gained', '192.0.2.60/24']]);
    deepStrictEqual(machine.addresses(), ['192.0.2.60/24']);
  });

  it('keeps the IPv6 address that it has among several, until that one is deprecated', () => {
    const { machine, give } = make([6]);
    const [ours, other]: GivenAddress[] = [{ address: '2001:db8:1::a/64', deprecated: false, validSeconds: 100 }, { address: '2001:db8:2::a/64', deprecated: false, validSeconds: undefined }];
    give(ours!);
    give('fd00::a/64', other!, ours!);
    deepStrictEqual(machine.addresses(), ['2001:db8:1::a/64']);
    give(other!, { ...ours!, deprecated: true });
    deepStrictEqual(machine.addresses(), ['2001:db8:2::a/64']);
    give({ ...other!, deprecated: true });
    deepStrictEqual(machine.addresses(), ['2001:db8:2::a/64']);
  });

  it('takes a global IPv6 address before a unique local one, and the one that lasts longest', () => {
    const { machine, give } = make([6]);
    give({ address: 'fd00::a/64', deprecated: false, validSeconds: undefined }, '2001:db8:1::a/64', { address: '2001:db8:2::a/64', deprecated: false, validSeconds: 9_000 });
    deepStrictEqual(machine.addresses(), ['2001:db8:2::a/64']);
  });

  it('says after a while that there is none, with cause and next step, and when there is one again', () => {
    const { clock, machine, said, give } = make();
    give();
    match(machine.states()[0]!.cause, /^vni-0\/0 waits for an IPv4 address by DHCP$/);
    clock.advance(PATIENCE_MS - 1);
    strictEqual(kinds(said()), 'run');
    clock.advance(1);
    deepStrictEqual(said(), [{ kind: 'missing', family: 4, cause: 'no DHCP server gives vni-0/0 an address', nextStep: 'check the DHCP server of that network, or give the circuit a static IPv4 address' }]);
    give();
    deepStrictEqual(said(), []);
    give('192.0.2.50/24');
    strictEqual(kinds(said()), 'gained found');
  });

  it('names a port without carrier as the cause, also when the cable is pulled later', () => {
    const { clock, machine, said, give, push } = make([4, 6]);
    give('192.0.2.50/24', '2001:db8::a/64');
    said();
    push({ kind: 'given', given: { carrier: false, addresses: [], gateways: [] } });
    deepStrictEqual(said().map((output) => [output.kind, (output as { cause?: string }).cause]), [['lost', 'the port has no carrier'], ['lost', 'the port has no carrier']]);
    clock.advance(PATIENCE_MS);
    deepStrictEqual(said().map((output) => (output as { cause?: string }).cause), ['the port vni-0/0 has no carrier', 'the port vni-0/0 has no carrier']);
    match(machine.states()[1]!.nextStep, /cable/);
  });

  it('starts a client that ended again, later each time but never later than a minute and a quarter, and says why', () => {
    const { clock, said, push, machine } = make();
    said();
    const pauses: number[] = [];
    for (let i = 0; i < 9; i++) {
      push({ kind: 'ended', cause: 'dhcpcd ended with 1', nextStep: 'see the log' });
      const [ended] = said().filter((output) => output.kind === 'restarts');
      ok(ended?.kind === 'restarts');
      pauses.push(ended.restartMs);
      match(machine.states()[0]!.cause, /dhcpcd ended with 1/);
      clock.advance(ended.restartMs);
      ok(said().some((output) => output.kind === 'run'));
    }
    ok(pauses[0]! <= 1_250 && pauses[2]! > pauses[0]!, pauses.join());
    ok(pauses.every((pause) => pause <= 1.25 * LONGEST_RESTART_MS) && pauses.at(-1)! >= 0.75 * LONGEST_RESTART_MS, pauses.join());
  });

  it('restarts quickly again after a client that ran for long, and keeps the addresses that the kernel has meanwhile', () => {
    const { clock, machine, said, give, push } = make();
    for (let i = 0; i < 5; i++) {
      push({ kind: 'ended', cause: 'dhcpcd ended with 1', nextStep: '' });
      clock.advance(LONGEST_RESTART_MS);
    }
    give('192.0.2.50/24');
    clock.advance(200_000);
    said();
    push({ kind: 'ended', cause: 'dhcpcd ended with SIGKILL', nextStep: '' });
    const [ended] = said();
    ok(ended?.kind === 'restarts' && ended.restartMs <= 1_250);
    deepStrictEqual(machine.addresses(), ['192.0.2.50/24']);
  });

  it('looks at the kernel from time to time, at times of its own', () => {
    const { clock, looks } = make();
    clock.advance(100 * LOOK_MS);
    ok(looks() > 90 && looks() < 112, `${looks()}`);
  });
});
