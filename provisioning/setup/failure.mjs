// A failure of the set-up that the operator can act on: printed as one line, without a stack.

export class SetupFailure extends Error {
  /**
   * @param {string} cause what is wrong, one sentence without full stop
   * @param {string} nextStep what the operator does about it
   */
  constructor(cause, nextStep) {
    super(`${cause}. ${nextStep}`);
    this.name = 'SetupFailure';
  }
}

/** @param {string} line */
export function say(line) {
  process.stderr.write(`set-up: ${line}\n`);
}
