// The fuzz targets by name.
import { BGP } from './bgp.ts';
import { CERTIFICATES } from './certificates.ts';
import { FORWARDER } from './forwarder.ts';
import { IKE_WIRE } from './ike-wire.ts';
import { IKE_EAP } from './ike-eap.ts';
import { IKE } from './ike.ts';
import { SDWAN } from './sdwan.ts';
import type { FuzzTarget } from './target.ts';

export const FUZZ_TARGETS: readonly FuzzTarget[] = [IKE_WIRE, IKE, IKE_EAP, BGP, SDWAN, FORWARDER, CERTIFICATES];
