// What a check of the lab says in the end.

export interface Verdict {
  readonly held: boolean;
  /** Empty when it held; else what was seen, and what should have been. */
  readonly cause: string;
}

/** More causes than this are counted, not told. */
const CAUSES_TOLD = 8;

/** Holds when nothing speaks against it. */
export function verdictOf(causes: readonly string[]): Verdict {
  const told = causes.slice(0, CAUSES_TOLD);
  if (causes.length > told.length) told.push(`and ${causes.length - told.length} more`);
  return { held: causes.length === 0, cause: told.join('; ') };
}
