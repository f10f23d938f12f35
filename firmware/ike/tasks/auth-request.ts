// The first IKE_AUTH request: who we are, our configuration wishes, the first child.
import { ownRow } from '../exchanges.ts';
import type { Request } from '../task.ts';
import { AuthRequest } from './auth.ts';
import { ChildRequest } from './child.ts';
import { ConfigRequest } from './config.ts';

export function authRequest(): Request {
  return { row: ownRow('auth'), tasks: [new AuthRequest(), new ConfigRequest(), new ChildRequest({ kind: 'first' })] };
}
