// What a guest under measurement says on its serial line, a line at a time; other lines are the kernel's and mean nothing here.

export type GuestLine =
  /** Init runs: the boot is over. */
  | { readonly kind: 'up' }
  /** The guest does nothing for as long as it was told. */
  | { readonly kind: 'idle' }
  | { readonly kind: 'done' }
  /** Nanoseconds of the guest's monotonic clock, now. */
  | { readonly kind: 'clock'; readonly ns: number }
  | { readonly kind: 'value'; readonly name: string; readonly value: number; readonly unit: string }
  /** A benchmark's result was not what it must be. */
  | { readonly kind: 'wrong'; readonly name: string; readonly why: string };

export function parseGuestLine(line: string): GuestLine | undefined {
  const words = line.trim().split(' ');
  const [first, second, third] = words;
  if (first === 'guest' && words.length === 2) {
    return second === 'up' || second === 'idle' || second === 'done' ? { kind: second } : undefined;
  }
  if (first === 'clock' && words.length === 2 && /^\d+$/.test(second!))
    return { kind: 'clock', ns: Number(second) };
  if (first !== 'bench' || second === undefined || third === undefined) return undefined;
  const rest = words.slice(3).join(' ');
  if (third === 'wrong') return { kind: 'wrong', name: second, why: rest };
  const value = Number(third);
  return Number.isFinite(value) && value > 0 && rest !== ''
    ? { kind: 'value', name: second, value, unit: rest }
    : { kind: 'wrong', name: second, why: `said ${words.slice(2).join(' ')}` };
}

/** How fast one clock ran by another: 1 when both agree. Undefined until there is a span to judge by. */
export class ClockComparison {
  static readonly #MIN_SPAN_MS = 500;
  #first: { guestMs: number; hostMs: number } | undefined;
  #last: { guestMs: number; hostMs: number } | undefined;

  add(guestMs: number, hostMs: number): void {
    this.#last = { guestMs, hostMs };
    this.#first ??= this.#last;
  }

  ratio(): number | undefined {
    if (this.#first === undefined || this.#last === undefined) return undefined;
    const hostMs = this.#last.hostMs - this.#first.hostMs;
    if (hostMs < ClockComparison.#MIN_SPAN_MS) return undefined;
    return (this.#last.guestMs - this.#first.guestMs) / hostMs;
  }
}
