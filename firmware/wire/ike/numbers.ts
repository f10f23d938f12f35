// Numbers of the IANA IKEv2 registry (RFC 7296 3) that this product knows, and its own private ones (docs/WIRE.md).

export const ExchangeType = { IKE_SA_INIT: 34, IKE_AUTH: 35, CREATE_CHILD_SA: 36, INFORMATIONAL: 37, IKE_INTERMEDIATE: 43, IKE_FOLLOWUP_KE: 44 } as const;

export const PayloadType = {
  none: 0,
  SA: 33,
  KE: 34,
  IDi: 35,
  IDr: 36,
  CERT: 37,
  CERTREQ: 38,
  AUTH: 39,
  Nonce: 40,
  Notify: 41,
  Delete: 42,
  VendorId: 43,
  TSi: 44,
  TSr: 45,
  SK: 46,
  CP: 47,
  EAP: 48,
  SKF: 53,
} as const;

export const Protocol = { none: 0, IKE: 1, AH: 2, ESP: 3 } as const;

export const TransformType = { ENCR: 1, PRF: 2, INTEG: 3, DH: 4, ESN: 5, ADDKE1: 6, ADDKE7: 12 } as const;

export const IdType = { ipv4: 1, fqdn: 2, email: 3, ipv6: 5, derDn: 9, keyId: 11 } as const;

export const AuthMethod = { rsaSha1: 1, sharedKey: 2, ecdsa256: 9, ecdsa384: 10, ecdsa521: 11, digitalSignature: 14 } as const;

export const CertEncoding = { x509Signature: 4, ocspContent: 14 } as const;

/** Signature hash algorithms (RFC 7427 4, RFC 8420 2). */
export const SignatureHash = { sha256: 2, sha384: 3, sha512: 4, identity: 5 } as const;

export const CfgType = { request: 1, reply: 2, set: 3, ack: 4 } as const;
export const CfgAttribute = {
  internalIp4Address: 1,
  internalIp4Dns: 3,
  internalIp6Address: 8,
  internalIp6Dns: 10,
  internalIp4Subnet: 13,
  internalIp6Subnet: 15,
  internalDnsDomain: 25,
  directorIp4: 20480,
  directorIp6: 20481,
} as const;

/** Types below 16384 are errors. */
export const NotifyType = {
  UNSUPPORTED_CRITICAL_PAYLOAD: 1,
  INVALID_IKE_SPI: 4,
  INVALID_MAJOR_VERSION: 5,
  INVALID_SYNTAX: 7,
  INVALID_MESSAGE_ID: 9,
  INVALID_SPI: 11,
  NO_PROPOSAL_CHOSEN: 14,
  INVALID_KE_PAYLOAD: 17,
  AUTHENTICATION_FAILED: 24,
  SINGLE_PAIR_REQUIRED: 34,
  NO_ADDITIONAL_SAS: 35,
  INTERNAL_ADDRESS_FAILURE: 36,
  FAILED_CP_REQUIRED: 37,
  TS_UNACCEPTABLE: 38,
  INVALID_SELECTORS: 39,
  UNACCEPTABLE_ADDRESSES: 40,
  UNEXPECTED_NAT_DETECTED: 41,
  TEMPORARY_FAILURE: 43,
  CHILD_SA_NOT_FOUND: 44,
  STATE_NOT_FOUND: 47,
  INITIAL_CONTACT: 16384,
  NAT_DETECTION_SOURCE_IP: 16388,
  NAT_DETECTION_DESTINATION_IP: 16389,
  COOKIE: 16390,
  USE_TRANSPORT_MODE: 16391,
  REKEY_SA: 16393,
  AUTH_LIFETIME: 16403,
  EAP_ONLY_AUTHENTICATION: 16417,
  MOBIKE_SUPPORTED: 16396,
  REDIRECT_SUPPORTED: 16406,
  REDIRECT: 16407,
  REDIRECTED_FROM: 16408,
  ADDITIONAL_IP4_ADDRESS: 16397,
  ADDITIONAL_IP6_ADDRESS: 16398,
  NO_ADDITIONAL_ADDRESSES: 16399,
  UPDATE_SA_ADDRESSES: 16400,
  COOKIE2: 16401,
  NO_NATS_ALLOWED: 16402,
  CHILDLESS_IKEV2_SUPPORTED: 16418,
  FRAGMENTATION_SUPPORTED: 16430,
  SIGNATURE_HASH_ALGORITHMS: 16431,
  INTERMEDIATE_EXCHANGE_SUPPORTED: 16438,
  ADDITIONAL_KEY_EXCHANGE: 16441,
  USE_PPK: 16435,
  PPK_IDENTITY: 16436,
  NO_PPK_AUTH: 16437,
  OBSERVED_ENDPOINT: 40960,
  DEVICE_SERIAL: 40961,
  TENANT: 40962,
  VXLAN_ENCAPSULATION: 40963,
} as const;

export const FIRST_STATUS_NOTIFY = 16384;

const NOTIFY_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(NotifyType).map(([name, type]) => [type, name]));
const EXCHANGE_NAMES: ReadonlyMap<number, string> = new Map(Object.entries(ExchangeType).map(([name, type]) => [type, name]));

/** The registry's name, or the number for what is not known here. */
export function notifyName(type: number): string {
  return NOTIFY_NAMES.get(type) ?? `notify ${type}`;
}

export function exchangeName(type: number): string {
  return EXCHANGE_NAMES.get(type) ?? `exchange ${type}`;
}
