// Every sentence that IKE writes to versa-ipsec.log; docs/LOGGING.md lists them with their fields.

export const SENTENCES = [
  'IKE SA is being initiated',
  'IKE_SA_INIT answered',
  'IKE_SA_INIT was answered by the peer',
  'IKE SA established',
  'IKE SA rekeyed',
  'IKE SA deleted',
  'IKE SA could not be established',
  'IKE peer does not answer',
  'IKE request refused',
  'IKE request failed at the peer',
  'IKE exchange done',
  'IKE message retransmitted',
  'IKE message dropped',
  'IKE request repeated, cached reply sent',
  'IKE cookie requested',
  'IKE half-open limit reached',
  'IKE peer moved to another endpoint',
  'IKE SA moved to other addresses',
  'IKE SA cannot move to another address',
  'NAT detected',
  'peer refused our IKE_SA_INIT without authentication, waiting for a better answer',
  'EAP user refused',
  'child SA established',
  'child SA rekeyed',
  'child SA deleted',
  'child SA refused',
  'rekey collided with the peer',
  'rekey postponed',
] as const;

export type Sentence = (typeof SENTENCES)[number];
