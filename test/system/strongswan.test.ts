// The counterparts by themselves: strongSwan of this release with strongSwan of the next one.
import { strict as assert } from 'node:assert';
import { encodePem } from '../../platform/pem.ts';
import { SystemRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { hostCommand } from '../../provisioning/lab/host-command.ts';
import { createAuthority, createCsr, generateKeyPair, issueFromCsr } from '../../platform/x509.ts';
import { debianRoot } from './debian-root.ts';
import { TestNetwork } from './namespaces.ts';
import { Strongswan } from './strongswan.ts';

const LEFT = { outside: '192.0.2.1', inside: '10.101.0.1' };
const RIGHT = { outside: '192.0.2.2', inside: '10.102.0.1' };
type Side = typeof LEFT;


function connection(near: Side, far: Side, authentication: string, secrets: string, encap: boolean): string {
  return `
connections {
  peer {
    version = 2
    local_addrs = ${near.outside}
    remote_addrs = ${far.outside}
    proposals = aes256gcm16-prfsha384-ecp384
    encap = ${encap ? 'yes' : 'no'}
    mobike = no
    ${authentication}
    children {
      net {
        local_ts = ${near.inside}/32
        remote_ts = ${far.inside}/32
        esp_proposals = aes256gcm16
      }
    }
  }
}
${secrets}
`;
}

function withPsk(near: Side, far: Side, psk: string, encap = true): string {
  const authentication = `local { auth = psk \n id = ${near.outside} }\n remote { auth = psk \n id = ${far.outside} }`;
  return connection(near, far, authentication, `secrets { ike { secret = 0x${psk} } }`, encap);
}

function withCertificate(near: Side, far: Side): string {
  const authentication = `local { auth = pubkey \n certs = peer.pem \n id = "${identity(near)}" }\n remote { auth = pubkey \n id = "${identity(far)}" }`;
  return connection(near, far, authentication, '', true);
}

function identity(side: Side): string {
  return `${side.outside}@peers.example`;
}

/** Issues certificates of one new authority, as the files that swanctl expects. */
async function certificates(): Promise<(side: Side) => Promise<Record<string, string>>> {
  const unixMs = new SystemClock().unixMs();
  const authority = await createAuthority({ commonName: 'Counterpart CA', unixMs, days: 1 });
  return async (side) => {
    const { privateKey } = await generateKeyPair('ecdsa-p256');
    const csr = await createCsr({ privateKey, subject: side.outside });
    const certificate = await issueFromCsr(authority, csr, {
      subject: side.outside,
      emails: [identity(side)],
      uris: [],
      dnsNames: [],
      ipAddresses: [],
      days: 1,
      unixMs,
      serialNumber: side === LEFT ? '02' : '03',
      client: false,
      server: false,
    });
    return {
      'x509ca/root.pem': encodePem('CERTIFICATE', authority.certificate),
      'x509/peer.pem': encodePem('CERTIFICATE', certificate),
      'private/peer.pem': encodePem('PRIVATE KEY', privateKey),
    };
  };
}

describe('strongSwan as a counterpart', function () {
  this.timeout(700_000);
  const psk = Buffer.from(new SystemRandom().bytes(32)).toString('hex');
  let newer: string;
  let network: TestNetwork;
  let left: string;
  let right: string;
  let running: Strongswan[];

  before(() => {
    newer = debianRoot('trixie');
  });

  beforeEach(() => {
    running = [];
    network = new TestNetwork();
    left = network.addNamespace('left');
    right = network.addNamespace('right');
    network.addVeth({ namespace: left, device: 'wan', addresses: [`${LEFT.outside}/24`] }, { namespace: right, device: 'wan', addresses: [`${RIGHT.outside}/24`] });
    network.run(left, ['ip', 'address', 'add', `${LEFT.inside}/32`, 'dev', 'lo']);
    network.run(right, ['ip', 'address', 'add', `${RIGHT.inside}/32`, 'dev', 'lo']);
  });

  afterEach(async () => {
    for (const daemon of running) await daemon.stop();
    await network.close();
  });

  async function start(options: Omit<Parameters<typeof Strongswan.start>[0], 'network'>): Promise<Strongswan> {
    const daemon = await Strongswan.start({ network, ...options });
    running.push(daemon);
    return daemon;
  }

  function assertTraffic(): void {
    const ping = network.attempt(left, ['ping', '-c', '2', '-W', '5', '-I', LEFT.inside, RIGHT.inside], 20_000);
    assert.equal(ping.status, 0, ping.stdout + ping.stderr);
  }

  it('5.9 and 6.0 agree with a pre-shared key and carry traffic in UDP', async () => {
    const older = await start({ namespace: left, swanctl: withPsk(LEFT, RIGHT, psk) });
    const responder = await start({ namespace: right, swanctl: withPsk(RIGHT, LEFT, psk), root: newer, rawEsp: true });
    // IKE_SA_INIT, IKE_AUTH -->
    await older.initiate('net');
    assertTraffic();
    assert.match(await older.version(), /^5\.9\./);
    assert.match(await responder.version(), /^6\.0\./);
    assert.match(await responder.listSas(), /ESTABLISHED[^]*INSTALLED, TUNNEL-in-UDP/);
    // CREATE_CHILD_SA { N(REKEY_SA) } -->
    await older.rekey({ child: 'net' });
    await responder.awaitLog(/closing CHILD_SA/, 10_000);
    assertTraffic();
  });

  it('two of 6.0 carry bare ESP', async () => {
    const initiator = await start({ namespace: left, swanctl: withPsk(LEFT, RIGHT, psk, false), root: newer, rawEsp: true });
    await start({ namespace: right, swanctl: withPsk(RIGHT, LEFT, psk, false), root: newer, rawEsp: true });
    await initiator.initiate('net');
    assertTraffic();
    assert.match(await initiator.listSas(), /INSTALLED, TUNNEL, /);
  });

  it('5.9 and 6.0 agree with certificates', async () => {
    const issue = await certificates();
    const older = await start({ namespace: left, swanctl: withCertificate(LEFT, RIGHT), files: await issue(LEFT) });
    await start({ namespace: right, swanctl: withCertificate(RIGHT, LEFT), files: await issue(RIGHT), root: newer, rawEsp: true });
    await older.initiate('net');
    assertTraffic();
  });

  it('reports the log of a counterpart that refuses', async () => {
    const older = await start({ namespace: left, swanctl: withPsk(LEFT, RIGHT, psk) });
    await start({ namespace: right, swanctl: withPsk(RIGHT, LEFT, '00'.repeat(32)), root: newer });
    await assert.rejects(older.initiate('net', 5), /AUTHENTICATION_FAILED/);
  });

  it('leaves no namespace and no process', async () => {
    const older = await start({ namespace: left, swanctl: withPsk(LEFT, RIGHT, psk) });
    await older.stop();
    assert.equal(hostCommand('ip', ['netns', 'pids', left]), '');
    await network.close();
    assert.ok(!hostCommand('ip', ['netns', 'list']).includes(left));
    network = new TestNetwork();
  });
});
