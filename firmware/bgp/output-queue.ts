// Outputs that wait for poll(). Taking one costs the same however many wait: a full table makes a hundred thousand.

export class OutputQueue<Output> {
  #waiting: Output[] = [];
  #taken = 0;

  push(output: Output): void {
    this.#waiting.push(output);
  }

  shift(): Output | undefined {
    if (this.#taken < this.#waiting.length) return this.#waiting[this.#taken++];
    this.#waiting = [];
    this.#taken = 0;
    return undefined;
  }
}
