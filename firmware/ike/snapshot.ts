// The endpoint's state as plain data, for `show`.
import { childAlgorithmsText } from './algorithms.ts';
import { childSpis } from './child-sa.ts';
import type { IkeSa } from './ike-sa.ts';
import type { IkeSnapshot } from './input-output.ts';

export function snapshotOf(sas: readonly IkeSa[]): IkeSnapshot {
  return {
    // A closed one only repeats its last reply.
    ikeSas: sas.filter((sa) => sa.state !== 'closed').map((sa) => ({
      ikeSa: sa.number,
      profile: sa.profile.name,
      tenant: sa.profile.tenant,
      role: sa.origin.role,
      state: sa.state,
      peer: sa.peerText,
      local: sa.path.local,
      remote: sa.path.remote,
      natt: sa.path.natt,
      spis: sa.spis,
      suite: sa.suiteText,
      children: [...sa.children.values()].map((child) => ({
        child: child.number,
        spis: childSpis(child),
        suite: childAlgorithmsText(child.algorithms),
        state: child.state,
        vxlanVni: child.vxlanVni,
      })),
    })),
  };
}
