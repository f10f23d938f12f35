// One end of TLS as a function of octets: somebody else carries the records (EAP-TLS). Certificates are only shown and
// collected; whoever reads `session` judges them. The real engine is tls-node.ts, the one for simulations tls-fake.ts.

export type TlsVersion = '1.2' | '1.3';

export interface TlsExporter {
  readonly label: string;
  /** Undefined: none, which is not the same as an empty one. */
  readonly context: Uint8Array | undefined;
}

export interface TlsOptions {
  readonly role: 'client' | 'server';
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** DER of authorities that a server names to the client. */
  readonly anchors: readonly Uint8Array[];
  /** RFC 5705 and RFC 8446 7.5. */
  readonly exporters: Readonly<Record<TlsVersion, TlsExporter>>;
  readonly exportedBytes: number;
  /** Application data that a server sends right after a handshake of TLS 1.3. */
  readonly greeting: Uint8Array;
  /** Default 1.3. */
  readonly newestVersion?: TlsVersion;
}

export interface TlsSession {
  readonly version: TlsVersion;
  /** DER, leaf first; empty when the peer showed none. */
  readonly peerChain: readonly Uint8Array[];
  /** `exportedBytes` octets; the receiver wipes them. */
  readonly exported: Uint8Array;
}

export interface TlsStep {
  /** Records for the peer; may be empty. */
  readonly bytes: Uint8Array;
  /** Application data of the peer. */
  readonly received: Uint8Array;
  /** In the step that ends the handshake. */
  readonly session: TlsSession | undefined;
  /** Why the connection cannot go on: a clause. `bytes` may then be an alert. */
  readonly failure: string | undefined;
}

export interface TlsEngine {
  /**
   * Takes records of the peer (none: the client begins) and reports once what came of them, before or after it returns.
   * One step at a time.
   */
  step(bytes: Uint8Array, done: (step: TlsStep) => void): void;
  /** Nothing is reported any more. */
  close(): void;
}
