/**
 * ESLint: type-checked rules, and the house's arrows (contracts ← workflows; contracts ← activities ← workers ← cli).
 * Type-only imports are free everywhere. Formatting is Biome's.
 */
import { builtinModules } from 'node:module';
import { defineConfig } from 'eslint/config';
import tseslint from 'typescript-eslint';

const NODE_BUILT_INS = `^(node:|(${builtinModules.filter((name) => !name.startsWith('_')).join('|')})$)`;

/**
 * @param {string} regex
 * @param {string} message
 */
const ban = (regex, message) => ({ regex, message, allowTypeImports: true });

/**
 * @param {...string} folders
 */
const banFolders = (...folders) =>
  ban(
    `^(\\.\\./)+(${folders.join('|')})/`,
    'Arrows go one way: contracts ← workflows; contracts ← activities ← workers ← cli.',
  );

/**
 * @param {...ReturnType<typeof ban>} patterns
 * @returns {import('eslint').Linter.RuleEntry}
 */
const noImports = (...patterns) => ['error', { patterns }];

const ACTIVITY_CONTEXT = ban(
  '^@temporalio/activity',
  'Only activity.ts and stage.ts know that they run in an activity; take what you need as an argument.',
);
const OTHER_TEMPORAL = ban('^@temporalio/(client|worker|workflow|testing)', 'Activities are called; they do not call.');

/** @type {import('eslint').Linter.RuleEntry} */
const NO_ENVIRONMENT = [
  'error',
  { object: 'process', property: 'env', message: 'Only workers and cli read the environment; take it as an argument.' },
];

export default defineConfig(
  { ignores: ['node_modules', '.reverie', 'trainer', 'contracts/schemas', 'test/replay/**/*.json', 'infra'] },
  ...tseslint.configs.recommendedTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'off',
      '@typescript-eslint/consistent-type-imports': ['error', { fixStyle: 'inline-type-imports' }],
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', name: ['test', 'it', 'describe', 'suite'], package: 'node:test' },
          ],
        },
      ],
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/no-unnecessary-type-assertion': 'error',
      '@typescript-eslint/no-unused-vars': [
        'error',
        { argsIgnorePattern: '^_', varsIgnorePattern: '^_$', ignoreRestSiblings: true },
      ],
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      // What an AbortSignal was given as its reason is thrown on as it is.
      '@typescript-eslint/only-throw-error': ['error', { allowThrowingAny: true, allowThrowingUnknown: true }],
      '@typescript-eslint/prefer-promise-reject-errors': [
        'error',
        { allowThrowingAny: true, allowThrowingUnknown: true },
      ],
      // A promise returned from inside try must be awaited there, or the catch does not see it.
      '@typescript-eslint/return-await': ['error', 'error-handling-correctness-only'],
      // Stages share one asynchronous shape, also where one has nothing to wait for.
      '@typescript-eslint/require-await': 'off',
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
    },
  },
  { files: ['contracts/**', 'workflows/**', 'activities/**'], rules: { 'no-restricted-properties': NO_ENVIRONMENT } },
  {
    files: ['contracts/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': noImports(
        banFolders('workflows', 'activities', 'workers', 'cli', 'test'),
        ban('^@temporalio/', 'Contracts are plain data, for any program.'),
      ),
    },
  },
  {
    files: ['workflows/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': noImports(
        banFolders('activities', 'workers', 'cli', 'test'),
        ban(NODE_BUILT_INS, 'Workflows run in a sandbox without Node; do it in an activity.'),
        ban('^@temporalio/(activity|client|worker|testing)', 'Workflows import @temporalio/workflow and common.'),
        ban('/contracts/(stage-keys|write-schemas)\\.ts$', 'It needs Node; call it in an activity.'),
      ),
      'no-restricted-globals': [
        'error',
        ...['process', 'Buffer', 'fetch', 'require', 'setImmediate'].map((name) => ({
          name,
          message: 'Workflows run in a sandbox without Node; do it in an activity.',
        })),
      ],
    },
  },
  {
    files: ['activities/**'],
    rules: {
      '@typescript-eslint/no-restricted-imports': noImports(
        banFolders('workflows', 'workers', 'cli', 'test'),
        ACTIVITY_CONTEXT,
        OTHER_TEMPORAL,
      ),
    },
  },
  {
    files: ['activities/*/activity.ts', 'activities/{stage,heartbeat,execution,hold-back}.ts'],
    rules: {
      '@typescript-eslint/no-restricted-imports': noImports(
        banFolders('workflows', 'workers', 'cli', 'test'),
        OTHER_TEMPORAL,
      ),
    },
  },
  {
    files: ['workers/**'],
    rules: { '@typescript-eslint/no-restricted-imports': noImports(banFolders('cli', 'test')) },
  },
  { files: ['cli/**'], rules: { '@typescript-eslint/no-restricted-imports': noImports(banFolders('test')) } },
  {
    // Tests assert on the JSON that they read; set-up, in plain JavaScript, states its shapes in comments.
    files: ['test/**', '**/*.mjs'],
    rules: {
      // An unhandled rejection ends the test run, so an async listener hides nothing.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: false }],
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
);
