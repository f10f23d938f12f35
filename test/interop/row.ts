// What a row of the interoperability matrix is.
//
// To add one: put an object into the list of the file in `rows/` that it belongs to (a new file's list goes into
// `table.ts`). `run` starts both ends with `lab.start(ours, theirs)` and does what the row is about; both arguments may
// be left out, and then say: pre-shared key, our default proposals, the role and the release of the case. What the row
// is not about is done around it: after `run`, a row that `ends` 'up' must have exactly one IKE SA and one child, carry
// traffic both ways, and have ESP (and nothing clear) on the wire; one that ends 'down' must have nothing at either
// end, while `run` itself checks the reasons that both ends give. Then run `npm run interop -- NAME` and
// `npm run interop -- NAME --lossy`; with `--write` the outcome goes into the matrix of docs/STANDARDS.md (a test compares
// the names).
//
// The same row runs over a path that loses, repeats and reorders packets: `run` waits for events and never for times,
// and compares losses only through `lab.assertNothingLost`.
import type { InteropLab } from './lab.ts';

export const ROLES = ['initiator', 'responder'] as const;
/** Of our end. */
export type Role = (typeof ROLES)[number];

/** strongSwan: this machine's, and those of newer Debian releases. */
export const RELEASES = ['5.9', '6.0', '6.1'] as const;
export type Release = (typeof RELEASES)[number];

/** `NAT`: the initiator is behind one; `double NAT`: both ends are, and the responder's forwards its ports. */
export type PathKind = 'direct' | 'IPv6' | 'NAT' | 'double NAT';

export interface Row {
  /** Unique, as the matrix shows it. */
  readonly name: string;
  readonly roles: readonly Role[];
  readonly counterparts: readonly Release[];
  readonly path: PathKind;
  readonly ends: 'up' | 'down';
  /** Cases that `npm test` runs: over the plain path, or over the lossy one. */
  readonly always?: readonly { readonly role: Role; readonly release: Release; readonly lossy?: true }[];
  run(lab: InteropLab): Promise<void>;
}

export interface Case {
  readonly row: Row;
  readonly role: Role;
  readonly release: Release;
  readonly lossy: boolean;
}

export function caseName({ row, role, release, lossy }: Case): string {
  return `${row.name}, ours is the ${role}, strongSwan ${release}${lossy ? ', lossy path' : ''}`;
}

/** Every case of these rows over one kind of path. */
export function casesOf(rows: readonly Row[], lossy: boolean): Case[] {
  return rows.flatMap((row) => row.roles.flatMap((role) => row.counterparts.map((release) => ({ row, role, release, lossy }))));
}

/** The cases that `npm test` runs. */
export function alwaysOf(rows: readonly Row[]): Case[] {
  return rows.flatMap((row) => (row.always ?? []).map(({ role, release, lossy }) => ({ row, role, release, lossy: lossy ?? false })));
}
