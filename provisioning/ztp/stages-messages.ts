// What goes into the stages machine and what comes out of it.
import type { DeviceConfiguration, PrestagingRecord } from '../../firmware/configuration.ts';
import type { IpAddress } from '../../firmware/model.ts';
import type { LogEvent } from '../../platform/log.ts';
import type { SoftwarePackage } from './software-messages.ts';

export type Stage = 'factory' | 'staging-ike' | 'certificate' | 'bundle' | 'software-check' | 'post-staging' | 'operational';

/** What the box tells Director about its own onboarding. */
export interface StageReport {
  readonly step: 'config' | 'software' | 'post-staging';
  readonly state: 'started' | 'completed' | 'failed';
  readonly message: string;
  readonly nextStep?: string;
  /** 0-100 of a step that takes its time. */
  readonly percentage?: number;
}

/** What an upgrade of the box's own system needs to be told. */
export interface SoftwareUpgrade {
  readonly package: SoftwarePackage;
  readonly bytesPerSecond: number;
}

export interface SoftwareProgress {
  readonly version: string;
  readonly phase: 'downloading' | 'installing' | 'rebooting';
  /** Of the download. */
  readonly percentage?: number;
}

export type StageRequest =
  | { readonly kind: 'certificate' }
  /** Director answers only when it has a generation above `after`. */
  | { readonly kind: 'bundle'; readonly after: number }
  | { readonly kind: 'software' }
  /** Fetch and install; takes minutes, and ends with a reboot when all goes well. */
  | ({ readonly kind: 'upgrade' } & SoftwareUpgrade)
  | { readonly kind: 'report'; readonly reports: readonly StageReport[] };

/** How to reach Director: over the staging tunnel or the provider's control VR, which is one VR by name. */
export interface StagePath {
  readonly localAddress: IpAddress;
  readonly director: IpAddress;
  /** Undefined while staging: only a configuration tells it. */
  readonly port: number | undefined;
}

export type StageOutcome =
  | { readonly kind: 'certificate' }
  /** Verified and stored. */
  | { readonly kind: 'bundle'; readonly configuration: DeviceConfiguration }
  | { readonly kind: 'bundle-unchanged' }
  /** A bundle came and was refused. */
  | { readonly kind: 'bundle-invalid'; readonly cause: string }
  /** `obstacle`: why another version than the running one is not installed. */
  | { readonly kind: 'software'; readonly wanted: string; readonly upgrade: SoftwareUpgrade | undefined; readonly obstacle: string }
  /** `isWriting`: a slot was written to before it failed. */
  | { readonly kind: 'software-refused'; readonly version: string; readonly isWriting: boolean; readonly cause: string; readonly nextStep: string }
  /** The box is about to reboot. */
  | { readonly kind: 'software-installed' }
  | { readonly kind: 'reported' }
  /** `refused`: Director answered no, asking again soon is useless. `certificateRefused`: the certificate is not good any longer. */
  | { readonly kind: 'failed'; readonly cause: string; readonly refused: boolean; readonly certificateRefused: boolean };

/** A system that the software step installed, and that the box came back from. */
export interface ReturnedSystem {
  readonly version: string;
  readonly cause: string;
}

export type StageInput =
  | { readonly kind: 'prestaging'; readonly record: PrestagingRecord; readonly hasCertificate: boolean }
  | { readonly kind: 'restored'; readonly configuration: DeviceConfiguration; readonly record: PrestagingRecord | undefined; readonly onboarded: boolean; readonly returned?: ReturnedSystem | undefined }
  | { readonly kind: 'staging-up'; readonly assignedAddress: IpAddress; readonly directorAddresses: readonly IpAddress[] }
  | { readonly kind: 'staging-down'; readonly cause: string }
  | { readonly kind: 'outcome'; readonly request: number; readonly outcome: StageOutcome }
  | { readonly kind: 'software-progress'; readonly progress: SoftwareProgress }
  | { readonly kind: 'applied' }
  | { readonly kind: 'apply-failed'; readonly cause: string }
  | { readonly kind: 'post-staging'; readonly controlTunnels: 'up' | 'down'; readonly bgp: 'up' | 'down'; readonly detail: string };

export type StageOutput =
  | { readonly kind: 'start-staging'; readonly record: PrestagingRecord }
  | { readonly kind: 'stop-staging'; readonly reason: string }
  | { readonly kind: 'request'; readonly id: number; readonly request: StageRequest; readonly path: StagePath }
  | { readonly kind: 'apply'; readonly configuration: DeviceConfiguration }
  /** Director knows that the box works: from now on it never stages again by itself. */
  | { readonly kind: 'onboarded' }
  | { readonly kind: 'log'; readonly event: LogEvent };
