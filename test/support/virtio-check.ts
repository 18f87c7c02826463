// What the payload virtio-check.c leaves behind when nothing went wrong.

export const VIRTIO_CHECK_DISK_BYTES = 2048 * 512;
const BATCH = 4;
const REQUEST_BYTES = 8 * 512;

/** The last round that wrote each place counts. */
export function expectedDisk(rounds: number): Uint8Array {
  const disk = new Uint8Array(VIRTIO_CHECK_DISK_BYTES);
  for (let round = 0; round < rounds; round++) {
    for (let request = 0; request < BATCH; request++) {
      const start = ((round * BATCH + request) * REQUEST_BYTES) % VIRTIO_CHECK_DISK_BYTES;
      for (let at = 0; at < REQUEST_BYTES; at += 64)
        disk[start + at] = (round * 7 + request * 13 + at + (at >> 8)) & 0xff;
    }
  }
  return disk;
}

/** Of virtio-console. */
export function expectedLines(rounds: number): string {
  return Array.from({ length: rounds }, (_, i) => `line ${String(i).padStart(5, '0')}\n`).join('');
}
