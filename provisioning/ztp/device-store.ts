// What a device keeps between starts: its key, its certificate, the provider's anchor, its bundle. Each is one document
// of the site's store, so each is either the old one or the new one after a crash.
import { fromUtf8, utf8 } from '../../platform/bytes.ts';
import type { Store } from '../../platform/store.ts';

const DOCUMENTS = {
  key: 'ztp-device-key',
  certificate: 'ztp-device-certificate',
  anchor: 'ztp-trust-anchor',
  bundle: 'ztp-bundle',
  /** The prestaging record in force, as JSON. */
  record: 'ztp-prestaging',
  /** Present once Director knows that the box works. */
  onboarded: 'ztp-onboarded',
} as const;

export class DeviceStore {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /** PKCS#8 DER. */
  get key(): Uint8Array | undefined {
    return this.#store.read(DOCUMENTS.key);
  }

  set key(pkcs8: Uint8Array) {
    this.#store.write(DOCUMENTS.key, pkcs8);
  }

  /** DER, leaf first; undefined when there is none or it is not readable. */
  get certificateChain(): readonly Uint8Array[] | undefined {
    const bytes = this.#store.read(DOCUMENTS.certificate);
    if (!bytes) return undefined;
    try {
      return (JSON.parse(fromUtf8(bytes)) as string[]).map((text) => new Uint8Array(Buffer.from(text, 'base64')));
    } catch {
      return undefined;
    }
  }

  set certificateChain(chain: readonly Uint8Array[]) {
    this.#store.write(DOCUMENTS.certificate, utf8(JSON.stringify(chain.map((der) => Buffer.from(der).toString('base64')))));
  }

  get anchor(): Uint8Array | undefined {
    return this.#store.read(DOCUMENTS.anchor);
  }

  set anchor(der: Uint8Array) {
    this.#store.write(DOCUMENTS.anchor, der);
  }

  get bundle(): Uint8Array | undefined {
    return this.#store.read(DOCUMENTS.bundle);
  }

  set bundle(bytes: Uint8Array) {
    this.#store.write(DOCUMENTS.bundle, bytes);
  }

  /** JSON text, not checked. */
  get record(): string | undefined {
    const bytes = this.#store.read(DOCUMENTS.record);
    return bytes && fromUtf8(bytes);
  }

  set record(text: string) {
    this.#store.write(DOCUMENTS.record, utf8(text));
  }

  get onboarded(): boolean {
    return this.#store.read(DOCUMENTS.onboarded) !== undefined;
  }

  markOnboarded(): void {
    this.#store.write(DOCUMENTS.onboarded, new Uint8Array(0));
  }

  /** Forgets everything that a former provider or order gave; the key is the box's own and stays. */
  forgetOnboarding(): void {
    for (const name of [DOCUMENTS.certificate, DOCUMENTS.anchor, DOCUMENTS.bundle, DOCUMENTS.onboarded]) this.#store.remove(name);
  }
}
