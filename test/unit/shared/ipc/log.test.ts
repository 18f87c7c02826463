import { expect, it } from 'vitest';
import { createTextLogger } from '#shared/ipc/log.js';

it('writes plain lines from its level on: who, what, and the fields in short', () => {
  const lines: string[] = [];
  const disk = createTextLogger('warn', 'virtio-blk-0', (line) => lines.push(line));
  const kernel = createTextLogger('error', 'kernel', (line) => lines.push(line));
  disk.info({}, 'nothing');
  disk.error({ type: 0, sector: 8, error: 'Error: EIO: i/o error\n    at x' }, 'disk request failed');
  disk.warn({ error: 'desc-loop', queue: 0, more: undefined }, 'guest broke a virtio rule');
  kernel.warn({}, 'nothing');
  kernel.error({ error: { code: 'ENOSPC' } }, 'no diagnostic bundle');
  expect(lines).toEqual([
    'troupe: virtio-blk-0: disk request failed (type 0, sector 8, Error: EIO: i/o error)\n',
    'troupe: virtio-blk-0: guest broke a virtio rule (desc-loop, queue 0)\n',
    'troupe: no diagnostic bundle ({"code":"ENOSPC"})\n',
  ]);
});
