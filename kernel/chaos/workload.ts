// What runs in the guest of a chaos run and judges it from within: the C verifier, compiled on the host, or where there is no
// compiler a shell script that checks less (a disk with flushes, and the console's counter).
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';

export interface Workload {
  readonly kind: 'verifier' | 'script';
  /** To be put into the guest as an executable. */
  readonly program: Uint8Array;
}

export const WORKLOAD_PATH = '/run/troupe-workload';
const COMPILERS = ['cc', 'gcc', 'clang'];
const SOURCES = ['verifier.c', 'verifier-devices.c'].map((name) =>
  fileURLToPath(new URL(name, import.meta.url)),
);

/** As the verifier, in the words of busybox: DISK SECONDS SEED SPARE-DISK. */
const SCRIPT = `#!/bin/sh
disk=$1 end=$(($(date +%s) + $2)) n=0 writes=0
cd /run
(
  while [ ! -e stop ]; do
    slot=$((writes % 16))
    dd if=/dev/urandom of=block bs=64k count=4 2>/dev/null
    dd if=block of=$disk bs=64k count=4 seek=$((slot * 4)) conv=notrunc,fsync 2>/dev/null || echo "! disk: write failed $slot" >&2
    sum=$(md5sum <block)
    seen=$(dd if=$disk bs=64k count=4 skip=$((slot * 4)) iflag=direct 2>/dev/null | md5sum)
    [ "$sum" = "$seen" ] || echo "! disk: slot $slot differs" >&2
    writes=$((writes + 1))
  done
  echo $writes >writes
) &
while [ $(date +%s) -lt $end ]; do
  burst=0
  while [ $burst -lt 50 ]; do burst=$((burst + 1)) n=$((n + 1)); echo "c $n"; done
  usleep 50000
done
touch stop
wait
echo "= writes $(cat writes)"
`;

/** Compiles the verifier where the host can. */
export async function makeWorkload(): Promise<Workload> {
  const folder = await mkdtemp(join(tmpdir(), 'troupe-workload-'));
  try {
    const target = join(folder, 'verifier');
    for (const compiler of COMPILERS) {
      try {
        const flags = ['-O2', '-static', '-pthread', '-o', target, ...SOURCES];
        await promisify(execFile)(compiler, flags);
        return { kind: 'verifier', program: await readFile(target) };
      } catch {
        continue; // there is no such compiler, or no static C library
      }
    }
    return { kind: 'script', program: Buffer.from(SCRIPT) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const BLOCK_BYTES = 4096;
const MASK = (1n << 64n) - 1n;

/** The verifier's sum over a disk, of the image that the host has. */
export function sumDisk(image: Uint8Array): string {
  const words = new BigUint64Array(image.buffer, image.byteOffset, Math.floor(image.length / 8));
  const perBlock = BLOCK_BYTES / 8;
  let sum = 0n;
  for (let block = 0; block + perBlock <= words.length; block += perBlock) {
    let blockSum = 0xcbf29ce484222325n;
    for (let i = block; i < block + perBlock; i++)
      blockSum = ((blockSum ^ words[i]!) * 0x100000001b3n) & MASK;
    sum = (sum * 31n + blockSum) & MASK;
  }
  return sum.toString(16).padStart(16, '0');
}
