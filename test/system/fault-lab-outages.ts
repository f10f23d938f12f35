// Boxes that are gone: what still works meanwhile, how it looks to the operator, and that everything comes back by itself.
import { strict as assert } from 'node:assert';
import type { BgpNeighborView, IkeSaView, SystemView } from '../../firmware/views.ts';
import { CONTROLLER, DIRECTOR } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

const BRANCHES = ['branch-1', 'branch-2'];
const ORGANIZATIONS = ['Provider', 'Acme', 'Globex'];
/** A dead peer is asked 10 s after its last word, and then for about 50 s. */
const DETECTION_MS = 90_000;
const RETURN_MS = 60_000;

function ikeSas(lab: FaultLab, branch: string, organization: string): Promise<readonly IkeSaView[]> {
  return lab.shell.ask<readonly IkeSaView[]>(branch, `show orgs org-services ${organization} ipsec vpn-profile controller-1-Profile ike security-associations`);
}

/** IKE and BGP of every tenant are up, on every branch and on the Controller. */
async function controlPlaneIsUp(lab: FaultLab): Promise<void> {
  for (const branch of BRANCHES) {
    for (const organization of ORGANIZATIONS) {
      await lab.until(`IKE of ${branch} in ${organization}`, async () => ((await ikeSas(lab, branch, organization)).some((sa) => sa.children.length > 0) ? true : undefined), RETURN_MS);
    }
  }
  for (const node of [...BRANCHES, CONTROLLER]) {
    await lab.until(`BGP of ${node}`, async () => {
      const neighbors = await lab.shell.ask<readonly BgpNeighborView[]>(node, 'show bgp neighbor');
      return neighbors.length >= ORGANIZATIONS.length && neighbors.every(({ state }) => state === 'Established') ? true : undefined;
    }, RETURN_MS);
  }
}

async function ztpDetail(lab: FaultLab, node: string): Promise<string> {
  const { services } = await lab.shell.ask<SystemView>(node, 'show system status');
  return services.find(({ service }) => service === 'ztp')!.detail;
}

export const OUTAGE_FACTS: readonly Fact[] = [
  {
    name: 'a killed branch comes back with its configuration while Director is dead',
    async prove(lab) {
      await lab.network.node(DIRECTOR).kill();
      await lab.network.node('branch-2').kill();
      lab.onboarding.startNode('branch-2');
      await lab.allReach(RETURN_MS);
      await controlPlaneIsUp(lab);
    },
  },
  {
    name: 'data between branches goes on while Controller and Director are dead, and what is down is listed as down with its cause',
    async prove(lab) {
      const streams = [
        await lab.stream('tenant2-branch1', 'tenant2-branch2', '10.2.0.10', 100),
        await lab.stream('tenant3-branch2', 'tenant3-branch1', 'fd00:1::10', 100),
      ];
      assert.ok(!lab.network.node(DIRECTOR).isRunning());
      await lab.network.node(CONTROLLER).kill();
      for (const branch of BRANCHES) {
        for (const organization of ORGANIZATIONS) {
          // An attempt to connect anew is listed beside it.
          const down = await lab.until(
            `the IKE SA of ${branch} in ${organization} is listed as down`,
            async () => (await ikeSas(lab, branch, organization)).find(({ state }) => state === 'down'),
            DETECTION_MS,
          );
          assert.match(down.cause, /the peer did not answer/);
          assert.equal(down.peer, `${CONTROLLER}@${organization}.Provider`);
        }
        const { services } = await lab.shell.ask<SystemView>(branch, 'show system status');
        const control = services.find(({ service }) => service === 'branch')!;
        assert.notEqual(control.state, 'up');
        assert.match(control.detail, /controller-1-Profile/);
        await lab.logSays(branch, 'ztp', /Control tunnels are down.*cause=/);
      }
      for (const stream of streams) {
        const { sent, received } = await stream.end();
        assert.equal(received, sent);
      }
    },
  },
  {
    name: 'a Controller that starts again while Director is dead serves its branches from what it knows, and IKE and BGP come back by themselves',
    async prove(lab) {
      const stream = await lab.stream('tenant2-branch1', 'tenant2-branch2', '10.2.0.10', 100);
      lab.onboarding.startNode(CONTROLLER);
      await controlPlaneIsUp(lab);
      const { sent, received } = await stream.end();
      assert.equal(received, sent);
      const detail = await lab.until("the Controller's words about Director", async () => (await ztpDetail(lab, CONTROLLER)) || undefined);
      assert.match(detail, /Poll of Director failed: .*172\.16\.100\.10/);
    },
  },
  {
    name: 'Director that starts again is found again by Controller and branches',
    async prove(lab) {
      lab.onboarding.startNode(DIRECTOR);
      await lab.until("the Controller's poll", async () => ((await ztpDetail(lab, CONTROLLER)) === '' ? true : undefined), RETURN_MS);
      const tasks = await lab.until('Director answers', () => lab.onboarding.director.tasks());
      assert.deepEqual(tasks.map(({ status }) => status), ['COMPLETED', 'COMPLETED']);
      await lab.allReach();
    },
  },
];
