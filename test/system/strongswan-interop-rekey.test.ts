// Rekeys of child and IKE SAs with strongSwan, begun by either end, under a stream of pings.
import { strict as assert } from 'node:assert';
import { SystemRandom } from '../../platform/random.ts';
import { sleep } from '../../platform/time.ts';
import { debianRoot } from './debian-root.ts';
import { InteropLab } from './strongswan-interop-lab.ts';

/** Traffic before, between and after the rekeys. */
const PAUSE_MS = 300;

describe('Rekeying with strongSwan', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');

  /** Each rekey's own events say that it has happened; the former child goes after it. */
  const REKEYS: Readonly<Record<string, (lab: InteropLab) => Promise<void>>> = {
    'a child by our end': async (lab) => {
      lab.ours.command('rekey-child');
      await childRekeyed(lab, true);
    },
    'a child by strongSwan': async (lab) => {
      lab.theirs.rekey({ child: 'net' });
      await childRekeyed(lab, false);
    },
    'the IKE SA by our end': async (lab) => {
      lab.ours.command('rekey-ike');
      await lab.ours.event('ike-rekeyed');
    },
    'the IKE SA by strongSwan': async (lab) => {
      lab.theirs.rekey({ ike: 'peer' });
      await lab.ours.event('ike-rekeyed');
    },
    'a child by our end, under the newest IKE SA': async (lab) => {
      lab.ours.command('rekey-child');
      await childRekeyed(lab, true);
    },
  };

  async function childRekeyed(lab: InteropLab, initiator: boolean): Promise<void> {
    const child = await lab.ours.event('child-up', 10_000, (event) => event.replaces !== undefined);
    assert.equal(child.initiator, initiator);
    await lab.ours.event('child-down', 10_000, (event) => event.child === child.replaces);
  }

  for (const release of ['5.9', '6.0'] as const) {
    it(`${release}: loses nothing`, () =>
      new InteropLab().judge(async (lab) => {
        const root = release === '6.0' ? { root: debianRoot('trixie') } : { connection: 'encap = yes\n mobike = no' };
        // Perfect forward secrecy in the rekeys: the KE payload goes both ways.
        await lab.start({ role: 'initiator', credential: { kind: 'psk', psk } }, { ...root, credential: { psk }, espProposals: 'aes256gcm16-x25519' });
        await lab.awaitUp();
        lab.assertPing('ours', 64);
        const losses: string[] = [];
        for (const [what, rekey] of Object.entries(REKEYS)) {
          const { answered, lost } = await lab.pingDuring(async () => {
            await sleep(PAUSE_MS);
            await rekey(lab);
            await sleep(PAUSE_MS);
          });
          assert.ok(answered > 30, `${answered} pings were answered during the rekey of ${what}`);
          if (lost > 0) losses.push(`${what}: ${lost} of ${answered + lost}`);
        }
        assert.deepEqual(losses, []);
        assert.deepEqual(lab.ours.unseen('ike-down'), []);
        await lab.assertTraffic();
      }));
  }
});
