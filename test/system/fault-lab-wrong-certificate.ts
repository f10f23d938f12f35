// Loaded into a branch's firmware before its own code: the certificate that Director issued is replaced, for IKE, by one
// with the same names from an authority that nobody trusts.
import { isMainThread } from 'node:worker_threads';
import { BranchControl } from '../../firmware/services/branch.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { createCsr, generateKeyPair } from '../../platform/x509.ts';
import { createAuthorityKeys, openAuthority } from '../../provisioning/authority.ts';

if (isMainThread) {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const apply = BranchControl.prototype.applyConfiguration;
  BranchControl.prototype.applyConfiguration = async function (config) {
    const { provider, device, tenants } = config;
    const authority = openAuthority(provider, await createAuthorityKeys(provider, clock, random), clock, random);
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: device.serial });
    const { certificate } = await authority.issueDevice(csr, { device: device.name, serial: device.serial, siteId: device.siteId, tenants });
    await apply.call(this, config, { certificateChain: [certificate], privateKey });
  };
}
