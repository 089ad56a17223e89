import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ESLint } from 'eslint';
import tseslint from 'typescript-eslint';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** The boundaries need no types, and without them files that do not exist can be judged. */
const boundaries = new ESLint({
  cwd: root,
  overrideConfig: [
    { languageOptions: { parserOptions: { projectService: false } } },
    { rules: { ...tseslint.configs.disableTypeChecked.rules, '@typescript-eslint/no-unused-vars': 'off' } },
  ],
});

async function brokenRules(eslint: ESLint, filePath: string, code: string): Promise<(string | null)[]> {
  const [result] = await eslint.lintText(code, { filePath });
  assert.ok(result !== undefined, `${filePath} is not linted`);
  for (const { fatal, message } of result.messages) assert.ok(fatal !== true, message);
  return result.messages.map(({ ruleId }) => ruleId);
}

const IMPORT = '@typescript-eslint/no-restricted-imports';
const ENV = 'no-restricted-properties';
const GLOBAL = 'no-restricted-globals';

const refused = [
  ['contracts/x.ts', "import { a } from '../workflows/a.ts'; a();", IMPORT],
  ['contracts/x.ts', "import { a } from '../activities/stage.ts'; a();", IMPORT],
  ['contracts/x.ts', "import { a } from '@temporalio/common'; a();", IMPORT],
  ['contracts/x.ts', 'export const a = process.env.HOME;', ENV],
  ['workflows/x.ts', "import { readFileSync } from 'node:fs'; readFileSync('a');", IMPORT],
  ['workflows/x.ts', "import { createHash } from 'crypto'; createHash('sha256');", IMPORT],
  ['workflows/x.ts', "import { a } from '../activities/train/activity.ts'; a();", IMPORT],
  ['workflows/x.ts', "import { sha256 } from '../contracts/stage-keys.ts'; sha256('');", IMPORT],
  ['workflows/x.ts', "import { Client } from '@temporalio/client'; new Client();", IMPORT],
  ['workflows/x.ts', "export const a = Buffer.from('');", GLOBAL],
  ['workflows/x.ts', 'export const a = process.pid;', GLOBAL],
  ['activities/train/x.ts', "import { Context } from '@temporalio/activity'; Context.current();", IMPORT],
  ['activities/train/x.ts', "import { Client } from '@temporalio/client'; new Client();", IMPORT],
  ['activities/train/x.ts', "import { a } from '../../workers/environment.ts'; a();", IMPORT],
  ['activities/train/x.ts', "import { a } from '../../workflows/fine-tune.ts'; a();", IMPORT],
  ['activities/train/x.ts', 'export const a = process.env.HOME;', ENV],
  ['activities/train/activity.ts', "import { Client } from '@temporalio/client'; new Client();", IMPORT],
  ['activities/train/activity.ts', "import { a } from '../../cli/doctor.ts'; a();", IMPORT],
  ['workers/x.ts', "import { a } from '../cli/doctor.ts'; a();", IMPORT],
  ['cli/x.ts', "import { a } from '../test/run.mjs'; a();", IMPORT],
] as const;

const accepted = [
  ['contracts/x.ts', "import type { a } from '../activities/stage.ts'; export type B = typeof a;"],
  ['contracts/x.ts', "import { createHash } from 'node:crypto'; createHash('sha256');"],
  [
    'workflows/x.ts',
    "import type * as activities from '../activities/train/activity.ts'; export type A = typeof activities;",
  ],
  [
    'workflows/x.ts',
    "import { sleep } from '@temporalio/workflow'; import { a } from '../contracts/failures.ts'; sleep(a);",
  ],
  ['activities/train/activity.ts', "import { Context } from '@temporalio/activity'; Context.current();"],
  ['activities/stage.ts', "import { Context } from '@temporalio/activity'; Context.current();"],
  ['activities/train/x.ts', "import { a } from '../../contracts/failures.ts'; import { b } from '../stage.ts'; b(a);"],
  ['workers/x.ts', "import { a } from '../activities/stage.ts'; a(process.env.HOME);"],
  ['cli/x.ts', "import { a } from '../workers/environment.ts'; a(process.env.HOME);"],
] as const;

describe("the house's arrows", () => {
  for (const [file, code, rule] of refused) {
    test(`${file} may not: ${code}`, async () => {
      assert.deepEqual(await brokenRules(boundaries, file, code), [rule]);
    });
  }
  for (const [file, code] of accepted) {
    test(`${file} may: ${code}`, async () => {
      assert.deepEqual(await brokenRules(boundaries, file, code), []);
    });
  }
});

describe('the type-checked rules', () => {
  let eslint: ESLint;
  before(() => {
    eslint = new ESLint({ cwd: root });
  });

  for (const [code, rule] of [
    ['export const f = async (): Promise<void> => {}; f();', '@typescript-eslint/no-floating-promises'],
    [
      "type U = 'a' | 'b'; export function f(u: U): number { switch (u) { case 'a': return 1; } return 2; }",
      '@typescript-eslint/switch-exhaustiveness-check',
    ],
    [
      'export const f = (g: () => Promise<number>): Promise<number> => g(); export const h = async (g: () => Promise<number>): Promise<number> => { try { return g(); } catch { return 0; } };',
      '@typescript-eslint/return-await',
    ],
    ["import { z } from 'zod'; export type A = z.ZodType;", '@typescript-eslint/consistent-type-imports'],
  ] as const) {
    test(`refuse ${rule}`, async () => {
      // Types are there for files of the project only, so a real one lends its name.
      assert.deepEqual(await brokenRules(eslint, 'contracts/failures.ts', code), [rule]);
    });
  }
});
