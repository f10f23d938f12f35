// Suites: those beyond the usual one, each with its rekeys, and what becomes of a first guess that the other end does
// not share.
import { strict as assert } from 'node:assert';
import type { AeadCipher, CbcChildProposal, IkeProposal } from '../../../firmware/ike/algorithms.ts';
import type { PeerSettings } from '../../system/ike-peer.ts';
import type { InteropLab } from '../lab.ts';
import { ROLES } from '../row.ts';
import type { Row } from '../row.ts';

const AES_CBC = 'aes256-sha384-prfsha384-x25519';
/** Small enough that most messages go in fragments. */
const FRAGMENT_BYTES = 250;

/** strongSwan's names, and ours. */
const SUITES: readonly (readonly [ike: string, esp: string, settings: PeerSettings])[] = [
  ['aes128gcm16-prfsha256-ecp256', 'aes128gcm16', aead('aes-128-gcm-16', 'sha256', 19)],
  ['aes256gcm16-prfsha384-ecp384', 'aes256gcm16', aead('aes-256-gcm-16', 'sha384', 20)],
  ['aes256gcm16-prfsha512-ecp521', 'aes256gcm16', aead('aes-256-gcm-16', 'sha512', 21)],
  ['chacha20poly1305-prfsha256-x25519', 'chacha20poly1305', aead('chacha20-poly1305', 'sha256', 31)],
  ['chacha20poly1305-prfsha512-modp4096', 'chacha20poly1305', { ...aead('chacha20-poly1305', 'sha512', 16), fragmentBytes: FRAGMENT_BYTES }],
  ['aes128gcm16-prfsha512-modp2048', 'chacha20poly1305', aead('aes-128-gcm-16', 'sha512', 14, 'chacha20-poly1305')],
  ['aes128-sha256-prfsha256-modp3072', 'aes128gcm16', suite({ encryption: ['aes-128-cbc'], integrity: ['hmac-sha256-128'], prf: ['sha256'], groups: [15] }, 'aes-128-gcm-16')],
  ['aes192-sha512-prfsha512-x448', 'chacha20poly1305', suite({ encryption: ['aes-192-cbc'], integrity: ['hmac-sha512-256'], prf: ['sha512'], groups: [32] }, 'chacha20-poly1305')],
  ['aes128-sha256-prfsha256-ecp256', 'aes128-sha256', suite({ encryption: ['aes-128-cbc'], integrity: ['hmac-sha256-128'], prf: ['sha256'], groups: [19] }, { encryption: ['aes-128-cbc'], integrity: ['hmac-sha256-128'] })],
  ['aes256-sha512-prfsha512-modp2048', 'aes256-sha512', suite({ encryption: ['aes-256-cbc'], integrity: ['hmac-sha512-256'], prf: ['sha512'], groups: [14] }, { encryption: ['aes-256-cbc'], integrity: ['hmac-sha512-256'] })],
  ['aes256gcm16-prfsha256-x25519', 'aes192-sha384', suite({ encryption: ['aes-256-gcm-16'], prf: ['sha256'], groups: [31] }, { encryption: ['aes-192-cbc'], integrity: ['hmac-sha384-192'] })],
  [
    AES_CBC,
    'aes256gcm16',
    { ...suite({ encryption: ['aes-256-cbc'], integrity: ['hmac-sha384-192'], prf: ['sha384'], groups: [31] }, 'aes-256-gcm-16'), fragmentBytes: FRAGMENT_BYTES },
  ],
];

function suite(ike: IkeProposal, esp: AeadCipher | Pick<CbcChildProposal, 'encryption' | 'integrity'>): PeerSettings {
  const protection = typeof esp === 'string' ? { encryption: [esp] } : esp;
  return { proposals: [ike], childProposals: [{ ...protection, esn: [true, false], groups: ike.groups, pfs: 'required' }] };
}

function aead(encryption: AeadCipher, prf: IkeProposal['prf'][number], group: IkeProposal['groups'][number], esp = encryption): PeerSettings {
  return suite({ encryption: [encryption], prf: [prf], groups: [group] }, esp);
}

/** Rekeys child and IKE SA by our end. */
async function rekeyBoth(lab: InteropLab): Promise<void> {
  await lab.ping('ours');
  lab.ours.command('rekey-child');
  await lab.awaitChildRekeyed();
  lab.ours.command('rekey-ike');
  await lab.ours.event('ike-rekeyed');
}

export const ALGORITHM_ROWS: readonly Row[] = [
  {
    name: 'ML-KEM hybrid',
    roles: ROLES,
    counterparts: ['6.1'],
    path: 'direct',
    ends: 'up',
    always: [{ role: 'initiator', release: '6.1' }],
    run: async (lab) => {
      await lab.start({}, { ikeProposals: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768' });
      const { ike } = await lab.awaitUp();
      assert.equal(ike.suite, 'aes-256-gcm-16/prf-sha384/group-31/ml-kem-768');
    },
  },
  {
    name: 'ML-KEM hybrid, and its rekeys',
    roles: ROLES,
    counterparts: ['6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { ikeProposals: 'aes256gcm16-prfsha384-x25519-ke1_mlkem768', espProposals: 'aes256gcm16-x25519-ke1_mlkem768' });
      await lab.awaitUp();
      await lab.ping('ours');
      const ikeRekeyed = async (): Promise<void> => assert.equal((await lab.ours.event('ike-rekeyed')).suite, 'aes-256-gcm-16/prf-sha384/group-31/ml-kem-768');
      const stream = await lab.pingDuring(async () => {
        lab.ours.command('rekey-child');
        await lab.awaitChildRekeyed();
        await lab.theirs.rekey({ child: 'net' });
        await lab.awaitChildRekeyed();
        lab.ours.command('rekey-ike');
        await ikeRekeyed();
        await lab.theirs.rekey({ ike: 'peer' });
        await ikeRekeyed();
      });
      lab.assertNothingLost(stream, 'rekeys');
      assert.match(lab.theirs.log(), /parsed IKE_FOLLOWUP_KE request/);
      assert.match(lab.theirs.log(), /parsed IKE_FOLLOWUP_KE response/);
      assert.match(lab.theirs.log(), /selected proposal: ESP:\S+\/KE1_ML_KEM_768/);
    },
  },
  {
    name: 'another group (INVALID_KE_PAYLOAD)',
    roles: ROLES,
    counterparts: ['5.9', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      // IKE_SA_INIT KE(first) -->   <-- N(INVALID_KE_PAYLOAD)   IKE_SA_INIT KE(other) -->
      const [theirs, group] = lab.role === 'initiator' ? ['aes256gcm16-prfsha384-ecp384-ecp256', 20] : ['aes256gcm16-prfsha384-ecp521-ecp384', 20];
      const settings = lab.role === 'initiator' ? {} : { proposals: aead('aes-256-gcm-16', 'sha384', 20).proposals! };
      await lab.start({ settings }, { ikeProposals: theirs });
      const { ike } = await lab.awaitUp();
      assert.equal(ike.suite, `aes-256-gcm-16/prf-sha384/group-${group}`);
      assert.match(lab.theirs.log(), /IKE_SA_INIT response 0 \[ N\(INVAL_KE\) \]/);
    },
  },
  {
    name: "both ends' own proposals",
    roles: ROLES,
    counterparts: ['5.9', '6.0', '6.1'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({}, { ikeProposals: 'default', espProposals: 'default' });
      await lab.awaitUp();
      await rekeyBoth(lab);
    },
  },
  {
    name: 'legacy: aes256-sha1-modp1024',
    roles: ROLES,
    counterparts: ['5.9', '6.0'],
    path: 'direct',
    ends: 'up',
    run: async (lab) => {
      await lab.start({ settings: { legacy: true } }, { ikeProposals: 'aes256-sha1-modp1024', espProposals: 'aes256-sha1-modp1024' });
      const { ike, child } = await lab.awaitUp();
      assert.equal(ike.suite, 'aes-256-cbc/hmac-sha1-96/prf-sha1/group-2');
      assert.equal(child.inbound.suite, 'aes-256-cbc/hmac-sha1-96');
      await rekeyBoth(lab);
    },
  },
  ...SUITES.map(
    ([ike, esp, settings]): Row => ({
      name: `${ike}, ESP ${esp}`,
      roles: ROLES,
      counterparts: ['6.0'],
      path: 'direct',
      ends: 'up',
      ...(ike === AES_CBC || esp === 'aes128-sha256' ? { always: [{ role: ike === AES_CBC ? 'responder' : 'initiator', release: '6.0' }] } : {}),
      run: async (lab) => {
        const group = ike.slice(ike.lastIndexOf('-'));
        await lab.start({ settings }, { ikeProposals: ike, espProposals: `${esp}${group}` });
        await lab.awaitUp();
        await rekeyBoth(lab);
      },
    }),
  ),
];
