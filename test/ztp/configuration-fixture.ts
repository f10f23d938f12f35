// One small but complete configuration and prestaging record for the tests of ZTP.
import type { DeviceConfiguration, PrestagingRecord } from '../../firmware/configuration.ts';

export const SERIAL = 'BOX0001';

export const CONFIGURATION: DeviceConfiguration = {
  schema: 1,
  generation: 7,
  device: { name: 'Branch-1', serial: SERIAL, siteId: 100, role: 'branch' },
  provider: 'Provider',
  softwareVersion: '0.1.0',
  director: { addresses: ['203.0.113.5', '203.0.113.6'], port: 8443 },
  trustAnchors: ['AAAA'],
  circuits: [{ id: 1, name: 'vni-0/0', transport: 'INTERNET', addresses: ['192.0.2.10/24'], gateways: ['192.0.2.1'] }],
  tenants: [
    {
      tenant: 1,
      organization: 'Provider',
      vni: 0x111,
      clearAddress: '10.0.0.4',
      encryptedAddress: '10.0.0.3',
      overlayPrefix: '10.0.0.0/8',
      identity: 'Branch-1@Provider.Provider',
      asNumber: 64512,
      routeDistinguisher: '64512:1',
      routeTarget: '64512:1',
      keying: { lifetimeSeconds: 28800, rekeyPercent: 70, groups: [31, 19], suites: ['aes-256-gcm-16'], replayWindowPackets: 4096 },
      controllers: [
        { siteId: 1, name: 'Controller-1', clearAddress: '10.0.0.2', encryptedAddress: '10.0.0.1', identity: 'Controller-1@Provider.Provider', endpoints: [{ transport: 'INTERNET', address: '192.0.2.1' }] },
      ],
      lan: undefined,
    },
  ],
  staging: undefined,
  southbound: undefined,
};

export const RECORD: PrestagingRecord = {
  serial: SERIAL,
  provider: 'Provider',
  circuits: CONFIGURATION.circuits,
  controllers: [{ transport: 'INTERNET', address: '192.0.2.1' }],
  trustAnchorSha256: '00'.repeat(32),
  staging: { localIdentity: 'BOX0001@staging.Provider', remoteIdentity: 'controller@staging.Provider', psk: Buffer.alloc(32, 7).toString('base64'), tenant: 1 },
};
