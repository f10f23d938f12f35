// Runs inside the lab's enclosure: records the lab's WAN while boxes without firmware send what is sealed, what is clear
// and what leaks. Writes the findings to the file given as argument.
import { createSocket } from 'node:dgram';
import { mkdirSync, writeFileSync } from 'node:fs';
import { SeededRandom } from '../../platform/random.ts';
import { SystemClock } from '../../platform/time.ts';
import { enclosedRunDirectory, settleInside } from '../../provisioning/lab/enclosure.ts';
import { readInside } from '../../provisioning/lab/decryption-check.ts';
import { HOST_PORT, LabNetwork } from '../../provisioning/lab/network.ts';
import { labTopology } from '../../provisioning/lab/topology.ts';
import { auditCapture } from '../../provisioning/lab/wan-audit.ts';
import type { WanAudit } from '../../provisioning/lab/wan-audit.ts';
import { WanCapture } from '../../provisioning/lab/wan-capture.ts';
import type { CaptureEnd } from '../../provisioning/lab/wan-capture.ts';
import { espPacket, ipv4Packet, udpDatagram } from './packet-capture.ts';

const OVERLAY_PORT = 4790;
const BRANCH_1 = '198.51.100.18';
const BRANCH_2 = '198.51.100.34';
const ROLES = { branches: ['branch-1', 'branch-2'], controllers: ['controller-1'] };
const random = new SeededRandom('lab-capture');
const key = { spi: 0x1000_0001, keyAndSalt: random.bytes(36) };

export interface CaptureFindings {
  readonly sealed: WanAudit;
  readonly leaking: WanAudit;
  readonly ends: readonly CaptureEnd[];
  readonly sameEnds: boolean;
  readonly withKeys: readonly string[];
  readonly withoutKeys: number;
}

/** Sends each datagram of `hex` once from the overlay's port. */
async function send(address: string, hex: string): Promise<void> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(OVERLAY_PORT, resolve));
  for (const datagram of hex.split(',')) await new Promise((resolve) => socket.send(Buffer.from(datagram, 'hex'), OVERLAY_PORT, address, resolve));
  socket.close();
}

function overlay(next: number, payload: Uint8Array): string {
  return Buffer.concat([Buffer.from([0x0c, 0x81, 0, 0xfb, 0, 1, 0x12, 0, 0, 1, 0, next, 0, 0, 0, 0]), payload]).toString('hex');
}

function lanPacket(): Uint8Array {
  const packet = ipv4Packet(17, '10.1.0.10', '10.2.0.10', udpDatagram(1111, HOST_PORT, Buffer.from('who\n')));
  return Buffer.concat([Buffer.from('0000884700400140', 'hex'), packet]);
}

function sealedPackets(): string {
  return Array.from({ length: 30 }, (_, i) => overlay(0xfc, espPacket(key, BigInt(i + 1), false, 47, lanPacket()))).join(',');
}

function configureBoxes(network: LabNetwork): void {
  const boxes = [['controller-1', '198.51.100.2/28', '198.51.100.1'], ['branch-1', `${BRANCH_1}/28`, '198.51.100.17'], ['branch-2', '192.168.2.2/24', '192.168.2.1']] as const;
  for (const [box, address, gateway] of boxes) {
    network.node(box).run(['ip', '-batch', '-'], `link set vni-0_0 up\naddress add ${address} dev vni-0_0\nroute add default via ${gateway}\n`);
  }
}

async function probe(): Promise<CaptureFindings> {
  const directory = enclosedRunDirectory()!;
  const network = await LabNetwork.create(labTopology(), { natPolicy: 'accept', runDirectory: directory });
  configureBoxes(network);
  const self = [process.execPath, '--disable-warning=ExperimentalWarning', import.meta.filename, 'send'];
  const capture = async (sends: readonly (readonly [box: string, address: string, hex: string])[]): Promise<{ capture: WanCapture; audit: WanAudit; ends: CaptureEnd[] }> => {
    const running = await WanCapture.start(network.topology, directory, new SystemClock());
    for (const [box, address, hex] of sends) network.node(box).run([...self, address, hex]);
    const ends = await running.stop();
    return { capture: running, ends, audit: auditCapture(network.topology, running.wires, ends, ROLES) };
  };
  const bothWays = [['branch-1', BRANCH_2, sealedPackets()], ['branch-2', BRANCH_1, sealedPackets()]] as const;
  const sealed = await capture(bothWays);
  const file = sealed.capture.wires.find(({ sender }) => sender === 'branch-1')!.file;
  const withKeys = readInside(file, keyedHome(directory), '10.1.0.10', '10.2.0.10');
  const withoutKeys = readInside(file, directory, '10.1.0.10', '10.2.0.10').length;
  const leaking = await capture([...bothWays, ['branch-2', BRANCH_1, overlay(0xfd, lanPacket())]]);
  const sameEnds = (await sealed.capture.stop()) === sealed.ends;
  return { sealed: sealed.audit, leaking: leaking.audit, ends: sealed.ends, sameEnds, withKeys: withKeys.map(({ protocols, vni }) => `${vni} ${protocols.join(':')}`), withoutKeys };
}

function keyedHome(directory: string): string {
  const home = `${directory}/keyed`;
  const table = `${home}/.config/wireshark`;
  mkdirSync(table, { recursive: true });
  const hex = Buffer.from(key.keyAndSalt).toString('hex');
  writeFileSync(`${table}/esp_sa`, `"IPv4","*","*","0x10000001","AES-GCM with 16 octet ICV [RFC4106]","0x${hex}","NULL",""\n`);
  return home;
}

if (import.meta.main) {
  if (process.argv[2] === 'send') await send(process.argv[3]!, process.argv[4]!);
  else {
    settleInside();
    writeFileSync(process.argv[2]!, JSON.stringify(await probe()));
  }
  process.exit(0);
}
