// A Controller of ours with an independent peer that has come up: what the test lets the peer say, and what we answer.
import { equal } from 'node:assert/strict';
import type { IkeInput } from '../../firmware/ike/input-output.ts';
import { SeededRandom } from '../../platform/random.ts';
import { OracleInitiator } from '../oracle/ike-initiator.ts';
import type { OracleSession } from '../oracle/ike-session.ts';
import type { Node, World } from './pair.ts';
import { KEY, pair } from './pair.ts';

export class OracleWorld {
  readonly world: World;
  readonly controller: Node;
  readonly session: OracleSession;
  /** Our inbound SPI of the first child, as the peer sees it. */
  readonly first: Buffer;
  readonly #address: string;

  constructor(former?: OracleWorld, identity = 'b9@acme.example', address = '192.0.2.50') {
    const { world, controller } = former ?? pair({ controller: { dpdMs: 0 } });
    this.world = world;
    this.controller = controller;
    this.#address = address;
    const random = new SeededRandom(identity);
    const oracle = new OracleInitiator(identity, KEY, (length) => random.bytes(length));
    oracle.takeInitAnswer(this.says(oracle.initRequest())[0]!);
    oracle.open(this.says(oracle.authRequest(FIRST_SPI))[0]!);
    this.session = oracle.session;
    this.first = spiOf(controller.of('child-up').at(-1)!.inbound.spi);
  }

  /** Delivers a message of the peer; returns what we send then. */
  says(bytes: Uint8Array): Buffer[] {
    return this.#sent({ kind: 'datagram', socket: 'wan', natt: false, local: { address: this.controller.address, port: 500 }, remote: { address: this.#address, port: 500 }, bytes: new Uint8Array(bytes) });
  }

  /** Gives our end an order; returns what it sends then. */
  orders(input: IkeInput): Buffer[] {
    return this.#sent(input);
  }

  /** The one message that is sent. */
  answerTo(bytes: Uint8Array): Buffer {
    const sent = this.says(bytes);
    equal(sent.length, 1, this.world.story());
    return sent[0]!;
  }

  #sent(input: IkeInput): Buffer[] {
    const before = this.world.packets.length;
    this.world.input(this.controller, input);
    return this.world.packets.slice(before).map(({ send }) => Buffer.from(send.bytes));
  }

  get ikeSa(): number {
    return this.controller.of('ike-up').at(-1)!.ikeSa;
  }

  /** SPIs `inbound/outbound` of the children that live. */
  children(): string[] {
    return this.controller.endpoint.snapshot().ikeSas.flatMap((sa) => sa.children.map((child) => child.spis));
  }

  /** State and SPIs of the IKE SAs that have not ended. */
  ikeSas(): string[] {
    return this.controller.endpoint.snapshot().ikeSas.filter(({ state }) => state !== 'closed').map(({ state, spis }) => `${state} ${spis}`);
  }
}

export const FIRST_SPI = Buffer.from('c0ffee01', 'hex');

export function spiOf(spi: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(spi);
  return bytes;
}
