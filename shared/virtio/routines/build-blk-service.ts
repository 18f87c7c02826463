// Build step: writes the module of the disk's request path beside the compiled sources (dist/shared/virtio/routines/blk-service.wasm).
import { writeFileSync } from 'node:fs';
import { buildBlkService } from './blk-service.js';

writeFileSync(new URL('blk-service.wasm', import.meta.url), buildBlkService());
