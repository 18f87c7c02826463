// Reads a stream of numbered lines, `PREFIX 1`, `PREFIX 2`, …, as it comes, and tells whether each came exactly once and in
// order. Other lines are kept aside. A long flood costs no memory.

export class NumberedLines {
  /** Of the last line in order. */
  count = 0;
  /** What was wrong first, with what came before; undefined while all is well. */
  fault: string | undefined;
  readonly others: string[] = [];
  readonly #prefix: string;
  readonly #decoder = new TextDecoder();
  #rest = '';
  #before = '';

  constructor(prefix: string) {
    this.#prefix = `${prefix} `;
  }

  push(bytes: Uint8Array): void {
    const lines = (this.#rest + this.#decoder.decode(bytes, { stream: true })).split('\n');
    this.#rest = lines.pop()!;
    for (const line of lines) this.#take(line.endsWith('\r') ? line.slice(0, -1) : line);
  }

  /** Bytes after the last end of line. */
  get unfinished(): string {
    return this.#rest;
  }

  #take(line: string): void {
    if (!line.startsWith(this.#prefix)) {
      this.others.push(line);
      return;
    }
    const number = Number(line.slice(this.#prefix.length));
    if (number !== this.count + 1) {
      this.fault ??= `'${line}' after '${this.#before}'`;
    }
    this.count = number;
    this.#before = line;
  }
}
