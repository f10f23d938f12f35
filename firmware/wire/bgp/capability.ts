// Capabilities in OPEN (RFC 5492, IANA "Capability Codes"). Unknown ones are ignored, as RFC 5492 3 asks.
import { WireError } from '../../../platform/errors.ts';
import { Reader, Writer } from '../../../platform/bytes.ts';
import type { Family } from './family.ts';
import { OPEN_ERROR } from './notification.ts';

const MULTIPROTOCOL = 1;
const ROUTE_REFRESH = 2;
const EXTENDED_NEXT_HOP = 5;
const EXTENDED_MESSAGE = 6;
const GRACEFUL_RESTART = 64;
const FOUR_OCTET_AS = 65;
const ADD_PATH = 69;
const ENHANCED_ROUTE_REFRESH = 70;
const LONG_LIVED_GRACEFUL_RESTART = 71;

const RESTARTED = 0x8;
/** RFC 8538 2: NOTIFICATIONs do not end graceful restart. */
const NOTIFICATION_KEEPS = 0x4;
const FORWARDING_PRESERVED = 0x80;

export interface RestartFamily {
  readonly family: Family;
  readonly forwardingPreserved: boolean;
}

export interface GracefulRestart {
  readonly restarted: boolean;
  readonly notification: boolean;
  /** 12 bits. */
  readonly restartSeconds: number;
  readonly families: readonly RestartFamily[];
}

export interface ExtendedNextHop {
  readonly family: Family;
  readonly nextHopAfi: number;
}

export interface AddPath {
  readonly family: Family;
  /** 1 receive, 2 send, 3 both. */
  readonly mode: number;
}

export interface LongLivedFamily extends RestartFamily {
  readonly staleSeconds: number;
}

export interface Capabilities {
  readonly families: readonly Family[];
  readonly routeRefresh: boolean;
  readonly enhancedRouteRefresh: boolean;
  readonly extendedMessage: boolean;
  readonly extendedNextHops: readonly ExtendedNextHop[];
  readonly asNumber: number | undefined;
  readonly gracefulRestart: GracefulRestart | undefined;
  /** Decoded for `show`; this product neither sends several paths nor long-lived stale routes. */
  readonly addPaths: readonly AddPath[];
  readonly longLived: readonly LongLivedFamily[];
}

export const NO_CAPABILITIES: Capabilities = {
  families: [],
  routeRefresh: false,
  enhancedRouteRefresh: false,
  extendedMessage: false,
  extendedNextHops: [],
  asNumber: undefined,
  gracefulRestart: undefined,
  addPaths: [],
  longLived: [],
};

const readFamily = (value: Reader): Family => ({ afi: value.u16(), safi: value.u8() });

function readAll<T>(value: Reader, one: () => T): T[] {
  const out: T[] = [];
  while (value.remaining > 0) out.push(one());
  return out;
}

function readGracefulRestart(value: Reader): GracefulRestart {
  const head = value.u16();
  const families = readAll(value, () => ({ family: readFamily(value), forwardingPreserved: (value.u8() & FORWARDING_PRESERVED) !== 0 }));
  return { restarted: ((head >>> 12) & RESTARTED) !== 0, notification: ((head >>> 12) & NOTIFICATION_KEEPS) !== 0, restartSeconds: head & 0xfff, families };
}

type Reading = (value: Reader, soFar: Capabilities) => Partial<Capabilities>;

const READERS: ReadonlyMap<number, Reading> = new Map<number, Reading>([
  [
    MULTIPROTOCOL,
    (value, soFar) => {
      const afi = value.u16();
      value.skip(1);
      return { families: [...soFar.families, { afi, safi: value.u8() }] };
    },
  ],
  [ROUTE_REFRESH, () => ({ routeRefresh: true })],
  [
    EXTENDED_NEXT_HOP,
    (value, soFar) => ({
      extendedNextHops: [
        ...soFar.extendedNextHops,
        // RFC 8950 4: here the SAFI takes two octets.
        ...readAll(value, () => ({ family: { afi: value.u16(), safi: value.u16() }, nextHopAfi: value.u16() })),
      ],
    }),
  ],
  [EXTENDED_MESSAGE, () => ({ extendedMessage: true })],
  [GRACEFUL_RESTART, (value) => ({ gracefulRestart: readGracefulRestart(value) })],
  [FOUR_OCTET_AS, (value) => ({ asNumber: value.u32() })],
  [ADD_PATH, (value, soFar) => ({ addPaths: [...soFar.addPaths, ...readAll(value, () => ({ family: readFamily(value), mode: value.u8() }))] })],
  [ENHANCED_ROUTE_REFRESH, () => ({ enhancedRouteRefresh: true })],
  [
    LONG_LIVED_GRACEFUL_RESTART,
    (value) => ({
      longLived: readAll(value, () => ({
        family: readFamily(value), forwardingPreserved: (value.u8() & FORWARDING_PRESERVED) !== 0, staleSeconds: value.u24(),
      })),
    }),
  ],
]);

/** Reads `code | length | value` up to the reader's end, adding to `soFar`. Throws WireError (OPEN error) when malformed. */
export function decodeCapabilities(reader: Reader, soFar: Capabilities): Capabilities {
  let capabilities = soFar;
  try {
    while (reader.remaining > 0) {
      const code = reader.u8();
      const value = reader.sub(reader.u8(), `capability ${code}`);
      const read = READERS.get(code);
      if (read) capabilities = { ...capabilities, ...read(value, capabilities) };
    }
  } catch (error) {
    throw error instanceof WireError ? new WireError(error.message, OPEN_ERROR << 8) : error;
  }
  return capabilities;
}

function put(writer: Writer, code: number, value: Uint8Array): void {
  writer.u8(code).u8(value.length).put(value);
}

/** Capability triplets of everything we announce. */
export function encodeCapabilities(capabilities: Capabilities): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  const nothing = new Uint8Array(0);
  for (const { afi, safi } of capabilities.families) put(writer, MULTIPROTOCOL, new Writer(4).u16(afi).u8(0).u8(safi).finish());
  if (capabilities.routeRefresh) put(writer, ROUTE_REFRESH, nothing);
  if (capabilities.extendedNextHops.length > 0) {
    const value = new Writer();
    for (const { family, nextHopAfi } of capabilities.extendedNextHops) value.u16(family.afi).u16(family.safi).u16(nextHopAfi);
    put(writer, EXTENDED_NEXT_HOP, value.finish());
  }
  if (capabilities.extendedMessage) put(writer, EXTENDED_MESSAGE, nothing);
  if (capabilities.gracefulRestart) {
    const { restarted, notification, restartSeconds, families } = capabilities.gracefulRestart;
    const flags = (restarted ? RESTARTED : 0) | (notification ? NOTIFICATION_KEEPS : 0);
    const value = new Writer().u16((flags << 12) | restartSeconds);
    for (const { family, forwardingPreserved } of families) value.u16(family.afi).u8(family.safi).u8(forwardingPreserved ? FORWARDING_PRESERVED : 0);
    put(writer, GRACEFUL_RESTART, value.finish());
  }
  if (capabilities.asNumber !== undefined) put(writer, FOUR_OCTET_AS, new Writer(4).u32(capabilities.asNumber).finish());
  if (capabilities.enhancedRouteRefresh) put(writer, ENHANCED_ROUTE_REFRESH, nothing);
  return writer.finish();
}
