// What the role offers for changing the box's own system: two slots, of which one runs.

export type SystemOutcome =
  /** Nothing was changed, or it is not known any longer. */
  | { readonly kind: 'none' }
  | { readonly kind: 'on-trial' }
  | { readonly kind: 'good' | 'returned'; readonly version: string; readonly cause: string };

export interface SystemSlots {
  /** Where a package lies until it is installed. Nothing else may lie there. */
  readonly directory: string;
  /** Product and architecture of the bundles that fit. */
  compatible(): Promise<string>;
  /**
   * Judges a bundle, installs it in the other slot and reboots. `next` is told, and waited for, before the slot is written
   * and before the reboot; when it rejects before the slot is written, nothing is. Resolves when the box is about to reboot.
   */
  install(file: string, next: (phase: 'installing' | 'rebooting') => Promise<void>): Promise<void>;
  /** What the last change came to. */
  outcome(): SystemOutcome;
}
