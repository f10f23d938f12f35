// What a Controller tells Director about staging boxes, and what Director answers to its poll.
import { Type } from 'typebox';
import type { Endpoint, IpAddress, SiteId, TenantId } from '../../firmware/model.ts';
import { documentCheck } from './schema.ts';

/** An order of Director to rekey a tenant (docs/WIRE.md: directive). */
export interface DirectorDirective {
  readonly id: number;
  readonly tenant: TenantId;
  readonly epoch: number;
  /** 1 scheduled, 2 policy change, 3 key compromise, 4 node revoked, 5 operator. */
  readonly reason: number;
  readonly notBeforeUnixSeconds: number;
  readonly spreadSeconds: number;
  readonly deadlineSeconds: number;
  /** Reason 4: whose SAs end at once. */
  readonly revokedSite?: SiteId;
}

/** A staging box that has its tunnel and temporary address. */
export interface BranchConnectFacts {
  readonly serial: string;
  readonly tenant: TenantId;
  readonly stagingIdentity: string;
  readonly observedEndpoint: Endpoint;
  readonly temporaryAddress: IpAddress;
}

/** A box that was refused. What it said about itself is not proven. */
export interface BranchFailedFacts {
  /** What it tried to reach: its staging tunnel, or a tenant's Controller with its certificate. */
  readonly stage: 'staging' | 'post-staging';
  readonly serial: string | undefined;
  readonly identity: string | undefined;
  readonly cause: string;
}

const NaturalNumber = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
const Reply = Type.Object({
  configurationGeneration: NaturalNumber,
  directory: Type.Unknown(),
  directives: Type.Array(
    Type.Object({
      id: NaturalNumber, tenant: NaturalNumber, epoch: NaturalNumber, reason: NaturalNumber, notBeforeUnixSeconds: NaturalNumber,
      spreadSeconds: NaturalNumber, deadlineSeconds: NaturalNumber, revokedSite: Type.Optional(NaturalNumber),
    }),
    { maxItems: 10_000 },
  ),
});

/** Director's answer to a Controller's poll. */
export interface PollReply {
  readonly configurationGeneration: number;
  /** Null when there is no newer one; checked apart. */
  readonly directory: unknown;
  readonly directives: readonly DirectorDirective[];
}

/** @returns a check that throws ConfigError for what is no poll reply */
export function checkPollReply(): (document: unknown) => PollReply {
  return documentCheck<PollReply>('poll reply', Reply);
}
