// The kernel's own log: pino, one line an event, as the actors write it (shared/ipc/actor.ts).
import { pino } from 'pino';
import type { Logger } from '#shared/ipc/log.js';
import type { LogConfig } from './machine-config.js';

export function createKernelLogger(config: LogConfig): Logger {
  const destination = pino.destination({ fd: config.fd, sync: true });
  return pino({ level: config.level, base: { actor: 'kernel', generation: 1 } }, destination);
}
