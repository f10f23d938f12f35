// ZTP may stop staging while the host is still being brought to it.
import { deepStrictEqual } from 'node:assert/strict';
import type { PrestagingRecord } from '../../firmware/configuration.ts';
import { BranchControl } from '../../firmware/services/branch.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { ForwarderHandle } from '../../firmware/services/forwarder-thread.ts';
import type { Site } from '../../firmware/services/service.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ManualClock } from './manual-clock.ts';

const RECORD: PrestagingRecord = {
  serial: 'S1',
  provider: 'Provider',
  circuits: [{ id: 1, name: 'vni-0/0', transport: 'A', addresses: ['192.0.2.1/24'], gateways: [] }],
  controllers: [{ transport: 'A', address: '192.0.2.9' }],
  trustAnchorSha256: '00',
  staging: { localIdentity: 's1@staging.Provider', remoteIdentity: 'c@staging.Provider', psk: 'AAAAAAAAAAAAAAAAAAAAAA==', tenant: 1 },
};

function make(): BranchControl {
  const nothing = async (): Promise<void> => undefined;
  const site = {
    clock: new ManualClock(),
    random: new SeededRandom(1),
    suite: new RealSuite(),
    log: new SinkLog([], () => 0),
    store: new MemoryStore(),
    kernel: { ensureVr: nothing, adoptDevice: nothing, apply: nothing },
    network: { openDatagram: () => ({ send: () => undefined, close: () => undefined }) },
  } as unknown as Site;
  const forwarding = new ForwardingService(site, { apply: () => undefined } as unknown as ForwarderHandle);
  const routers = new VirtualRouters(site, forwarding, new Map([['vni-0/0', 'eth0']]));
  return new BranchControl(site, forwarding, routers, { stagingUp: () => undefined, stagingDown: () => undefined, revocationOrdered: () => undefined, certificateSeen: () => undefined, changed: () => undefined });
}

describe('services/branch staging', () => {
  it('connects when the host is ready', async () => {
    const branch = make();
    await branch.startStaging(RECORD);
    deepStrictEqual(branch.connections.map((c) => c.profile), ['Provider/staging']);
  });

  it('does not connect when staging was stopped before the host was ready', async () => {
    const branch = make();
    const started = branch.startStaging(RECORD);
    branch.stopStaging('the box moves to its post-staging configuration');
    await started;
    deepStrictEqual(branch.connections, []);
  });
});
