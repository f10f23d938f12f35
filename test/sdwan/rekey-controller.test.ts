import { deepStrictEqual, equal, ok } from 'node:assert/strict';
import { instant } from '../../platform/time.ts';
import { readDirectiveRoute } from '../../firmware/sdwan/directive.ts';
import { RekeyController } from '../../firmware/sdwan/rekey-controller.ts';
import type { RekeyControllerInput, RekeyControllerOutput } from '../../firmware/sdwan/rekey-controller.ts';
import { Box } from './box.ts';
import { RD, UNIX_MS, fakeCredentials } from './credentials.ts';

const { trust, signers } = fakeCredentials([101, 102]);

class Controller {
  readonly machine = new RekeyController({ nodeId: '10.255.1.1', routeDistinguisher: RD, unixMs: (now) => UNIX_MS + now });
  now = 0;

  give(input: RekeyControllerInput | { readonly kind: 'timeout' }): readonly RekeyControllerOutput[] {
    this.machine.handle(input, instant(this.now));
    const outputs: RekeyControllerOutput[] = [];
    for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) outputs.push(output);
    return outputs;
  }

  hears(box: Box): readonly RekeyControllerOutput[] {
    return this.give({ kind: 'key-route', nlri: box.published!.nlri, tunnelEncapsulation: box.published!.tunnelEncapsulation });
  }

  order(order: Omit<Extract<RekeyControllerInput, { kind: 'order' }>, 'kind'>, to: readonly Box[] = []): void {
    for (const output of this.give({ kind: 'order', ...order })) {
      if (output.kind === 'publish') for (const box of to) box.give({ kind: 'directive', from: 'c1', nlri: output.nlri, tunnelEncapsulation: output.tunnelEncapsulation });
    }
  }

  progress(): string {
    const { done, total, overdue, laggards } = this.machine.snapshot(instant(this.now));
    return `${done}/${total}${overdue ? ' overdue' : ''} ${laggards.map((node) => node.siteId).join(' ')}`.trim();
  }
}

function site(): { controller: Controller; a: Box; b: Box } {
  const controller = new Controller();
  const [a, b] = [101, 102].map((id) => new Box(id, signers.get(id)!, trust).start()) as [Box, Box];
  for (const box of [a, b]) {
    controller.hears(box);
    box.wait(10_000);
  }
  controller.now = 10_000;
  return { controller, a, b };
}

describe('sdwan/rekey-controller', () => {
  it('orders a rekey and counts the nodes whose counter rose', () => {
    const { controller, a, b } = site();
    controller.order({ reason: 5, spreadSeconds: 0 }, [a, b]);
    equal(controller.progress(), '0/2 101 102');
    for (const box of [a, b]) box.wait(1_000);
    controller.hears(a);
    equal(controller.progress(), '1/2 102');
    const [complete] = controller.hears(b);
    ok(complete?.kind === 'log' && complete.event.sentence === 'rekey complete');
    equal(controller.progress(), '2/2');
    equal(controller.machine.deadline(), undefined);
  });

  it('does not count a route that it knew before the order', () => {
    const { controller, a, b } = site();
    controller.order({ reason: 5, spreadSeconds: 0 });
    controller.hears(a);
    controller.hears(b);
    equal(controller.progress(), '0/2 101 102');
  });

  it('raises an alarm that names who is late once the spread and the deadline have passed', () => {
    const { controller, a } = site();
    controller.order({ reason: 5, spreadSeconds: 30, deadlineSeconds: 60 }, [a]);
    a.wait(31_000);
    controller.hears(a);
    equal(controller.machine.deadline(), 10_000 + 100_000);
    controller.now = 110_000;
    deepStrictEqual(controller.give({ kind: 'timeout' }), [
      { kind: 'alarm', alarm: 'rekey-overdue', fields: { epoch: UNIX_MS / 1000 + 10, missing: 1, total: 2, laggards: '10.255.0.2' } },
    ]);
    equal(controller.progress(), '1/2 overdue 102');
  });

  it('waits neither for a node that went away nor for the revoked one', () => {
    const { controller, a, b } = site();
    controller.order({ reason: 4, spreadSeconds: 30, revokedSite: 102 }, [a]);
    equal(controller.progress(), '0/1 101');
    controller.give({ kind: 'key-route', nlri: a.published!.nlri, tunnelEncapsulation: undefined });
    equal(controller.progress(), '1/1');
    ok(b.published);
  });

  it('raises the epoch with every order and over a restart', () => {
    const epochs: number[] = [];
    for (const controller of [new Controller(), Object.assign(new Controller(), { now: 5_000 })]) {
      for (let i = 0; i < 2; i++) {
        for (const output of controller.give({ kind: 'order', reason: 3, spreadSeconds: 600 })) {
          if (output.kind !== 'publish') continue;
          const verdict = readDirectiveRoute(output, RD);
          ok(verdict.ok);
          epochs.push(verdict.route.epoch);
          equal(verdict.route.spreadSeconds, 0);
        }
      }
    }
    deepStrictEqual(epochs.map((epoch) => epoch - UNIX_MS / 1000), [0, 1, 5, 6]);
  });

  it('ignores what is malformed or no key route', () => {
    const { controller, a } = site();
    const { nlri, tunnelEncapsulation } = a.published!;
    for (let length = 0; length < nlri.length; length++) controller.give({ kind: 'key-route', nlri: nlri.subarray(0, length), tunnelEncapsulation });
    for (let length = 0; length < 60; length++) controller.give({ kind: 'key-route', nlri, tunnelEncapsulation: tunnelEncapsulation.subarray(0, length) });
    equal(controller.machine.snapshot(instant(0)).nodes.length, 2);
  });
});
