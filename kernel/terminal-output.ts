// Writes a stream's bytes to a file descriptor of this process without blocking its thread: one write at a time, whole, in order,
// also where the descriptor does not block (a terminal shared with a shell often does not) or takes a part.
import { write } from 'node:fs';
import { promisify } from 'node:util';

const RETRY_MS = 5;
const writeSome = promisify(write);

/** Resolves when all is written; when the reader is gone (EPIPE, EIO) the rest is dropped. */
export async function writeAll(fd: number, bytes: Uint8Array): Promise<void> {
  let done = 0;
  while (done < bytes.length) {
    try {
      const { bytesWritten } = await writeSome(fd, bytes, done, bytes.length - done);
      done += bytesWritten;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
}
