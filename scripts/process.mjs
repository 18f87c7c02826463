// Runs child processes for the scripts of this folder, and ends a script with one clear line. No dependencies:
// these scripts run before anything is installed.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));

const MIN_NODE = [20, 19];

/** Prints one line (and a hint) on stderr and ends the process with exit code 2. */
export function fail(message, hint) {
  process.stderr.write(`troupe: ${message}\n${hint ? `  ${hint}\n` : ''}`);
  process.exit(2);
}

export function requireNodeVersion() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  if (major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1])) return;
  fail(`Node ${MIN_NODE.join('.')} or newer is needed, this is ${process.versions.node}`);
}

/** Runs a command with inherited terminal and returns its exit code; its stdout goes to stderr when asked. */
export function run(command, args, { stdoutToStderr = false, env = {} } = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    stdio: ['inherit', stdoutToStderr ? 2 : 'inherit', 'inherit'],
    env: { ...process.env, ...env },
  });
  if (result.error) fail(`cannot run ${command}: ${result.error.message}`);
  return result.status ?? 128;
}

/** Runs a script of an installed package or of the tree with this Node. */
export function runNode(script, args, options) {
  return run(process.execPath, [script, ...args], options);
}

/** Runs npm: the one that started us if there is one, else the one on PATH. */
export function runNpm(args, options) {
  const npm = process.env.npm_execpath;
  if (npm && /npm-cli\.c?js$/.test(npm)) return runNode(npm, args, options);
  return run('npm', args, options);
}
