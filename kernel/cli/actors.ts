// `troupe actors GUEST`: the actors of a running guest as a table, once or again each second.
import { parseArgs } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { GuestControl, TroupeError, guestNames, type ActorStatus } from '../index.js';

export const ACTORS_HELP = `usage: troupe actors [GUEST] [--watch] [--json]

Shows the actors of a running guest: kind, state, generation, restarts, time since the loop was last seen to turn, messages and
requests that wait, messages a second, processor time. GUEST is its --name; it may be left out when one guest runs.

  --watch   again each second, until the guest ends or Ctrl-C
  --json    as JSON, one line a look
`;

const HEADS = ['NAME', 'KIND', 'STATE', 'GEN', 'RESTARTS', 'BEAT', 'QUEUE', 'MSG/S', 'CPU'] as const;
const WATCH_MS = 1000;

export async function actors(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parse(argv);
  if (values.help === true) {
    process.stdout.write(ACTORS_HELP);
    return 0;
  }
  if (positionals.length > 1)
    throw new TroupeError('bad-flag', `'${positionals[1]}' is too much`, 'troupe actors GUEST');
  const guest = await GuestControl.connect(positionals[0] ?? onlyGuest());
  // Whoever read has seen enough (troupe actors --watch | head).
  process.stdout.on('error', () => process.exit(0));
  try {
    for (;;) {
      const status = await guest.call('actors', null);
      const clear = values.watch === true && process.stdout.isTTY === true ? '\x1b[H\x1b[2J' : '';
      process.stdout.write(
        clear + (values.json === true ? `${JSON.stringify(status)}\n` : formatActors(status)),
      );
      if (values.watch !== true) return 0;
      await delay(WATCH_MS);
    }
  } catch (error) {
    const ended = error instanceof TroupeError && error.code === 'not-running';
    if (ended && values.watch === true) return 0;
    throw error;
  } finally {
    guest.close();
  }
}

function parse(argv: readonly string[]) {
  const options = {
    watch: { type: 'boolean' },
    json: { type: 'boolean' },
    help: { type: 'boolean', short: 'h' },
  } as const;
  try {
    return parseArgs({ args: [...argv], options, strict: true, allowPositionals: true });
  } catch (cause) {
    const text = cause instanceof Error ? cause.message.split(/\. |\n/)[0]! : String(cause);
    throw new TroupeError('bad-flag', text, 'see troupe actors --help', { cause });
  }
}

function onlyGuest(): string {
  const names = guestNames();
  if (names.length === 1) return names[0]!;
  const which = names.length === 0 ? 'no guest runs' : `there are ${names.join(', ')}`;
  throw new TroupeError('bad-flag', `no guest is named; ${which}`, 'troupe actors GUEST');
}

export function formatActors(status: readonly ActorStatus[]): string {
  const rows = status.map((a) => [
    a.name,
    a.kind,
    a.state,
    `${a.generation}`,
    `${a.restarts}`,
    formatAge(a.heartbeatAgeMs),
    `${a.queueDepth}`,
    `${a.messagesPerSecond}`,
    `${a.cpuPercent}%`,
  ]);
  const widths = HEADS.map((head, i) => Math.max(head.length, ...rows.map((row) => row[i]!.length)));
  const isNumber = (column: number): boolean => column >= 3;
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (isNumber(i) ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd();
  return [HEADS, ...rows].map((cells) => `${line(cells)}\n`).join('');
}

function formatAge(ms: number): string {
  return ms < 10_000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`;
}
