// What an IKE SA may ask of the endpoint that owns it.
import type { RevocationCheck, Suite } from '../../platform/crypto.ts';
import type { Fields, LogLevel } from '../../platform/log.ts';
import type { Random } from '../../platform/random.ts';
import type { Instant } from '../../platform/time.ts';
import type { Endpoint, IpAddress } from '../model.ts';
import type { IkeSa, Path, SaOptions } from './ike-sa.ts';
import type { EapCredentials } from './eap/method.ts';
import type { CertificateFacts, ClientSettings, IkeOutput } from './input-output.ts';
import type { CompleteProfile, IkeIdentity, IkeProfile, PeerCredentials } from './profile.ts';
import type { Redirections } from './redirect.ts';
import type { Succession } from './succession.ts';
import type { Sentence } from './sentences.ts';
import type { Retransmission } from './window.ts';

export interface AuthorizationRequest {
  readonly profile: IkeProfile;
  readonly identity: IkeIdentity;
  /** Undefined for a peer that authenticated with a pre-shared key or by a password; of an EAP user `identity` is the user. */
  readonly certificate: CertificateFacts | undefined;
  readonly serial: string | undefined;
  readonly tenant: number | undefined;
  readonly remote: Endpoint;
  /** The peer asks for an overlay address. */
  readonly wantsAddress: boolean;
}

export type Authorization =
  | {
      readonly ok: true;
      readonly assignedAddress?: IpAddress | undefined;
      /** A second address, of the other family. */
      readonly alsoAssigned?: IpAddress | undefined;
      readonly settings?: ClientSettings | undefined;
      readonly directorAddresses?: readonly IpAddress[] | undefined;
      /** Tell the peer from where its packets come. */
      readonly observed?: boolean | undefined;
    }
  /** `cause` is a clause for both ends' logs: "serial X is not enrolled for identity Y". */
  | { readonly ok: false; readonly cause: string };

export interface BeginOptions {
  readonly profile: CompleteProfile;
  readonly path: Path;
  /** Where to go on when there is a NAT. */
  readonly nattPath: Path | undefined;
  readonly redirections?: Redirections;
  /** The connection that is left when this one is up. */
  readonly replaces?: Succession | undefined;
}

export interface Environment {
  readonly suite: Suite;
  readonly random: Random;
  readonly retransmission: Retransmission;
  unixMs(): number;
  emit(output: IkeOutput): void;
  log(level: LogLevel, sentence: Sentence, fields: Fields): void;
  nextSaId(): number;
  nextChildNumber(): number;
  /** Fresh and not in use by a live child of this endpoint. */
  allocateEspSpi(): number;
  releaseEspSpi(spi: number): void;
  allocateIkeSpi(): Uint8Array;
  lookupPeer(profile: CompleteProfile, identity: IkeIdentity): PeerCredentials | undefined;
  lookupEap(profile: CompleteProfile, identity: string): EapCredentials | undefined;
  onEapFailure(profile: CompleteProfile, identity: string, remote: Endpoint): void;
  authorize(request: AuthorizationRequest): Authorization;
  /** What is known of revoked certificates now; undefined: nothing. */
  revocation(): RevocationCheck | undefined;
  /** Whether this is the first IKE SA between its two identities. */
  isInitialContact(sa: IkeSa): boolean;
  /** Ends the others between the same identities (INITIAL_CONTACT). */
  dropOthers(sa: IkeSa, now: Instant): void;
  /** Makes an IKE SA, which answers under its own SPI from now on. */
  create(options: SaOptions, now: Instant): IkeSa;
  /** New keys are in use: gives them out where decryptable debugging asks for them. */
  keysInUse(sa: IkeSa): void;
  /** A live connection of our own, or an attempt at one, leads there. */
  headsFor(profile: string, remote: Endpoint): boolean;
  /** Begins a connection of our own. */
  begin(options: BeginOptions, now: Instant): IkeSa;
  /** The SA that stands for a connection now. */
  connection(number: number): IkeSa | undefined;
  /** The SA's next deadline may have changed. */
  touch(sa: IkeSa): void;
  /** Forgets an SA that has ended. */
  forget(sa: IkeSa): void;
}
