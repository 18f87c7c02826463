// `troupe doctor`: a table of what this host can do and how to mend what it cannot; `--json` for programs.
import { TroupeError, examineHost, type HostFinding } from '../index.js';

const DOCTOR_HELP = `usage: troupe doctor [--json]

Says what this host can do for Troupe, and the fix for each lack. Exit code 0, whatever is missing: the wasm engine needs nothing.
`;

export function doctor(args: readonly string[]): number {
  const unknown = args.find((arg) => !['--json', '--help', '-h'].includes(arg));
  if (unknown !== undefined)
    throw new TroupeError('bad-flag', `doctor does not know '${unknown}'`, 'see troupe doctor --help');
  if (args.includes('--help') || args.includes('-h')) {
    process.stdout.write(DOCTOR_HELP);
    return 0;
  }
  const findings = examineHost();
  process.stdout.write(args.includes('--json') ? `${JSON.stringify(findings, null, 2)}\n` : table(findings));
  return 0;
}

function table(findings: readonly HostFinding[]): string {
  const name = Math.max(...findings.map((f) => f.name.length));
  return findings
    .map((f) => {
      const line = `${f.name.padEnd(name)}  ${f.state.padEnd(7)}  ${f.detail}\n`;
      return f.fix === undefined ? line : `${line}${' '.repeat(name + 11)}fix: ${f.fix}\n`;
    })
    .join('');
}
