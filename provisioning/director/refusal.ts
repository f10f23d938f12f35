// How Director says no: a code that fixes the HTTP status, the cause, and what to do next.
import { OperationalError } from '../../platform/errors.ts';

export const REFUSAL_STATUS = {
  invalid: 400,
  unauthorized: 401,
  forbidden: 403,
  'not-found': 404,
  conflict: 409,
  exhausted: 409,
  'serial-unknown': 409,
  'identity-mismatch': 409,
  'tenant-mismatch': 409,
  'credential-mismatch': 409,
  'not-prestaged': 409,
  revoked: 403,
  'too-large': 413,
  'rate-limited': 429,
} as const;

export type RefusalCode = keyof typeof REFUSAL_STATUS;

/** An error whose message and next step may be shown to the caller of the API. */
export function refusal(code: RefusalCode, cause: string, nextStep: string): OperationalError {
  return new OperationalError(code, cause, nextStep);
}

/** The HTTP status of a refusal, or undefined when the error is not one. */
export function refusalStatus(error: unknown): number | undefined {
  if (!(error instanceof OperationalError) || !Object.hasOwn(REFUSAL_STATUS, error.code)) return undefined;
  return REFUSAL_STATUS[error.code as RefusalCode];
}
