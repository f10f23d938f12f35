// A tenant that is removed leaves nothing behind that would keep it or wake it.
import { deepStrictEqual } from 'node:assert/strict';
import type { DeviceConfiguration } from '../../firmware/configuration.ts';
import type { ForwardingService } from '../../firmware/services/forwarding.ts';
import type { Site } from '../../firmware/services/service.ts';
import { TenantService } from '../../firmware/services/tenant.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { SinkLog } from '../../platform/log.ts';
import { SeededRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { ManualClock } from './manual-clock.ts';
import { CONFIGURATION } from '../ztp/configuration-fixture.ts';

class KeylessSuite extends RealSuite {
  override certificatePublicKey(): Uint8Array {
    return new Uint8Array(91);
  }
}

it('services/tenant no longer listens to the forwarder after it was removed', async () => {
  const site = { clock: new ManualClock(), random: new SeededRandom(1), suite: new KeylessSuite(), log: new SinkLog([], () => 0), store: new MemoryStore() } as unknown as Site;
  const listening = new Set<string>();
  const subscribe = (what: string) => (): (() => void) => {
    listening.add(what);
    return () => void listening.delete(what);
  };
  const forwarding = { onEvent: subscribe('events'), onState: subscribe('states'), idFor: () => 1, setPart: () => undefined, removePart: () => undefined, flush: () => undefined, nextSaId: () => 1 };
  const config: DeviceConfiguration = CONFIGURATION;
  const identity = { certificateChain: [new Uint8Array(1)], privateKey: new Uint8Array(1) };
  const tenant = new TenantService(site, forwarding as unknown as ForwardingService, { config, circuits: config.circuits, tenant: config.tenants[0]!, identity, bootCount: 1, revocation: () => undefined, revocationOrdered: () => undefined, changed: () => undefined });
  deepStrictEqual([...listening], ['events', 'states']);
  await tenant.remove();
  deepStrictEqual([...listening], []);
});
