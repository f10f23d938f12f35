// Whether a bundle may be installed, before a byte of it is written to a slot.
import { OperationalError } from '../../platform/errors.ts';
import { compareVersions } from '../../platform/version-order.ts';

/** From the signed manifest. */
export interface BundleFacts {
  readonly compatible: string;
  readonly version: string;
}

export interface BundlePolicy {
  /** `selvage-x86_64`: product and architecture of this box. */
  readonly compatible: string;
  /** The oldest version that may be installed; '' = any. */
  readonly floor: string;
}

const VERSION = /^[A-Za-z0-9._+-]{1,40}$/;

/** Throws OperationalError with the cause of a refusal. */
export function requireInstallable({ compatible, version }: BundleFacts, policy: BundlePolicy): void {
  if (compatible !== policy.compatible) {
    throw new OperationalError('bundle-incompatible', `the bundle is for ${compatible}, this box is ${policy.compatible}`, 'take the bundle of this architecture');
  }
  if (!VERSION.test(version)) throw new OperationalError('bundle-version', 'the bundle names no usable version', 'build the bundle anew');
  if (policy.floor !== '' && compareVersions(version, policy.floor) < 0) {
    throw new OperationalError('bundle-too-old', `the bundle has version ${version}, and nothing older than ${policy.floor} is installed`, 'take a newer bundle; the system in the other slot is reached by: request system rollback');
  }
}
