// The `troupe` command: picks the subcommand, turns its result into an exit code, and an error of the user's into one line
// with the fix.
import { readFileSync } from 'node:fs';
import { TroupeError } from '../index.js';
import { RUN_HELP, parseRunArguments } from './args.js';
import { chaos } from './chaos.js';
import { actors } from './actors.js';
import { fault } from './fault.js';
import { cpu } from './cpu.js';
import { doctor } from './doctor.js';
import { EXIT_BAD_INPUT, EXIT_FAILED, run } from './run.js';

const HELP = `usage: troupe <command> [options]

  run        boot a virtual machine on this terminal (troupe run --help)
  chaos      runs guests under a fault plan and reports (troupe chaos --help)
  actors     the actors of a running guest (troupe actors --help)
  fault      break an actor of a running guest (troupe fault --help)
  cpu        run CPU test vectors (troupe cpu --help)
  doctor     what this host can do, and how to mend what it cannot
  help       this text
  version    Troupe's version

With no command, or with options only, troupe runs: troupe --smp 4 is troupe run --smp 4.
`;

/** Errors that no change of the command line mends. */
const FAILURES: readonly TroupeError['code'][] = ['actor-failed', 'not-running', 'timeout'];

function version(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')) as {
    version: string;
  };
  return manifest.version;
}

async function main(argv: readonly string[]): Promise<number> {
  const [first = 'run'] = argv;
  const command = first.startsWith('-') && first !== '--version' && first !== '--help' ? 'run' : first;
  switch (command) {
    case 'run': {
      const args = parseRunArguments(argv[0] === 'run' ? argv.slice(1) : argv);
      if (!args.help) return run(args);
      process.stdout.write(RUN_HELP);
      return 0;
    }
    case 'chaos':
      return chaos(argv.slice(1));
    case 'actors':
      return actors(argv.slice(1));
    case 'fault':
      return fault(argv.slice(1));
    case 'cpu':
      return cpu(argv.slice(1));
    case 'doctor':
      return doctor(argv.slice(1));
    case 'help':
    case '--help':
      process.stdout.write(HELP);
      return 0;
    case 'version':
    case '--version':
      process.stdout.write(`${version()}\n`);
      return 0;
    default:
      throw new TroupeError('bad-flag', `there is no command '${command}'`, 'see troupe help');
  }
}

function report(error: unknown): number {
  if (!(error instanceof TroupeError)) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    process.stderr.write(`troupe: internal error: ${text}\n`);
    return EXIT_FAILED;
  }
  const hint = error.hint === undefined ? '' : `; ${error.hint}`;
  process.stderr.write(`troupe: ${error.message}${hint}\n`);
  return FAILURES.includes(error.code) ? EXIT_FAILED : EXIT_BAD_INPUT;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.exitCode = report(error);
}
