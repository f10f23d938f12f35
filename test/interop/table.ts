// The interoperability matrix: every row, in the order in which it is shown.
import type { Row } from './row.ts';
import { ALGORITHM_ROWS } from './rows/algorithms.ts';
import { CERTIFICATE_ROWS } from './rows/certificates.ts';
import { CREDENTIAL_ROWS } from './rows/credentials.ts';
import { CROSSING_ROWS } from './rows/crossings.ts';
import { EAP_ROWS } from './rows/eap.ts';
import { EAP_TLS_ROWS } from './rows/eap-tls.ts';
import { EXTENSION_ROWS } from './rows/extensions.ts';
import { MOBILITY_ROWS } from './rows/mobility.ts';
import { PATH_ROWS } from './rows/paths.ts';
import { REAUTHENTICATION_ROWS } from './rows/reauthentication.ts';
import { REFUSAL_ROWS } from './rows/refusals.ts';
import { REKEY_ROWS } from './rows/rekeys.ts';
import { SIGNATURE_ROWS } from './rows/signatures.ts';
import { TROUBLE_ROWS } from './rows/trouble.ts';

/** Each line is a family; the order is that of the document. */
export const ROWS: readonly Row[] = [
  CREDENTIAL_ROWS,
  SIGNATURE_ROWS,
  CERTIFICATE_ROWS,
  EAP_ROWS,
  EAP_TLS_ROWS,
  PATH_ROWS,
  MOBILITY_ROWS,
  REKEY_ROWS,
  REAUTHENTICATION_ROWS,
  EXTENSION_ROWS,
  ALGORITHM_ROWS,
  TROUBLE_ROWS,
  CROSSING_ROWS,
  REFUSAL_ROWS,
].flat();
