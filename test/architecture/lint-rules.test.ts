// Lints one-line programs under paths of the tree: the rules that hold threads and atomics in their places must fire
// outside of those places and be silent inside. Rules that need types are left out: they need real files.
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const eslint = new ESLint({
  cwd: root,
  overrideConfig: { languageOptions: { parserOptions: { projectService: false, project: null } } },
  ruleFilter: ({ ruleId }) => ruleId.startsWith('no-restricted-'),
});

async function lint(filePath: string, text: string): Promise<(string | null)[]> {
  const results = await eslint.lintText(text, { filePath: `${root}${filePath}` });
  return results.flatMap((result) => result.messages.map((message) => message.ruleId ?? message.message));
}

const WORKER = "import { Worker } from 'node:worker_threads';\n";
const ATOMIC = 'Atomics.add(words, 0, 1);\n';

describe('worker_threads', () => {
  test.each(['actors/chipset/actor.ts', 'kernel/machine.ts', 'shared/ipc/mailbox.ts'])(
    'not in %s',
    async (path) => {
      expect(await lint(path, WORKER)).toEqual(['no-restricted-imports']);
    },
  );
  test.each(['actors/chipset/main.ts', 'kernel/supervision/worker.ts', 'test/support/worker.ts'])(
    'in %s',
    async (path) => {
      expect(await lint(path, WORKER)).toEqual([]);
    },
  );
});

describe('Atomics', () => {
  test.each(['actors/vcpu/actor.ts', 'kernel/supervision/heartbeat.ts', 'shared/pci/config.ts'])(
    'not in %s',
    async (path) => {
      expect(await lint(path, ATOMIC)).toEqual(['no-restricted-globals']);
    },
  );
  test.each(['shared/ipc/a.ts', 'shared/memory/a.ts', 'shared/virtio/a.ts', 'shared/x86/a.ts', 'bench/a.ts'])(
    'in %s',
    async (path) => {
      expect(await lint(path, ATOMIC)).toEqual([]);
    },
  );
});
