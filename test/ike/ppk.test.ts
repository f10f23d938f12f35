import { deepStrictEqual, equal, notDeepStrictEqual } from 'node:assert/strict';
import type { Ppk } from '../../firmware/ike/ppk.ts';
import { utf8 } from '../../platform/bytes.ts';
import type { Node } from './pair.ts';
import { pair } from './pair.ts';

const SECRET = utf8('thirty-two octets that both know');

function ppk(options: Partial<Ppk> = {}): Ppk {
  return { id: 'ppk-1', secret: SECRET, required: false, ...options };
}

function connect(branch: Ppk | undefined, controller: Ppk | undefined): ReturnType<typeof pair> {
  const made = pair({ branch: branch === undefined ? {} : { ppk: branch }, controller: controller === undefined ? {} : { ppk: controller } });
  made.world.initiate(made.branch, made.controller, 'to-controller');
  made.world.run(5000);
  return made;
}

function isUp(...nodes: readonly Node[]): boolean {
  return nodes.every((node) => node.of('child-up').length === 1 && node.of('ike-down').length === 0);
}

describe('ike: post-quantum pre-shared keys', () => {
  for (const required of [true, false]) {
    it(`mixes the key into the children's keys (${required ? 'required' : 'optional'})`, () => {
      // IKE_SA_INIT { .., N(USE_PPK) } -->   <-- { .., N(USE_PPK) }
      // IKE_AUTH { .., AUTH, N(PPK_IDENTITY) [, N(NO_PPK_AUTH)] } -->   <-- { .., AUTH, N(PPK_IDENTITY) }
      const { world, branch, controller } = connect(ppk({ required }), ppk({ required }));
      equal(isUp(branch, controller), true, world.story());
      deepStrictEqual(branch.of('child-up')[0]!.outbound.key, controller.of('child-up')[0]!.inbound.key);
      const plain = connect(undefined, undefined);
      // The same seed draws the same nonces: only the key that was mixed in makes the difference.
      notDeepStrictEqual(branch.of('child-up')[0]!.outbound.key, plain.branch.of('child-up')[0]!.outbound.key);
    });
  }

  it('keeps the key mixed in over rekeys of the IKE SA and of the child', () => {
    const { world, branch, controller } = connect(ppk({ required: true }), ppk({ required: true }));
    world.input(branch, { kind: 'rekey-ike', ikeSa: branch.of('ike-up')[0]!.ikeSa });
    world.run(1000);
    world.input(controller, { kind: 'rekey-child', child: controller.of('child-up')[0]!.child });
    world.run(1000);
    equal(branch.of('ike-rekeyed').length, 1);
    deepStrictEqual(branch.of('child-up')[1]!.outbound.key, controller.of('child-up')[1]!.inbound.key);
  });

  const without: readonly (readonly [string, Ppk | undefined, Ppk | undefined])[] = [
    ['the responder has none', ppk(), undefined],
    ['the initiator has none', undefined, ppk()],
    ['the responder knows another identity', ppk({ id: 'ppk-2' }), ppk()],
  ];
  for (const [name, branchKey, controllerKey] of without) {
    it(`goes on without the key where both may: ${name}`, () => {
      const { world, branch, controller } = connect(branchKey, controllerKey);
      equal(isUp(branch, controller), true, world.story());
      deepStrictEqual(branch.of('child-up')[0]!.outbound.key, controller.of('child-up')[0]!.inbound.key);
    });
  }

  const REQUIRED = 'the peer does not use the post-quantum pre-shared key that this profile requires';
  const refused: readonly (readonly [string, Ppk | undefined, Ppk | undefined, string])[] = [
    ['the initiator requires it, the responder has none', ppk({ required: true }), undefined, REQUIRED],
    ['the responder requires it, the initiator has none', undefined, ppk({ required: true }), `peer refuses: ${REQUIRED}`],
    ['the responder requires it and knows another identity', ppk({ id: 'ppk-2' }), ppk({ required: true }), 'peer refuses: the peer names a post-quantum pre-shared key that is not known'],
    ['the initiator requires it, the responder knows another identity', ppk({ id: 'ppk-2', required: true }), ppk(), 'peer refuses: the peer requires a post-quantum pre-shared key that is not known'],
    ['the secrets differ', ppk(), ppk({ secret: utf8('thirty-two octets of another kind') }), 'peer refuses: pre-shared key does not match'],
  ];
  for (const [name, branchKey, controllerKey, cause] of refused) {
    it(`refuses with the cause: ${name}`, () => {
      const { branch, controller } = connect(branchKey, controllerKey);
      equal(branch.of('connect-failed')[0]?.cause, cause);
      equal(branch.of('child-up').length + controller.of('child-up').length, 0);
    });
  }
});
