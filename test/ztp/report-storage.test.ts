// A Controller whose disk is full goes on serving its sites.
import { deepStrictEqual, doesNotThrow } from 'node:assert/strict';
import type { Site } from '../../firmware/services/service.ts';
import { Alarms } from '../../platform/alarms.ts';
import { OperationalError } from '../../platform/errors.ts';
import { SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { ResilientStore } from '../../platform/store-resilient.ts';
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

it('ztp/report-storage lets a box pass when its report cannot be stored', () => {
  const [clock, random] = [new ManualClock(), new SeededRandom(1)];
  const causes: string[] = [];
  const store = new ResilientStore({ open: () => FULL, clock, random, onLosing: (_cause, nextStep) => void causes.push(nextStep), onKept: () => undefined });
  const log = new SinkLog([], () => 0);
  const site = { clock, random, log, alarms: new Alarms(log.channel('alarms'), () => 0), store } as unknown as Site;
  const hooks = { applyConfiguration: async () => undefined, applyDirectory: () => undefined, orderRekey: () => undefined, revocations: () => undefined };
  const agent = createControllerAgent({ site, hooks, serial: 'C1', softwareVersion: '0.1.0', revocationPolicy: 'soft', enrolment: undefined, transport: {} as DirectorTransport });
  const endpoint = { address: '192.0.2.1', port: 500 };
  doesNotThrow(() => agent.branchConnect({ serial: 'S1', tenant: 1, stagingIdentity: 'x@staging.example', observedEndpoint: endpoint, temporaryAddress: '10.0.0.1' }));
  deepStrictEqual(causes, ['free space on that file system']);
});
