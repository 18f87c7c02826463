// A kernel's symbols as System.map and /proc/kallsyms give them: "ffffffff81000000 T _text" a line, in any order. Names addresses by
// the function that they lie in.

const FUNCTION_TYPES = 'tTwW';
/** No function is so long: what lies further behind the last symbol is something else. */
const MAX_DISTANCE = 1n << 20n;

export class SymbolTable {
  readonly #addresses: BigUint64Array;
  readonly #names: readonly string[];

  private constructor(addresses: BigUint64Array, names: readonly string[]) {
    this.#addresses = addresses;
    this.#names = names;
  }

  /** Lines that are no symbols of code are passed over. Of symbols at one address the first counts. */
  static parse(text: string): SymbolTable {
    const found = new Map<bigint, string>();
    for (const [, address, type, name] of text.matchAll(/^([0-9a-f]{8,16}) (\w) (\S+)/gm)) {
      const at = BigInt(`0x${address!}`);
      if (at !== 0n && FUNCTION_TYPES.includes(type!) && !found.has(at)) found.set(at, name!);
    }
    const addresses = BigUint64Array.from(found.keys()).sort();
    return new SymbolTable(
      addresses,
      Array.from(addresses, (at) => found.get(at)!),
    );
  }

  get size(): number {
    return this.#names.length;
  }

  /** `do_syscall_64+0x10`; undefined outside of all functions. */
  nameOf(address: bigint): string | undefined {
    let low = 0;
    let high = this.#addresses.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#addresses[middle]! <= address) low = middle + 1;
      else high = middle;
    }
    if (low === 0) return undefined;
    const distance = address - this.#addresses[low - 1]!;
    if (distance >= MAX_DISTANCE) return undefined;
    const name = this.#names[low - 1]!;
    return distance === 0n ? name : `${name}+0x${distance.toString(16)}`;
  }
}
