// One end of the tunnel bench as a process of its own: the product's drivers and its forwarder on its thread, with one
// tunnel of fixed keys, and as many more as it is told. The configuration is JSON on standard input; says `ready` and what
// memory it had before there was a forwarder, and runs until it is killed.
import { createInterface } from 'node:readline';
import { openDrivers } from '../../drivers/open.ts';
import { createWakeup } from '../../drivers/threads.ts';
import { deviceName, encryptedTviName } from '../../firmware/model.ts';
import type { RouteSpec, SaSpec, TunnelSpec } from '../../firmware/model.ts';
import { ForwardingService } from '../../firmware/services/forwarding.ts';
import { ThreadForwarder } from '../../firmware/services/forwarder-thread.ts';
import type { Site } from '../../firmware/services/service.ts';
import { VirtualRouters } from '../../firmware/services/virtual-routers.ts';
import { hostPrefix } from '../../firmware/services/vr-plan.ts';
import { Alarms } from '../../platform/alarms.ts';
import { RealSuite } from '../../platform/crypto-real.ts';
import { formatEvent } from '../../platform/log-line.ts';
import { SinkLog } from '../../platform/log.ts';
import { SystemRandom } from '../../platform/random.ts';
import { MemoryStore } from '../../platform/store.ts';
import { SystemClock } from '../../platform/time.ts';

const TENANT = 1;
const VNI = 0x112;
const OVERLAY_PORT = 4790;
const TUNNEL = 10;
/** What is left of 1500 octets for a packet of the tunnel's inside, and for what ESP carries. */
const INSIDE_MTU = 1400;
const TUNNEL_MTU = 1414;
/** Tunnels besides the first, to peers that are silent, with routes of their own. */
const FIRST_SILENT_TUNNEL = 1000;
const ROUTES_PER_SILENT_PEER = 10;
const MEGABYTE = 2 ** 20;

export interface TunnelEnd {
  /** 1 or 2. */
  readonly end: number;
  readonly wanVr: string;
  readonly vr: string;
  readonly local: string;
  readonly remote: string;
  readonly inside: string;
  readonly otherInside: string;
  readonly workers: number;
  /** Besides the other end. */
  readonly silentPeers: number;
}

function openSite(workers: number): { site: Site; forwarding: ForwardingService } {
  const clock = new SystemClock();
  const sink = { write: (record: Parameters<typeof formatEvent>[0]) => void process.stderr.write(`${formatEvent(record)}\n`), reopen: () => undefined, close: () => undefined };
  const log = new SinkLog([sink], () => clock.unixMs());
  const drivers = openDrivers();
  const site: Site = { name: 'bench', clock, random: new SystemRandom(), suite: new RealSuite(), log, alarms: new Alarms(log.channel('alarms'), () => clock.unixMs()), store: new MemoryStore(), network: drivers.network, kernel: drivers.kernel };
  const handle = new ThreadForwarder({ devices: drivers.devices, clock, log: log.channel('forwarder'), createWakeup, workers });
  return { site, forwarding: new ForwardingService(site, handle) };
}

/** The SA from one end to the other; both ends know both. */
function sa(from: number): SaSpec {
  return {
    id: from, spi: 0x0200_1000 + from, suite: 'aes-256-gcm-16', key: new Uint8Array(32).fill(from & 255), salt: new Uint8Array(4).fill(from & 255), esn: true, windowPackets: 4096,
    softPackets: 2 ** 40, softBytes: 2 ** 50, hardPackets: 2 ** 41, hardBytes: 2 ** 51,
  };
}

/** Tunnel number `peer` of those to silent peers. */
function silentTunnel(peer: number, inside: number, outside: number): TunnelSpec {
  const id = FIRST_SILENT_TUNNEL + 2 * peer;
  return {
    id, tenant: TENANT, peer: `peer ${peer}`, kind: 'vxlan-esp', inside, mtu: TUNNEL_MTU, idleDummyMs: 0,
    paths: [{ outside, remote: { address: `192.0.${peer >> 8}.${peer & 255}`, port: OVERLAY_PORT } }], tx: sa(id), rx: [sa(id + 1)],
  };
}

function silentRoutes(peer: number, inside: number): RouteSpec[] {
  return Array.from({ length: ROUTES_PER_SILENT_PEER }, (_, k) => ({ inside, prefix: `10.${128 + (peer >> 8)}.${peer & 255}.${k * 16}/28`, tunnel: FIRST_SILENT_TUNNEL + 2 * peer, label: 0 }));
}

async function run(config: TunnelEnd): Promise<void> {
  const residentBefore = process.memoryUsage.rss() / MEGABYTE;
  const { site, forwarding } = openSite(config.workers);
  const silent = Array.from({ length: config.silentPeers }, (_, peer) => peer);
  const inside = forwarding.idFor('inside');
  const outside = forwarding.idFor('outside');
  const name = encryptedTviName(TENANT);
  const device = deviceName(name);
  forwarding.setPart('tunnel', {
    tenants: [{ tenant: TENANT, vni: VNI }],
    tunnels: [{
      id: TUNNEL, tenant: TENANT, peer: 'the other end', kind: 'vxlan-esp', inside, mtu: TUNNEL_MTU, idleDummyMs: 0,
      paths: [{ outside, remote: { address: config.remote, port: OVERLAY_PORT } }], tx: sa(config.end), rx: [sa(3 - config.end)],
    }, ...silent.map((peer) => silentTunnel(peer, inside, outside))],
    routes: [{ inside, prefix: hostPrefix(config.otherInside), tunnel: TUNNEL, label: 0 }, ...silent.flatMap((peer) => silentRoutes(peer, inside))],
  });
  await new VirtualRouters(site, forwarding, new Map()).apply('bench', {
    vrs: [{
      vr: config.vr, devices: [{ device, addresses: [hostPrefix(config.inside)], mtu: INSIDE_MTU }],
      routes: [{ prefix: hostPrefix(config.otherInside), device, source: config.inside }], forwarding: false,
    }],
    adoptions: [],
    part: {
      insides: [{ id: inside, tenant: TENANT, kind: 'encrypted-tvi', vr: config.vr, name, mtu: INSIDE_MTU, addresses: [config.inside] }],
      outsides: [{ id: outside, name: 'wan', vr: config.wanVr, addresses: [config.local] }],
    },
  });
  process.stdout.write(`ready ${residentBefore}\n`);
}

const line = await createInterface(process.stdin)[Symbol.asyncIterator]().next();
await run(JSON.parse(line.value as string) as TunnelEnd);
