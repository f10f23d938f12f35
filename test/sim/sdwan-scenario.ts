// The life of a whole SD-WAN over imperfect links: branches onboard, mesh, rekey on order, and lose and regain a
// Controller, and everybody still reaches whom the model says.
import { GOOD_LINK } from './netem.ts';
import type { Scenario } from './scenario.ts';
import { ORGANIZATIONS, SdwanModel } from './sdwan-model.ts';

const CONNECT_MS = 300_000;
const LINK = { ...GOOD_LINK, loss: 0.01, jitterMs: 3 };

export const SDWAN_SCENARIO: Scenario = {
  name: 'sdwan',
  about: 'Controllers and branches of the product: onboarding, mesh, rekey, loss of a Controller',
  async run(world, { nodes }) {
    const network = new SdwanModel(world, nodes);
    const { sdwan } = network;
    await sdwan.start();
    for (const { name } of sdwan.plan.sites) world.node(name).setQuality('eth0', LINK);
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'a connection of every branch');
    const broken = [...(await network.compare('after onboarding'))];
    await world.runFor(1_000);
    for (const i of ORGANIZATIONS.keys()) sdwan.controller('c1').orderRekey(i + 2, { reason: 5, spreadSeconds: 5, deadlineSeconds: 60 });
    await world.runFor(20_000);
    broken.push(...(await network.compare('after a rekey')));
    world.node('c1').powerOff();
    await world.runFor(30_000);
    broken.push(...(await network.compare('while a Controller is down')));
    world.node('c1').powerOn();
    await sdwan.boot('c1');
    await world.settle(() => sdwan.isConnected(), CONNECT_MS, 'the return of the Controller');
    broken.push(...(await network.compare('after the return of the Controller')));
    return broken;
  },
};
