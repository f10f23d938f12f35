// A virtual router is a network namespace of the same name.
import { UsageError } from '../platform/errors.ts';

/** Where iproute2 keeps named network namespaces. */
const NAMESPACES = '/run/netns';

const VR_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** Throws a UsageError for a name that would not be a plain file name of its own. */
export function checkVrName(vr: string): string {
  if (!VR_NAME.test(vr)) throw new UsageError(`virtual router ${JSON.stringify(vr)}: letters, digits, dot, underscore, dash only`);
  return vr;
}

export function namespacePath(vr: string): string {
  return `${NAMESPACES}/${checkVrName(vr)}`;
}
