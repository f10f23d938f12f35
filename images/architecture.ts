// What the architectures that we build for are called by whom.
import { UsageError } from '../platform/errors.ts';

export interface Architecture {
  /** As `uname -m` says; names images and is part of a bundle's `compatible`. */
  readonly machine: 'x86_64' | 'aarch64';
  readonly debian: 'amd64' | 'arm64';
  readonly node: 'x64' | 'arm64';
}

const ARCHITECTURES: readonly Architecture[] = [
  { machine: 'x86_64', debian: 'amd64', node: 'x64' },
  { machine: 'aarch64', debian: 'arm64', node: 'arm64' },
];

/** By any of its names. Throws UsageError. */
export function architectureOf(name: string): Architecture {
  const found = ARCHITECTURES.find((each) => each.machine === name || each.debian === name || each.node === name);
  if (found === undefined) throw new UsageError(`"${name}" is not an architecture; one of ${ARCHITECTURES.map((each) => each.machine).join(', ')}`);
  return found;
}
