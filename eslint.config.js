// Lint: few rules, each of which has caught real bugs or holds a decision of ARCHITECTURE.md. Bit operations, non-null
// assertions on typed arrays and endless loops are the trade of an emulator and stay allowed.
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const SOURCES = ['shared/**/*.ts', 'actors/**/*.ts', 'kernel/**/*.ts', 'native/**/*.ts'];
const ATOMICS_MESSAGE = 'Atomics live behind named verbs in shared/{ipc,memory,virtio,x86}.';
const WORKERS_MESSAGE = 'Only kernel/supervision starts workers; only main.ts files know that they are one.';

export default defineConfig(
  {
    ignores: [
      'dist/',
      'native/build/',
      'prebuilds/',
      'coverage/',
      '.tmp/',
      'test/architecture/fixture/',
      '**/*.cjs',
    ],
  },
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.base],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-var': 'error',
      'prefer-const': ['error', { destructuring: 'all' }],
      'no-throw-literal': 'error',
      'no-self-compare': 'error',
      'no-unreachable-loop': 'error',
      'no-fallthrough': 'error',
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/await-thenable': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: false },
      ],
    },
  },
  {
    files: SOURCES,
    ignores: ['kernel/supervision/**', '**/main.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          paths: ['worker_threads', 'node:worker_threads'].map((name) => ({
            name,
            message: WORKERS_MESSAGE,
          })),
        },
      ],
    },
  },
  {
    files: SOURCES,
    ignores: ['ipc', 'memory', 'virtio', 'x86'].map((folder) => `shared/${folder}/**`),
    rules: { 'no-restricted-globals': ['error', { name: 'Atomics', message: ATOMICS_MESSAGE }] },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: { ecmaVersion: 'latest', sourceType: 'module' },
    rules: { eqeqeq: 'error', 'no-var': 'error', 'prefer-const': 'error', 'no-unused-vars': 'error' },
  },
);
