// What the lab's checks are given once both branches are onboarded: the network, Director's API and the processes.
import type { LabNetwork } from './network.ts';
import type { NatPolicy } from './topology.ts';
import type { WanCapture } from './wan-capture.ts';

export interface RunningNode {
  readonly name: string;
  readonly role: 'director' | 'controller' | 'branch';
  /** Of the node's firmware, inside the lab. */
  readonly processId: number;
}

export interface DirectorApi {
  /**
   * One request with the operator's token: `request('POST', '/api/v1/tenants/2/rekey', { reason: 5 })`. Resolves with
   * the answer's JSON; rejects with OperationalError for a status outside 2xx and when Director does not answer.
   */
  request(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<unknown>;
}

export interface RunningLab {
  readonly network: LabNetwork;
  readonly director: DirectorApi;
  /** As it is now: a node that was restarted has another process id. */
  readonly nodes: readonly RunningNode[];
  /** Director's onboarding Tasks as `GET /api/v1/tasks` showed them when the last branch was onboarded. */
  readonly tasks: readonly unknown[];
  /** By branch: from the start of its process to the end of its Task. */
  readonly onboardingSeconds: Readonly<Record<string, number>>;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly natPolicy: NatPolicy;
  /** From `WanCapture.start`, called before the first appliance starts. */
  readonly capture: WanCapture;
  /** Starts the firmware of a node whose process has ended, with the same configuration file. */
  restart(node: string): Promise<void>;
}
