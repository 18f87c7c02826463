// A load for a guest that knows its own answers: compression and hashing, awk and shell loops, processes, pipes and signals, in two
// workers at once. Both the script and what it must print come from a seed.
import { createHash } from 'node:crypto';
import { type Prng, createPrng } from '#shared/base/prng.js';

export interface LoadRound {
  readonly script: string;
  /** Both workers' data, one behind the other. */
  readonly stdin: Uint8Array;
  readonly expected: string;
}

const WORKERS = 2;
const MODULUS = 1_000_003;
const BUCKETS = 97;

/** Parts of one worker; each prints one line. */
interface Part {
  readonly shell: string;
  readonly line: string;
}

export function makeRound(seed: number): LoadRound {
  const prng = createPrng(seed);
  const files = Array.from({ length: WORKERS }, () => makeData(prng));
  const workers = files.map((data, worker) => shuffled(prng, partsOf(prng, data, worker)));
  const functions = workers.map(
    (parts, w) => `work${w}() {\n${parts.map(({ shell }) => shell).join('\n')}\n}`,
  );
  const ends = files.map((_, w) => files.slice(0, w + 1).reduce((sum, { length }) => sum + length, 0));
  const take = files.map(({ length }, w) => `head -c ${ends[w]} data | tail -c ${length} > data${w}`);
  const start = files.map((_, w) => `work${w} > out${w} 2>&1 &`);
  const script = [
    'rm -rf /load && mkdir /load && cd /load || exit 1',
    'cat > data',
    ...take,
    ...functions,
    ...start,
    'wait',
    ...files.map((_, w) => `cat out${w}`),
  ].join('\n');
  return {
    script,
    stdin: Buffer.concat(files),
    expected: workers.map((parts) => parts.map(({ line }) => `${line}\n`).join('')).join(''),
  };
}

/** Half of it compresses. */
function makeData(prng: Prng): Uint8Array {
  const data = new Uint8Array(65_536 + prng.below(65_536));
  prng.fill(data);
  for (let i = 0; i < data.length / 2; i++) data[i] = 97 + (data[i]! & 15);
  return data;
}

function shuffled<T>(prng: Prng, list: readonly T[]): T[] {
  const rest = [...list];
  return list.map(() => rest.splice(prng.below(rest.length), 1)[0]!);
}

function partsOf(prng: Prng, data: Uint8Array, worker: number): Part[] {
  const sum = createHash('sha256').update(data).digest('hex');
  return [
    { shell: `sha256sum < data${worker} | cut -d' ' -f1`, line: sum },
    { shell: `gzip -c data${worker} | gunzip -c | sha256sum | cut -d' ' -f1`, line: sum },
    awkPart(prng.below(MODULUS), 5000 + prng.below(20_000)),
    shellPart(prng.below(MODULUS), 300 + prng.below(1000)),
    forkPart(5 + prng.below(20)),
    pipePart(50 + prng.below(200)),
    signalPart(5 + prng.below(20)),
  ];
}

function awkPart(seed: number, turns: number): Part {
  const buckets = new Array<number>(BUCKETS).fill(0);
  let state = seed;
  for (let i = 0; i < turns; i++) {
    state = (state * 1103 + 12345) % MODULUS;
    buckets[state % BUCKETS]! += state;
  }
  const total = buckets.reduce((all, bucket) => (all * 31 + bucket) % 1_000_000_007, 0);
  const program =
    `BEGIN { s = ${seed}; for (i = 0; i < ${turns}; i++) { s = (s * 1103 + 12345) % ${MODULUS}; h[s % ${BUCKETS}] += s } ` +
    `for (k = 0; k < ${BUCKETS}; k++) t = (t * 31 + h[k]) % 1000000007; printf "%d %d\\n", s, t }`;
  return { shell: `awk '${program}'`, line: `${state} ${total}` };
}

function shellPart(seed: number, turns: number): Part {
  let state = BigInt(seed);
  for (let i = 0; i < turns; i++) state = (state * 1_103_515_245n + 12_345n) & 0x7fff_ffffn;
  const shell = `s=${seed}; i=0; while [ $i -lt ${turns} ]; do s=$(( (s * 1103515245 + 12345) & 2147483647 )); i=$((i + 1)); done; echo $s`;
  return { shell, line: String(state) };
}

/** A shell that is forked and a program that is executed, each turn. */
function forkPart(turns: number): Part {
  let total = 0;
  for (let i = 0; i < turns; i++) total = (total * 3 + (i % 7) + i * 5) % MODULUS;
  const shell =
    `t=0; i=0; while [ $i -lt ${turns} ]; do ( exit $((i % 7)) ); c=$?; ` +
    `t=$(( (t * 3 + c + $(/bin/busybox expr $i \\* 5)) % ${MODULUS} )); i=$((i + 1)); done; echo $t`;
  return { shell, line: String(total) };
}

function pipePart(numbers: number): Part {
  const squares = Array.from({ length: numbers }, (_, i) => (i + 1) ** 2 % 1009).sort((a, b) => b - a);
  const shell = `seq 1 ${numbers} | while read x; do echo $((x * x % 1009)); done | sort -rn | head -n 5 | tr '\\n' ' '; echo`;
  return { shell, line: `${squares.slice(0, 5).join(' ')} ` };
}

/** A shell signals itself, then has a child signal it and waits for its end: so no signal merges with another. */
function signalPart(turns: number): Part {
  const shell =
    `sh -c 'n=0; i=0; trap "n=\\$((n + 1))" USR1; p=$$; while [ $i -lt ${turns} ]; do ` +
    `kill -USR1 $p; ( kill -USR1 $p ) & wait $!; wait $!; i=$((i + 1)); done; echo $n'`;
  return { shell, line: String(2 * turns) };
}
