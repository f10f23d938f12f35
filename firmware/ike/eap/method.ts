// What an EAP method is to the two machines that carry it (server.ts, client.ts). Methods see their type data only.
import type { Random } from '../../../platform/random.ts';
import type { Suite } from '../../../platform/crypto.ts';
import type { TlsStep } from '../../../platform/tls-engine.ts';
import type { CertificateFacts } from '../input-output.ts';

/** What the operator's side knows of a user. */
export type EapCredentials = { readonly password: string } | { readonly ntHash: Uint8Array };

export type EapMethodName = 'mschapv2' | 'tls';

export interface EapTools {
  readonly suite: Suite;
  readonly random: Random;
}

/** The method has given TLS something to do: `resume` is called with what came of it. */
export interface Wait {
  readonly kind: 'wait';
}

export type ServerMethodStep =
  /** `attempt`: why the user's answer was refused, though the conversation goes on. */
  | { readonly kind: 'request'; readonly data: Uint8Array; readonly attempt?: string }
  /** The caller owns and wipes `msk`. `user`: whom the certificate names, where that is not the EAP identity. */
  | { readonly kind: 'success'; readonly msk: Uint8Array; readonly user?: string; readonly certificate?: CertificateFacts }
  | { readonly kind: 'failure'; readonly cause: string }
  | Wait;

export interface EapServerMethod {
  readonly type: number;
  /** Responses of one conversation that are taken. */
  readonly maxResponses: number;
  /** Type data of the first request. */
  begin(): Uint8Array;
  /** Throws WireError for data that is not legal. */
  receive(data: Uint8Array): ServerMethodStep;
  /** Once per `wait`. */
  resume?(step: TlsStep): ServerMethodStep;
  wipe(): void;
}

export type ClientMethodStep =
  | { readonly kind: 'response'; readonly data: Uint8Array }
  /** The user is refused: `data` acknowledges it, `cause` is for our log. */
  | { readonly kind: 'refused'; readonly data: Uint8Array; readonly cause: string }
  | { readonly kind: 'failure'; readonly cause: string }
  | Wait;

export interface EapClientMethod {
  readonly type: number;
  /** Requests of one conversation that are taken. */
  readonly maxRequests: number;
  /** Throws WireError for data that is not legal. */
  receive(data: Uint8Array): ClientMethodStep;
  /** Once per `wait`. */
  resume?(step: TlsStep): ClientMethodStep;
  /** Undefined until the server has proven itself; the caller copies it. */
  readonly msk: Uint8Array | undefined;
  /** What the server's certificate says, where it has shown one. */
  readonly certificate?: CertificateFacts | undefined;
  wipe(): void;
}
