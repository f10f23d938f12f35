// One byte string per JSON value: keys sorted, no spaces, undefined members left out. Signatures and digests need it.

/** @throws TypeError for what JSON cannot carry (functions, cycles, bigint) */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, member: unknown) =>
    member !== null && typeof member === 'object' && !Array.isArray(member)
      ? Object.fromEntries(Object.entries(member).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : member,
  );
}
