// One family of errors. Which class it is says whose fault it is and who must act.

/** Our own bug. */
export class InternalError extends Error {
  override name = 'InternalError';
}

/** The caller (an operator's command, an API client) asked for something impossible. */
export class UsageError extends Error {
  override name = 'UsageError';
}

export interface ConfigProblem {
  /** File or document the value came from. */
  readonly source: string;
  readonly key: string;
  readonly value: string;
  readonly allowed: string;
}

/** One line naming source, key, value and what is allowed. */
export class ConfigError extends Error {
  override name = 'ConfigError';
  readonly problem: ConfigProblem;

  constructor(problem: ConfigProblem) {
    super(`${problem.source}: ${problem.key} is ${problem.value}; allowed: ${problem.allowed}`);
    this.problem = problem;
  }
}

/**
 * A peer sent something that is not legal. Thrown only by decoders (firmware/wire); machines catch it,
 * count it and answer what the RFC asks. `answer` carries the protocol's own code where there is one
 * (IKEv2 notify type, BGP code << 8 | subcode).
 */
export class WireError extends Error {
  override name = 'WireError';
  readonly answer: number | undefined;
  readonly data: Uint8Array | undefined;

  constructor(message: string, answer?: number, data?: Uint8Array) {
    super(message);
    this.answer = answer;
    this.data = data;
  }
}

/** The host, the network or a server did not do its part; `nextStep` tells the operator what to do. */
export class OperationalError extends Error {
  override name = 'OperationalError';
  readonly code: string;
  readonly nextStep: string;

  constructor(code: string, message: string, nextStep: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.nextStep = nextStep;
  }
}

export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new InternalError(message);
}

export function unreachable(value: never): never {
  throw new InternalError(`unexpected value ${JSON.stringify(value)}`);
}
