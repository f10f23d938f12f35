// UPDATE messages (RFC 4271 4.3, RFC 4760), with the revised error handling of RFC 7606.
//
// | Withdrawn Length (2) | withdrawn | Attributes Length (2) | attributes | NLRI |
//
// decodeUpdate throws WireError only where the session must be reset; milder errors are in `problems`, and what was
// to be announced by a malformed UPDATE comes back as withdrawn.
import { WireError } from '../../../platform/errors.ts';
import { Reader, Writer } from '../../../platform/bytes.ts';
import { addressText } from '../address.ts';
import type { AttributeRow, ErrorAction, MutableAttributes, PathAttributes } from './attributes.ts';
import {
  FLAG_EXTENDED_LENGTH, FLAG_OPTIONAL, FLAG_PARTIAL, FLAG_TRANSITIVE, MP_REACH_NLRI, MP_UNREACH_NLRI, NEXT_HOP, NO_ATTRIBUTES, attributeRow, writeAttribute,
} from './attributes.ts';
import type { Family } from './family.ts';
import { UNICAST4, isKnownFamily, sameFamily } from './family.ts';
import { decodeNextHop, encodeNextHop } from './next-hop.ts';
import type { ParsedNlri } from './nlri.ts';
import { decodeNlri, encodeNlri } from './nlri.ts';
import { UPDATE_ERROR } from './notification.ts';

const MALFORMED_ATTRIBUTE_LIST = (UPDATE_ERROR << 8) | 1;
const UNRECOGNIZED_WELL_KNOWN = (UPDATE_ERROR << 8) | 2;
const OPTIONAL_ATTRIBUTE_ERROR = (UPDATE_ERROR << 8) | 9;
const INVALID_NETWORK_FIELD = (UPDATE_ERROR << 8) | 10;

const AS_PATH = 2;
const ORIGIN = 1;
const LOCAL_PREF = 5;

export interface Withdrawal {
  readonly family: Family;
  readonly nlri: readonly ParsedNlri[];
}

export interface Announcement extends Withdrawal {
  readonly nextHop: string;
}

export interface AttributeProblem {
  readonly action: ErrorAction;
  readonly text: string;
}

export interface Update {
  readonly withdrawn: readonly Withdrawal[];
  readonly announced: readonly Announcement[];
  readonly attributes: PathAttributes;
  /** The family that this End-of-RIB marker ends (RFC 4724 2). */
  readonly endOfRib: Family | undefined;
  readonly problems: readonly AttributeProblem[];
}

interface Walk {
  readonly attributes: MutableAttributes;
  readonly seen: Set<number>;
  readonly problems: AttributeProblem[];
  readonly external: boolean;
  reach: Announcement | undefined;
  unreach: Withdrawal | undefined;
  nextHop: string | undefined;
}

function readNlri(reader: Reader, family: Family, answer: number): ParsedNlri[] {
  try {
    return decodeNlri(reader, family);
  } catch (error) {
    if (error instanceof WireError) throw new WireError(error.message, answer);
    throw error;
  }
}

function decodeReach(value: Reader): Announcement | undefined {
  const family = { afi: value.u16(), safi: value.u8() };
  const nextHop = value.take(value.u8());
  value.skip(1);
  if (!isKnownFamily(family)) return undefined;
  return { family, nextHop: decodeNextHop(family, nextHop), nlri: readNlri(value, family, OPTIONAL_ATTRIBUTE_ERROR) };
}

function decodeUnreach(value: Reader): Withdrawal {
  const family = { afi: value.u16(), safi: value.u8() };
  return { family, nlri: isKnownFamily(family) ? readNlri(value, family, OPTIONAL_ATTRIBUTE_ERROR) : [] };
}

function decodeKnown(walk: Walk, row: AttributeRow, flags: number, value: Reader): void {
  if (row.internalOnly && walk.external) {
    walk.problems.push({ action: 'discard', text: `${row.name} from another AS` });
    return;
  }
  if (row.code === MP_REACH_NLRI) walk.reach = decodeReach(value);
  else if (row.code === MP_UNREACH_NLRI) walk.unreach = decodeUnreach(value);
  else if (row.code === NEXT_HOP && value.remaining === 4) walk.nextHop = addressText(value.take(4));
  else row.decode(value, walk.attributes);
  if ((flags & FLAG_PARTIAL) !== 0) walk.attributes.partial = [...walk.attributes.partial, row.code];
}

function decodeUnknown(walk: Walk, code: number, flags: number, value: Reader): void {
  if ((flags & FLAG_OPTIONAL) === 0) throw new WireError(`unrecognized well-known attribute ${code}`, UNRECOGNIZED_WELL_KNOWN);
  if ((flags & FLAG_TRANSITIVE) === 0) return; // RFC 4271 5: quietly ignored
  const kept = { code, flags: (flags | FLAG_PARTIAL) & ~FLAG_EXTENDED_LENGTH, value: value.rest() };
  walk.attributes.others = [...walk.attributes.others, kept];
}

function decodeAttribute(walk: Walk, reader: Reader): void {
  const flags = reader.u8();
  const code = reader.u8();
  const length = (flags & FLAG_EXTENDED_LENGTH) !== 0 ? reader.u16() : reader.u8();
  const row = attributeRow(code);
  const value = reader.sub(length, row?.name ?? `attribute ${code}`);
  if (walk.seen.has(code)) {
    // RFC 7606 3 (g): the first one counts, except for the MP attributes.
    if (code === MP_REACH_NLRI || code === MP_UNREACH_NLRI) throw new WireError(`${row!.name} appears twice`, MALFORMED_ATTRIBUTE_LIST);
    walk.problems.push({ action: 'discard', text: `${value.what} appears twice` });
    return;
  }
  walk.seen.add(code);
  if (row === undefined) return decodeUnknown(walk, code, flags, value);
  try {
    const must = FLAG_OPTIONAL | FLAG_TRANSITIVE;
    decodeKnown(walk, row, flags, value);
    // RFC 7606 3 (c). The MP attributes were read all the same: their routes are what must be withdrawn.
    if ((flags & must) !== (row.flags & must)) {
      const action = row.onError === 'discard' ? 'discard' : 'treat-as-withdraw';
      walk.problems.push({ action, text: `${row.name} has flags 0x${flags.toString(16)}` });
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    if (row.onError === 'reset') throw new WireError(error.message, error.answer ?? OPTIONAL_ATTRIBUTE_ERROR);
    walk.problems.push({ action: row.onError, text: error.message });
  }
}

function decodeAttributeList(walk: Walk, reader: Reader, nlriFollows: boolean): void {
  while (reader.remaining > 0) {
    try {
      decodeAttribute(walk, reader);
    } catch (error) {
      if (!(error instanceof WireError) || error.answer !== undefined) throw error;
      // RFC 7606 4: an attribute overruns the list. Without its NLRI located nothing can be withdrawn.
      if (!nlriFollows && walk.reach === undefined && walk.unreach === undefined) throw new WireError(error.message, MALFORMED_ATTRIBUTE_LIST);
      walk.problems.push({ action: 'treat-as-withdraw', text: error.message });
      return;
    }
  }
}

/** RFC 7606 3 (d): mandatory attributes of an UPDATE that announces something. */
function checkMandatory(walk: Walk, classicNlri: boolean): void {
  const required = [ORIGIN, AS_PATH, ...(classicNlri ? [NEXT_HOP] : []), ...(walk.external ? [] : [LOCAL_PREF])];
  for (const code of required) {
    if (!walk.seen.has(code)) walk.problems.push({ action: 'treat-as-withdraw', text: `${attributeRow(code)!.name} is missing` });
  }
}

/**
 * Decodes the body of an UPDATE. `external` says that the peer is in another AS.
 * Throws WireError with `answer` = code << 8 | subcode where the session must be reset.
 */
export function decodeUpdate(body: Uint8Array, external: boolean): Update {
  const reader = new Reader(body, 'UPDATE');
  const walk: Walk = {
    attributes: { ...NO_ATTRIBUTES }, seen: new Set(), problems: [], external, reach: undefined, unreach: undefined, nextHop: undefined,
  };
  let withdrawnField: Reader;
  let attributesField: Reader;
  try {
    withdrawnField = reader.sub(reader.u16(), 'withdrawn routes');
    attributesField = reader.sub(reader.u16(), 'path attributes');
  } catch (error) {
    throw error instanceof WireError ? new WireError(error.message, MALFORMED_ATTRIBUTE_LIST) : error;
  }
  const classicWithdrawn = readNlri(withdrawnField, UNICAST4, INVALID_NETWORK_FIELD);
  const hadAttributes = attributesField.remaining > 0;
  const classicNlri = readNlri(reader, UNICAST4, INVALID_NETWORK_FIELD);
  decodeAttributeList(walk, attributesField, classicNlri.length > 0);

  const withdrawn: Withdrawal[] = [];
  if (classicWithdrawn.length > 0) withdrawn.push({ family: UNICAST4, nlri: classicWithdrawn });
  if (walk.unreach && walk.unreach.nlri.length > 0) withdrawn.push(walk.unreach);
  if (classicNlri.length > 0 || walk.reach !== undefined) checkMandatory(walk, classicNlri.length > 0);
  const announced: Announcement[] = walk.reach ? [walk.reach] : [];
  if (classicNlri.length > 0) announced.push({ family: UNICAST4, nextHop: walk.nextHop ?? '0.0.0.0', nlri: classicNlri });

  const empty = body.length === 4 && !hadAttributes;
  const onlyUnreach = walk.seen.size === 1 && walk.unreach !== undefined && walk.unreach.nlri.length === 0 && classicWithdrawn.length === 0;
  const endOfRib = empty ? UNICAST4 : onlyUnreach && classicNlri.length === 0 ? walk.unreach!.family : undefined;
  const refused = walk.problems.some((problem) => problem.action === 'treat-as-withdraw');
  return {
    withdrawn: refused ? [...withdrawn, ...announced] : withdrawn,
    announced: refused ? [] : announced,
    attributes: walk.attributes,
    endOfRib: refused ? undefined : endOfRib,
    problems: walk.problems,
  };
}

const HEADER_AND_LENGTHS_BYTES = 19 + 4;
const MP_HEADER_BYTES = 4;

function encodeItem(nlri: ParsedNlri, withdraw: boolean): Uint8Array {
  const writer = new Writer(32);
  encodeNlri(writer, nlri, withdraw);
  return writer.finish();
}

/** Cuts items into runs that fit `room` octets; an item that fits no run is left out. */
function runsOf(nlri: readonly ParsedNlri[], withdraw: boolean, room: number): { runs: Uint8Array[]; unsent: ParsedNlri[] } {
  const runs: Uint8Array[] = [];
  const unsent: ParsedNlri[] = [];
  let writer = new Writer();
  for (const entry of nlri) {
    const item = encodeItem(entry, withdraw);
    if (item.length > room) {
      unsent.push(entry);
      continue;
    }
    if (writer.length + item.length > room) {
      runs.push(writer.finish());
      writer = new Writer();
    }
    writer.put(item);
  }
  if (writer.length > 0) runs.push(writer.finish());
  return { runs, unsent };
}

export interface EncodedUpdates {
  /** Bodies of UPDATE messages, without the 19-octet header. */
  readonly bodies: readonly Uint8Array[];
  /** Items that do not fit any message of this size together with their attributes (RFC 8654 4). */
  readonly unsent: readonly ParsedNlri[];
}

/**
 * UPDATE bodies that announce `nlri` with one set of attributes. MP_REACH_NLRI goes first (RFC 7606 5.1), then
 * `attributes` as encodeAttributes() made them. `most` is the largest whole message, header included.
 */
export function encodeAnnouncements(announcement: Announcement, attributes: Uint8Array, most: number): EncodedUpdates {
  const { family, nextHop, nlri } = announcement;
  const head = new Writer(32).u16(family.afi).u8(family.safi);
  const nextHopField = encodeNextHop(family, nextHop);
  head.u8(nextHopField.length).put(nextHopField).u8(0);
  const start = head.finish();
  const room = most - HEADER_AND_LENGTHS_BYTES - MP_HEADER_BYTES - start.length - attributes.length;
  const { runs, unsent } = runsOf(nlri, false, room);
  const bodies = runs.map((run) => {
    const value = new Writer(start.length + run.length).put(start).put(run).finish();
    const writer = new Writer(value.length + attributes.length + 8).u16(0).u16(0);
    writeAttribute(writer, MP_REACH_NLRI, attributeRow(MP_REACH_NLRI)!.flags, value);
    writer.put(attributes);
    writer.patch16(2, writer.length - 4);
    return writer.finish();
  });
  return { bodies, unsent };
}

/** UPDATE bodies that withdraw `nlri`. */
export function encodeWithdrawals(withdrawal: Withdrawal, most: number): Uint8Array[] {
  const { family, nlri } = withdrawal;
  const { runs } = runsOf(nlri, true, most - HEADER_AND_LENGTHS_BYTES - MP_HEADER_BYTES - 3);
  return runs.map((run) => unreachBody(family, run));
}

function unreachBody(family: Family, run: Uint8Array): Uint8Array {
  const writer = new Writer(run.length + 16).u16(0).u16(0);
  const value = new Writer(run.length + 3).u16(family.afi).u8(family.safi).put(run).finish();
  writeAttribute(writer, MP_UNREACH_NLRI, attributeRow(MP_UNREACH_NLRI)!.flags, value);
  writer.patch16(2, writer.length - 4);
  return writer.finish();
}

/** The End-of-RIB marker of a family (RFC 4724 2). */
export function encodeEndOfRib(family: Family): Uint8Array {
  return sameFamily(family, UNICAST4) ? new Uint8Array(4) : unreachBody(family, new Uint8Array(0));
}

/** One line for logs: every problem with what follows from it. */
export function problemText(problems: readonly AttributeProblem[]): string {
  return problems.map(({ action, text }) => `${text} (${action})`).join('; ');
}
