// What Director and a box say to each other about the box's own software.
import { Type } from 'typebox';
import { documentCheck } from './schema.ts';

/** A signed bundle that Director keeps. */
export interface SoftwarePackage {
  /** Of the whole file, lower-case hex. */
  readonly sha256: string;
  /** Product and architecture, `selvage-x86_64`. */
  readonly compatible: string;
  readonly version: string;
  readonly bytes: number;
}

export interface SoftwareOrder {
  readonly id: number;
  readonly package: SoftwarePackage;
  readonly bytesPerSecond: number;
}

export interface SoftwareReply {
  /** That the box should run. */
  readonly version: string;
  /** Director's package of that version for this box, if it has one. */
  readonly package?: SoftwarePackage | null;
  readonly bytesPerSecond?: number;
  /** An operator's, to be carried out now. */
  readonly order?: SoftwareOrder | null;
}

export type OrderState = 'downloading' | 'installing' | 'rebooting' | 'on-trial' | 'good' | 'returned' | 'refused' | 'failed';

export interface OrderReport {
  readonly order: number;
  readonly state: OrderState;
  /** Of the download. */
  readonly percentage?: number;
  readonly cause?: string;
  readonly nextStep?: string;
}

/** An order as a box keeps it. */
export interface KeptOrder extends SoftwareOrder {
  /** `installing`: Director said that the slot may be written. */
  readonly phase: 'downloading' | 'installing' | 'over';
  /** Of an order that is over; Director has not heard it yet. */
  readonly end?: Omit<OrderReport, 'order'>;
}

/** Of a download, unless an order says otherwise. */
export const DEFAULT_BYTES_PER_SECOND = 2_000_000;

const Package = Type.Object({
  sha256: Type.String({ pattern: '^[0-9a-f]{64}$', description: 'lower-case hex of 32 octets' }),
  compatible: Type.String({ maxLength: 64 }),
  version: Type.String({ pattern: '^[A-Za-z0-9._+-]{1,40}$', description: 'a version' }),
  bytes: Type.Integer({ minimum: 1, maximum: 1024 ** 3 }),
});
const Rate = Type.Integer({ minimum: 1000, maximum: 1_000_000_000 });
const Order = Type.Object({ id: Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), package: Package, bytesPerSecond: Rate });
const End = Type.Object({
  state: Type.Union((['good', 'returned', 'refused', 'failed'] satisfies OrderState[]).map((state) => Type.Literal(state))),
  cause: Type.Optional(Type.String()),
  nextStep: Type.Optional(Type.String()),
});
/** Only what is over has an end, and that always. */
const Kept = Type.Union([
  Type.Object({ ...Order.properties, phase: Type.Union([Type.Literal('downloading'), Type.Literal('installing')]) }),
  Type.Object({ ...Order.properties, phase: Type.Literal('over'), end: End }),
]);
const Reply = Type.Object({
  version: Type.String({ maxLength: 40 }),
  package: Type.Optional(Type.Union([Package, Type.Null()])),
  bytesPerSecond: Type.Optional(Rate),
  order: Type.Optional(Type.Union([Order, Type.Null()])),
});

/** Throws ConfigError naming what is wrong. */
export function softwareReplyCheck(): (document: unknown) => SoftwareReply {
  return documentCheck<SoftwareReply>("Director's answer about software", Reply);
}

/** Throws ConfigError naming what is wrong. */
export function keptOrderCheck(): (document: unknown) => KeptOrder {
  return documentCheck<KeptOrder>('kept upgrade order', Kept);
}
