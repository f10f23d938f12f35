// A branch behind a NAT box that gives it its WAN address by DHCP: what happens when that address changes or is lost, while
// it stages and when it is onboarded.
import { strict as assert } from 'node:assert';
import type { AlarmView, WanInterfaceView } from '../../firmware/views.ts';
import { CONTROLLER, DIRECTOR } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

const BRANCH = 'branch-2';
const STOP_MS = 10_000;
/** The client asks its server every 5 s, and all servers after 7. */
const CHANGE_MS = 30_000;
const [FIRST, SECOND, THIRD] = ['192.168.2.2', '192.168.2.22', '192.168.2.33'] as const;

function wan(lab: FaultLab): Promise<readonly WanInterfaceView[]> {
  return lab.shell.ask<readonly WanInterfaceView[]>(BRANCH, 'show interfaces wan');
}

async function hasAddress(lab: FaultLab, address: string): Promise<void> {
  await lab.until(`${BRANCH} has ${address}`, async () => ((await wan(lab))[0]?.address === `${address}/24` ? true : undefined), CHANGE_MS);
}

/** While the branch stages. Leaves it stopped, as it was. */
export const STAGING_ADDRESS_FACT: Fact = {
  name: 'a staging tunnel goes on from the other address that DHCP gives the branch, by MOBIKE',
  async prove(lab) {
    const server = lab.network.addressServer(BRANCH);
    await lab.network.node(DIRECTOR).kill();
    const since = { ipsec: lab.log(BRANCH, 'ipsec').length, ztp: lab.log(BRANCH, 'ztp').length, controller: lab.log(CONTROLLER, 'ipsec').length };
    lab.onboarding.startNode(BRANCH);
    try {
      await lab.logSays(BRANCH, 'ztp', /Staging tunnel is up/, since.ztp);
      const up = lab.log(BRANCH, 'ztp').length;
      await server.serve({ addresses: [SECOND] });
      assert.match(await lab.logSays(BRANCH, 'ipsec', /IKE SA moved to other addresses/, since.ipsec), /local=192\.168\.2\.22:4500/);
      await lab.logSays(CONTROLLER, 'ipsec', /IKE SA moved to other addresses/, since.controller);
      // What the tunnel carries still arrives: Director is away, and so says the Controller's host.
      await lab.logSays(BRANCH, 'ztp', /Request to Director failed/, up);
      assert.deepEqual(lab.lines(BRANCH, 'ipsec', /IKE SA deleted|IKE Failed/, since.ipsec), []);
      assert.deepEqual(lab.lines(BRANCH, 'ztp', /Staging tunnel is down/, up), []);
    } finally {
      await lab.network.node(BRANCH).stop(STOP_MS);
      await server.serve({ addresses: [FIRST] });
      lab.onboarding.startNode(DIRECTOR);
    }
  },
};

export const ADDRESS_FACTS: readonly Fact[] = [
  {
    name: 'traffic between branches goes on when the DHCP server gives a branch another address',
    async prove(lab) {
      const [before] = await wan(lab);
      assert.deepEqual([before!.method, before!.state, before!.gateway], ['DHCP', 'up', '192.168.2.1']);
      await lab.network.addressServer(BRANCH).serve({ addresses: [SECOND] });
      await hasAddress(lab, SECOND);
      await lab.allReach();
    },
  },
  {
    name: 'a branch whose lease is lost says so with cause and next step, by an alarm too, and recovers when the server is back',
    async prove(lab) {
      const server = lab.network.addressServer(BRANCH);
      await server.serve({ addresses: [] });
      const alarm = await lab.until('the alarm', async () => (await lab.shell.ask<readonly AlarmView[]>(BRANCH, 'show alarms')).find(({ name }) => name === 'circuit-without-address'), 60_000);
      assert.deepEqual([alarm.object, alarm.severity, alarm.cause], ['vni-0/0 IPv4', 'major', 'no DHCP server gives vni-0/0 an address']);
      const [row] = await wan(lab);
      assert.deepEqual([row!.state, row!.address], ['waiting', '-']);
      assert.match(row!.cause, /no DHCP server gives vni-0\/0 an address; check the DHCP server/);
      await server.serve({ addresses: [THIRD] });
      await hasAddress(lab, THIRD);
      await lab.allReach(60_000);
      assert.ok(!(await lab.shell.ask<readonly AlarmView[]>(BRANCH, 'show alarms')).some(({ name }) => name === 'circuit-without-address'));
    },
  },
];
