// What an executable or shared object asks of the C library, read from its version strings.

/** The newest `GLIBC_x.y` that an ELF file names, as `x.y`. Throws Error when it names none. */
export function newestGlibc(elf: Uint8Array): string {
  const names = Buffer.from(elf.buffer, elf.byteOffset, elf.byteLength).toString('latin1').matchAll(/\0GLIBC_(\d{1,3})\.(\d{1,3})(?:\.\d{1,3})?(?=\0)/g);
  const versions = [...names].map(([, major, minor]) => [Number(major), Number(minor)] as const);
  const newest = versions.sort((a, b) => a[0] - b[0] || a[1] - b[1]).at(-1);
  if (newest === undefined) throw new Error('the file names no version of the C library');
  return newest.join('.');
}
