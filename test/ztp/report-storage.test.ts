// A Controller whose disk is full goes on serving its sites.
import { doesNotThrow } from 'node:assert/strict';
import type { Site } from '../../firmware/services/service.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import type { Store } from '../../platform/store.ts';
import { createControllerAgent } from '../../provisioning/ztp/controller-agent.ts';
import type { DirectorTransport } from '../../provisioning/ztp/director-transport.ts';
import { ManualClock } from '../services/manual-clock.ts';

const FULL: Store = {
  read: () => undefined,
  write: () => {
    throw new OperationalError('store-ENOSPC', 'the state directory could not write: no space is left', 'free space on that file system');
  },
  remove: () => undefined,
  list: () => [],
};

it('ztp/report-storage lets a refused box pass when its report cannot be stored', () => {
  const site = { clock: new ManualClock(), random: new SeededRandom(1), log: new SinkLog([], () => 0), store: FULL } as unknown as Site;
  const hooks = { applyConfiguration: async () => undefined, applyDirectory: () => undefined, orderRekey: () => undefined, revocations: () => undefined };
  const agent = createControllerAgent({ site, hooks, serial: 'C1', revocationPolicy: 'soft', enrolment: undefined, transport: {} as DirectorTransport });
  doesNotThrow(() => agent.branchFailed({ stage: 'staging', identity: 'x@staging.example', serial: 'S1', cause: 'the key is wrong' }));
});
