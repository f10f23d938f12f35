// What the monitor service answers: configuration joined with state, as plain data. The shell prints it, Director reads it.
// Whatever is configured is listed, with state `down` and a cause when it is not up.

export interface AlarmView {
  readonly since: string;
  readonly severity: string;
  readonly name: string;
  readonly object: string;
  readonly cause: string;
  readonly nextStep: string;
}

export interface KeyExportView {
  readonly on: boolean;
  readonly scope: string;
  readonly until: string;
  readonly files: readonly { readonly file: string; readonly sas: number }[];
}

export interface IkeHistoryView {
  readonly time: string;
  readonly event: string;
  readonly peer: string;
  readonly remote: string;
  readonly role: string;
  readonly spis: string;
  readonly nat: boolean;
  readonly cause: string;
  /** SPIs of the SA that this one replaces. */
  readonly replaces?: string;
  readonly replacedBy?: string;
}

export interface ChildSaView {
  readonly state: string;
  readonly spis: string;
  readonly suite: string;
  readonly encapsulation: string;
}

export interface IkeSaView {
  readonly profile: string;
  readonly peer: string;
  readonly state: string;
  readonly local: string;
  readonly remote: string;
  readonly role: string;
  readonly spis: string;
  readonly suite: string;
  readonly cause: string;
  readonly children: readonly ChildSaView[];
  /** The life of the connection, oldest first: of this IKE SA, those that it replaces, and its children. */
  readonly history: readonly IkeHistoryView[];
}

export interface BgpNeighborView {
  readonly organization: string;
  readonly neighbor: string;
  readonly address: string;
  readonly remoteAs: number;
  readonly state: string;
  readonly uptimeSeconds: number;
  readonly received: string;
  /** Routes that the acceptance policy refused. */
  readonly refused: number;
  readonly lastError: string;
}

export interface DynamicTunnelView {
  readonly organization: string;
  readonly peer: string;
  readonly kind: string;
  readonly state: string;
  readonly endpoint: string;
  readonly mtu: number;
  readonly txSpi: string;
  readonly rxSpis: string;
  readonly txPackets: number;
  readonly rxPackets: number;
}

/** A WAN circuit in one address family. */
export interface WanInterfaceView {
  readonly interface: string;
  readonly transport: string;
  readonly family: 'IPv4' | 'IPv6';
  readonly method: 'static' | 'DHCP' | 'SLAAC';
  readonly state: 'up' | 'waiting';
  readonly address: string;
  readonly gateway: string;
  /** RFC 3339, or `never`. */
  readonly leaseEnds: string;
  readonly cause: string;
}

export interface DropView {
  readonly reason: string;
  readonly packets: number;
}

/** What one worker of the forwarder did so far. */
export interface WorkerView {
  readonly worker: number;
  /** That it has carried a packet for. */
  readonly tunnels: number;
  readonly txPackets: number;
  readonly rxPackets: number;
  /** Arrived here, and belonged to another worker. */
  readonly handedOver: number;
  readonly dropped: number;
}

export interface ServiceView {
  readonly service: string;
  readonly state: string;
  readonly detail: string;
}

export interface DhkeyView {
  readonly tenant: number;
  readonly siteId: number;
  readonly nodeId: string;
  readonly profile: string;
  readonly lifetimeSeconds: number;
  readonly rekeySeconds: number;
  readonly groups: readonly number[];
  readonly groupMask: number;
  readonly transforms: readonly number[];
  readonly transformMask: number;
  readonly nextRekeySeconds: number | undefined;
  readonly selfKeys: readonly {
    readonly id: number;
    readonly rekeyCounter: string;
    readonly state: string;
    readonly ageSeconds: number;
    readonly secondsLeft: number;
    readonly groups: readonly number[];
  }[];
  readonly peerKeys: readonly {
    readonly siteId: number;
    readonly name: string;
    readonly nodeId: string;
    readonly id: number;
    readonly rekeyCounter: string;
    readonly groups: readonly number[];
    readonly ageSeconds: number;
    readonly secondsLeft: number;
    readonly headless: boolean;
  }[];
  readonly associations: readonly {
    readonly id: string;
    readonly nodeId: string;
    readonly state: string;
    readonly sends: boolean;
    readonly spiIn: number;
    readonly spiOut: number;
    readonly suite: string;
    readonly group: number;
    readonly ageSeconds: number;
    readonly secondsLeft: number;
  }[];
  readonly counters: Readonly<Record<string, number>>;
}

/** A Controller's supervision of one tenant's rekeys. */
export interface RekeyView {
  readonly organization: string;
  readonly epoch: number;
  readonly done: number;
  readonly total: number;
  readonly laggards: readonly string[];
}

export interface CertificateView {
  readonly kind: 'device' | 'intermediate' | 'trust anchor';
  readonly serialNumber: string;
  readonly subject: string;
  readonly issuer: string;
  readonly notBefore: string;
  readonly notAfter: string;
  readonly daysLeft: number;
  /** `good`, `revoked`, `unknown` (no current list of the issuer), or `-`. */
  readonly revocation: string;
}

/** What certificate checks of this box go by. */
export interface CertificatesView {
  readonly certificates: readonly CertificateView[];
  readonly revocationPolicy: 'soft' | 'hard';
  readonly revocationLists: readonly {
    readonly issuer: string;
    readonly number: string;
    readonly thisUpdate: string;
    readonly nextUpdate: string;
    readonly current: boolean;
    readonly revoked: number;
  }[];
  /** What is wrong with the host's clock, or ''. */
  readonly clock: string;
}

export interface SystemView {
  readonly name: string;
  readonly role: string;
  readonly serial: string;
  readonly version: string;
  readonly drivers: string;
  readonly processId: number;
  readonly services: readonly ServiceView[];
}

/** The system slots of a box and what becomes of them. */
export interface PackageView {
  readonly version: string;
  /** The oldest version that may be installed; '' = any. */
  readonly floor: string;
  readonly slots: readonly { readonly name: string; readonly booted: boolean; readonly good: boolean }[];
  /** What the running system lacks to be good; '' when it is not on trial. */
  readonly trial: string;
  readonly activity: string;
  readonly lastFailure: string;
}
