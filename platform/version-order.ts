// Versions of the software, `1.2.3` with anything behind: numbers compare as numbers, the rest as text.

function partsOf(version: string): readonly string[] {
  return version.match(/\d+|[A-Za-z]+/g) ?? [];
}

/** Negative when `a` is older than `b`, 0 when they are equal in every part, positive when it is newer. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [partsOf(a), partsOf(b)];
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [l = '0', r = '0'] = [left[i], right[i]];
    const [isNumber, otherIsNumber] = [/^\d/.test(l), /^\d/.test(r)];
    // `1.0rc` comes before `1.0`: a word stands for something that is not finished.
    if (isNumber !== otherIsNumber) return isNumber ? 1 : -1;
    const order = isNumber ? Number(l) - Number(r) : l.localeCompare(r, 'en');
    if (order !== 0) return order;
  }
  return 0;
}
