// What each local is known to hold while the tape is read: the node that was set, as long as every way here set it.
// Scopes follow control flow: leaving one brings back what was known when it was entered.

/** Nothing is known: a read makes a node of its own. */
export const UNKNOWN = -1;

export class TreeValues {
  readonly #current: Int32Array;
  /** Locals that changed, each with what was known before. */
  readonly #trail: number[] = [];

  constructor(locals: number) {
    this.#current = new Int32Array(locals).fill(UNKNOWN);
  }

  get(local: number): number {
    return this.#current[local]!;
  }

  set(local: number, node: number): void {
    this.#trail.push(local, this.#current[local]!);
    this.#current[local] = node;
  }

  /** Holds everywhere: a local that is never set. */
  fix(local: number, node: number): void {
    this.#current[local] = node;
  }

  /** Opens a scope. */
  enter(): number {
    return this.#trail.length;
  }

  /** Adds the locals that are known in the scope's beginning and changed since. */
  changes(scope: number, into: Set<number>): void {
    for (let i = scope; i < this.#trail.length; i += 2)
      if (this.#trail[i + 1] !== UNKNOWN) into.add(this.#trail[i]!);
  }

  /** Back to how the scope was entered. */
  leave(scope: number): void {
    for (let i = this.#trail.length - 2; i >= scope; i -= 2)
      this.#current[this.#trail[i]!] = this.#trail[i + 1]!;
    this.#trail.length = scope;
  }
}
