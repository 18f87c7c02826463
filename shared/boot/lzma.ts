// The LZMA decoder proper (LZMA specification, as LZMA2 in .xz uses it): adaptive range decoding of literals, matches
// and repeated matches into an output that is its own dictionary. Every read and copy is bounded: a corrupt
// chunk is a `bad-kernel` error.
import { badKernel } from './image-reader.js';

const PROBABILITY_BITS = 11;
const PROBABILITY_INITIAL = 1 << (PROBABILITY_BITS - 1);
const MOVE_BITS = 5;
const STATES = 12;
const POSITION_STATES = 16;
const MATCH_MIN = 2;
const LENGTH_LOW = 2; // offsets in a length coder: two choice bits, then low, mid and high trees
const LENGTH_MID = LENGTH_LOW + POSITION_STATES * 8;
const LENGTH_HIGH = LENGTH_MID + POSITION_STATES * 8;
const LENGTH_CODER = LENGTH_HIGH + 256;
const ALIGN_BITS = 4;
const SLOT_BITS = 6;
const FIRST_ALIGNED_SLOT = 14;

// One array holds every probability; these are the tables' places in it.
const IS_MATCH = 0;
const IS_REP = IS_MATCH + STATES * POSITION_STATES;
const IS_REP0 = IS_REP + STATES;
const IS_REP1 = IS_REP0 + STATES;
const IS_REP2 = IS_REP1 + STATES;
const IS_REP0_LONG = IS_REP2 + STATES;
const MATCH_LENGTH = IS_REP0_LONG + STATES * POSITION_STATES;
const REP_LENGTH = MATCH_LENGTH + LENGTH_CODER;
const SLOT = REP_LENGTH + LENGTH_CODER;
const SPECIAL = SLOT + 4 * (1 << SLOT_BITS);
const ALIGN = SPECIAL + 128;
const LITERAL = ALIGN + (1 << ALIGN_BITS);
const LITERAL_CODER = 0x300;
const MAX_LITERAL_BITS = 4; // lc + lp, LZMA2's limit

export class LzmaDecoder {
  position: number;
  readonly #output: Uint8Array;
  readonly #probabilities = new Uint16Array(LITERAL + (LITERAL_CODER << MAX_LITERAL_BITS));
  #dictionaryStart: number;
  #literalContextBits = 0;
  #literalPositionMask = 0;
  #positionMask = 0;
  #ready = false;
  #state = 0;
  #rep0 = 0;
  #rep1 = 0;
  #rep2 = 0;
  #rep3 = 0;
  #input: Uint8Array = new Uint8Array(0);
  #next = 0;
  #range = 0;
  #code = 0;

  /** Writes to `output` from `position` on. */
  constructor(output: Uint8Array, position: number) {
    this.#output = output;
    this.position = position;
    this.#dictionaryStart = position;
  }

  /** The properties byte: (pb * 5 + lp) * 9 + lc. Resets the state. */
  setProperties(byte: number): void {
    const lc = byte % 9;
    const lp = Math.floor(byte / 9) % 5;
    const pb = Math.floor(byte / 45);
    if (pb > 4 || lc + lp > MAX_LITERAL_BITS) throw corrupt();
    this.#literalContextBits = lc;
    this.#literalPositionMask = (1 << lp) - 1;
    this.#positionMask = (1 << pb) - 1;
    this.#ready = true;
    this.resetState();
  }

  resetState(): void {
    this.#probabilities.fill(PROBABILITY_INITIAL);
    this.#state = 0;
    this.#rep0 = this.#rep1 = this.#rep2 = this.#rep3 = 0;
  }

  resetDictionary(): void {
    this.#dictionaryStart = this.position;
  }

  /** A chunk of plain bytes. */
  append(bytes: Uint8Array): void {
    if (this.position + bytes.length > this.#output.length) throw corrupt();
    this.#output.set(bytes, this.position);
    this.position += bytes.length;
  }

  /** A chunk of LZMA that unpacks to `length` bytes. */
  decode(chunk: Uint8Array, length: number): void {
    const end = this.position + length;
    if (!this.#ready || end > this.#output.length || chunk.length < 5) throw corrupt();
    this.#input = chunk;
    this.#range = 0xffff_ffff;
    this.#code = ((chunk[1]! << 24) | (chunk[2]! << 16) | (chunk[3]! << 8) | chunk[4]!) >>> 0;
    this.#next = 5;
    while (this.position < end) {
      const positionState = (this.position - this.#dictionaryStart) & this.#positionMask;
      if (this.#bit(IS_MATCH + this.#state * POSITION_STATES + positionState) === 0) this.#decodeLiteral();
      else this.#decodeMatch(positionState, end);
    }
    // A chunk that used more input than it has decoded zeros at its end.
    if (this.#next > chunk.length) throw corrupt();
  }

  #decodeLiteral(): void {
    const output = this.#output;
    const at = this.position;
    const previous = at > this.#dictionaryStart ? output[at - 1]! : 0;
    const lc = this.#literalContextBits;
    const context =
      (((at - this.#dictionaryStart) & this.#literalPositionMask) << lc) + (previous >> (8 - lc));
    const table = LITERAL + LITERAL_CODER * context;
    let symbol = 1;
    if (this.#state >= 7) {
      let matched = this.#byteAt(this.#rep0);
      let matching = true;
      while (symbol < 0x100 && matching) {
        const expected = (matched >> 7) & 1;
        matched <<= 1;
        const bit = this.#bit(table + ((1 + expected) << 8) + symbol);
        symbol = (symbol << 1) | bit;
        matching = bit === expected;
      }
    }
    while (symbol < 0x100) symbol = (symbol << 1) | this.#bit(table + symbol);
    output[at] = symbol;
    this.position = at + 1;
    this.#state = this.#state < 4 ? 0 : this.#state < 10 ? this.#state - 3 : this.#state - 6;
  }

  #decodeMatch(positionState: number, end: number): void {
    const state = this.#state;
    let length: number;
    if (this.#bit(IS_REP + state) === 0) {
      this.#rep3 = this.#rep2;
      this.#rep2 = this.#rep1;
      this.#rep1 = this.#rep0;
      length = this.#decodeLength(MATCH_LENGTH, positionState);
      this.#rep0 = this.#decodeDistance(length);
      this.#state = state < 7 ? 7 : 10;
    } else if (this.#bit(IS_REP0 + state) === 0) {
      if (this.#bit(IS_REP0_LONG + state * POSITION_STATES + positionState) === 0) {
        this.#output[this.position] = this.#byteAt(this.#rep0);
        this.position++;
        this.#state = state < 7 ? 9 : 11;
        return;
      }
      length = this.#decodeLength(REP_LENGTH, positionState);
      this.#state = state < 7 ? 8 : 11;
    } else {
      this.#rotateRepeats();
      length = this.#decodeLength(REP_LENGTH, positionState);
      this.#state = state < 7 ? 8 : 11;
    }
    this.#copy(length + MATCH_MIN, end);
  }

  #rotateRepeats(): void {
    let distance: number;
    if (this.#bit(IS_REP1 + this.#state) === 0) distance = this.#rep1;
    else {
      if (this.#bit(IS_REP2 + this.#state) === 0) distance = this.#rep2;
      else {
        distance = this.#rep3;
        this.#rep3 = this.#rep2;
      }
      this.#rep2 = this.#rep1;
    }
    this.#rep1 = this.#rep0;
    this.#rep0 = distance;
  }

  #copy(length: number, end: number): void {
    const from = this.position - this.#rep0 - 1;
    if (from < this.#dictionaryStart || this.position + length > end) throw corrupt();
    const output = this.#output;
    const to = this.position;
    for (let i = 0; i < length; i++) output[to + i] = output[from + i]!;
    this.position = to + length;
  }

  #byteAt(distance: number): number {
    const from = this.position - distance - 1;
    if (from < this.#dictionaryStart) throw corrupt();
    return this.#output[from]!;
  }

  #decodeLength(coder: number, positionState: number): number {
    if (this.#bit(coder) === 0) return this.#tree(coder + LENGTH_LOW + positionState * 8, 3);
    if (this.#bit(coder + 1) === 0) return 8 + this.#tree(coder + LENGTH_MID + positionState * 8, 3);
    return 16 + this.#tree(coder + LENGTH_HIGH, 8);
  }

  #decodeDistance(length: number): number {
    const slot = this.#tree(SLOT + (Math.min(length, 3) << SLOT_BITS), SLOT_BITS);
    if (slot < 4) return slot;
    const directBits = (slot >> 1) - 1;
    const base = (2 | (slot & 1)) * 2 ** directBits;
    if (slot < FIRST_ALIGNED_SLOT) return base + this.#reverseTree(SPECIAL + base - slot, directBits);
    let distance = 0;
    for (let i = 0; i < directBits - ALIGN_BITS; i++) {
      this.#normalize();
      this.#range >>>= 1;
      const bit = this.#code >= this.#range ? 1 : 0;
      if (bit === 1) this.#code -= this.#range;
      distance = distance * 2 + bit;
    }
    return base + distance * (1 << ALIGN_BITS) + this.#reverseTree(ALIGN, ALIGN_BITS);
  }

  #tree(table: number, bits: number): number {
    let symbol = 1;
    for (let i = 0; i < bits; i++) symbol = (symbol << 1) | this.#bit(table + symbol);
    return symbol - (1 << bits);
  }

  #reverseTree(table: number, bits: number): number {
    let symbol = 1;
    let value = 0;
    for (let i = 0; i < bits; i++) {
      const bit = this.#bit(table + symbol);
      symbol = (symbol << 1) | bit;
      value |= bit << i;
    }
    return value;
  }

  /** One bit by the adaptive probability at `index`. */
  #bit(index: number): number {
    this.#normalize();
    const probability = this.#probabilities[index]!;
    const bound = (this.#range >>> PROBABILITY_BITS) * probability;
    if (this.#code < bound) {
      this.#range = bound;
      this.#probabilities[index] = probability + (((1 << PROBABILITY_BITS) - probability) >> MOVE_BITS);
      return 0;
    }
    this.#range -= bound;
    this.#code -= bound;
    this.#probabilities[index] = probability - (probability >> MOVE_BITS);
    return 1;
  }

  #normalize(): void {
    if (this.#range >= 0x100_0000) return;
    this.#range = (this.#range << 8) >>> 0;
    const byte = this.#next < this.#input.length ? this.#input[this.#next]! : 0;
    this.#next++;
    this.#code = ((this.#code << 8) | byte) >>> 0;
  }
}

function corrupt(): Error {
  return badKernel('its xz payload is corrupt');
}
