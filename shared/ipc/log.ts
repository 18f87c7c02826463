// The log as actors and the kernel see it: one line an event, fields first, message last, as pino takes them. Here only
// the shape; the threads that log make a pino (shared/ipc/actor-log.ts, kernel/log.ts).

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

export const LOG_LEVELS: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'];

/** 'json' for machines: pino's lines; 'text' for a person at a terminal. */
export type LogFormat = 'json' | 'text';

type LogVerb = (fields: Record<string, unknown>, message: string) => void;

export interface Logger {
  readonly trace: LogVerb;
  readonly debug: LogVerb;
  readonly info: LogVerb;
  readonly warn: LogVerb;
  readonly error: LogVerb;
  readonly fatal: LogVerb;
}

/** 'troupe: virtio-blk-0: disk request failed (sector 8)': who, what, and the fields in short. */
export function formatLogText(actor: string, fields: Record<string, unknown>, message: string): string {
  const words = Object.entries(fields)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => (name === 'error' ? plain(value) : `${name} ${plain(value)}`));
  const more = words.length === 0 ? '' : ` (${words.join(', ')})`;
  return `troupe: ${actor === 'kernel' ? '' : `${actor}: `}${message}${more}\n`;
}

function plain(value: unknown): string {
  return typeof value === 'object' ? JSON.stringify(value) : String(value).replace(/\s*\n[^]*/, '');
}

/** A logger that leaves out what is below `level`; `verbOf` gives what one above does. */
export function createLogger(level: LogLevel, verbOf: (own: keyof Logger) => LogVerb): Logger {
  const threshold = LOG_LEVELS.indexOf(level);
  const verb = (own: keyof Logger): LogVerb => (LOG_LEVELS.indexOf(own) < threshold ? nothing : verbOf(own));
  return {
    trace: verb('trace'),
    debug: verb('debug'),
    info: verb('info'),
    warn: verb('warn'),
    error: verb('error'),
    fatal: verb('fatal'),
  };
}

/** A logger of plain lines from `level` on. */
export function createTextLogger(level: LogLevel, actor: string, write: (line: string) => void): Logger {
  return createLogger(level, () => (fields, message) => write(formatLogText(actor, fields, message)));
}

const nothing: LogVerb = () => {};

/** For tests. */
export const silentLogger: Logger = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  error: nothing,
  fatal: nothing,
};
