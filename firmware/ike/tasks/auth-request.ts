// The first IKE_AUTH request: who we are, our configuration wishes, the first child.
import { ownRow } from '../exchanges.ts';
import type { IkeSa } from '../ike-sa.ts';
import { LeaveFormer } from '../succession.ts';
import type { Request } from '../task.ts';
import { AuthRequest } from './auth.ts';
import { ChildRequest } from './child.ts';
import { ChildLater } from './childless.ts';
import { ConfigRequest } from './config.ts';
import { eapRequest } from './eap-request.ts';
import { MobikeSupport } from './mobike.ts';

export function authRequest(sa: IkeSa): Request {
  if (sa.profile.localAuth.kind === 'eap') return eapRequest();
  const child = sa.profile.childless && sa.extensions.childless ? new ChildLater() : new ChildRequest({ kind: 'first' });
  return { row: ownRow('auth'), tasks: [new AuthRequest(), new ConfigRequest(), new MobikeSupport(), child, new LeaveFormer()] };
}
