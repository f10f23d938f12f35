// A branch that is no longer trusted. Nothing that comes after may need it.
import { strict as assert } from 'node:assert';
import type { DynamicTunnelView, IkeSaView } from '../../firmware/views.ts';
import { CONTROLLER } from './fault-lab.ts';
import type { Fact, FaultLab } from './fault-lab.ts';

const REVOKED = 'branch-2';
const ORGANIZATIONS = ['Provider', 'Acme', 'Globex'];

async function branchSas(lab: FaultLab, organization: string): Promise<readonly IkeSaView[]> {
  const all = await lab.shell.ask<readonly IkeSaView[]>(CONTROLLER, `show orgs org-services ${organization} ipsec vpn-profile Branches-Profile ike security-associations`);
  return all.filter(({ peer }) => peer === `${REVOKED}@${organization}.Provider`);
}

export const REVOCATION_FACTS: readonly Fact[] = [
  {
    name: 'a revoked branch loses its IKE SAs, its BGP and its SAs with the other branch, and is refused by its certificate when it comes again',
    async prove(lab) {
      const since = { [CONTROLLER]: lab.log(CONTROLLER, 'ipsec').length, 'branch-1': lab.log('branch-1', 'ipsec').length };
      await lab.onboarding.director.revokeSite(REVOKED);
      await lab.logSays(CONTROLLER, 'ztp', /Revocation list received.*revoked=[1-9]/);
      for (const organization of ORGANIZATIONS) {
        await lab.until(`no IKE SA with ${REVOKED} in ${organization}`, async () => ((await branchSas(lab, organization)).every(({ state }) => state === 'down') ? true : undefined));
      }
      await lab.logSays('branch-1', 'ipsec', /SAs of a revoked peer ended.*branch-2/, since['branch-1']);
      const tunnels = await lab.shell.ask<readonly DynamicTunnelView[]>('branch-1', 'show interfaces dynamic-tunnels');
      assert.deepEqual(tunnels.filter(({ peer, state }) => peer === REVOKED && state === 'up'), []);
      await lab.logSays(CONTROLLER, 'ipsec', /IKE request refused.*answer=AUTHENTICATION_FAILED cause="peer's certificate was revoked on/, since[CONTROLLER]);
    },
  },
];
