// Security Association payload (RFC 7296 3.3): proposals, transforms and their attributes.
//
//   proposal   last 1 | reserved 1 | length 2 | number 1 | protocol 1 | SPI size 1 | transforms 1 | SPI | transforms
//   transform  last 1 | reserved 1 | length 2 | type 1 | reserved 1 | id 2 | attributes
//   attribute  1 + type 15 | value 2      or      0 + type 15 | length 2 | value
import type { Reader, Writer } from '../../../platform/bytes.ts';
import { WireError } from '../../../platform/errors.ts';
import { NotifyType } from './numbers.ts';

const MAX_PROPOSALS = 32;
const MAX_TRANSFORMS = 128;
const KEY_LENGTH_ATTRIBUTE = 14;
const MORE_PROPOSALS = 2;
const MORE_TRANSFORMS = 3;
const PROPOSAL_HEADER_BYTES = 8;
const TRANSFORM_HEADER_BYTES = 8;

export interface Transform {
  readonly type: number;
  readonly id: number;
  /** The only attribute in use; undefined where the algorithm has one key length. */
  readonly keyBits: number | undefined;
  /** True when an attribute is not known here: such a transform must not be chosen (RFC 7296 3.3.6). */
  readonly strange: boolean;
}

export interface Proposal {
  readonly number: number;
  readonly protocol: number;
  /** Empty in IKE_SA_INIT, 8 octets for an IKE rekey, 4 for ESP. */
  readonly spi: Uint8Array;
  readonly transforms: readonly Transform[];
}

export function transform(type: number, id: number, keyBits?: number): Transform {
  return { type, id, keyBits, strange: false };
}

function syntax(text: string): WireError {
  return new WireError(text, NotifyType.INVALID_SYNTAX);
}

/** Reads a substructure's `last`, reserved and length, and returns a reader over what its header does not count yet. */
function substructure(reader: Reader, more: number, headerBytes: number, what: string): { last: boolean; body: Reader } {
  const lastOctet = reader.u8();
  reader.skip(1);
  const length = reader.u16();
  if (lastOctet !== 0 && lastOctet !== more) throw syntax(`${what} starts with ${lastOctet}, not 0 or ${more}`);
  if (length < headerBytes) throw syntax(`${what} claims ${length} octets, its header has ${headerBytes}`);
  return { last: lastOctet === 0, body: reader.sub(length - 4, what) };
}

export function decodeProposals(reader: Reader): Proposal[] {
  const proposals: Proposal[] = [];
  for (let last = false; !last; ) {
    if (proposals.length === MAX_PROPOSALS) throw syntax(`more than ${MAX_PROPOSALS} proposals`);
    const part = substructure(reader, MORE_PROPOSALS, PROPOSAL_HEADER_BYTES, 'proposal');
    proposals.push(decodeProposal(part.body));
    last = part.last;
  }
  reader.expectEnd();
  return proposals;
}

function decodeProposal(body: Reader): Proposal {
  const number = body.u8();
  const protocol = body.u8();
  const spiBytes = body.u8();
  const count = body.u8();
  if (count > MAX_TRANSFORMS) throw syntax(`proposal has ${count} transforms, at most ${MAX_TRANSFORMS} are read`);
  const spi = body.take(spiBytes);
  const transforms: Transform[] = [];
  for (let i = 0; i < count; i++) {
    const part = substructure(body, MORE_TRANSFORMS, TRANSFORM_HEADER_BYTES, 'transform');
    if (part.last !== (i === count - 1)) throw syntax(`transform ${i + 1} of ${count} is marked wrongly as ${part.last ? '' : 'not '}last`);
    transforms.push(decodeTransform(part.body));
  }
  body.expectEnd();
  return { number, protocol, spi, transforms };
}

function decodeTransform(body: Reader): Transform {
  const type = body.u8();
  body.skip(1);
  const id = body.u16();
  let keyBits: number | undefined;
  let strange = false;
  while (body.remaining > 0) {
    const attribute = body.u16();
    const value = body.u16();
    if (attribute === (0x8000 | KEY_LENGTH_ATTRIBUTE)) keyBits = value;
    else strange = true;
    if (attribute < 0x8000) body.skip(value);
  }
  return { type, id, keyBits, strange };
}

export function encodeProposals(writer: Writer, proposals: readonly Proposal[]): void {
  for (const [i, proposal] of proposals.entries()) {
    const start = writer.length;
    writer.u8(i === proposals.length - 1 ? 0 : MORE_PROPOSALS).u8(0).u16(0);
    writer.u8(proposal.number).u8(proposal.protocol).u8(proposal.spi.length).u8(proposal.transforms.length).put(proposal.spi);
    for (const [j, entry] of proposal.transforms.entries()) {
      const hasKeyBits = entry.keyBits !== undefined;
      writer.u8(j === proposal.transforms.length - 1 ? 0 : MORE_TRANSFORMS).u8(0);
      writer.u16(TRANSFORM_HEADER_BYTES + (hasKeyBits ? 4 : 0)).u8(entry.type).u8(0).u16(entry.id);
      if (hasKeyBits) writer.u16(0x8000 | KEY_LENGTH_ATTRIBUTE).u16(entry.keyBits!);
    }
    writer.patch16(start + 2, writer.length - start);
  }
}
