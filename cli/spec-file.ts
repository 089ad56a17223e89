/** Reads a run spec from a file; relative sources in it mean folders beside the file. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname, isAbsolute, resolve } from 'node:path';
import { rejected } from '../contracts/failures.ts';
import type { RunSpecInput } from '../contracts/run-spec.ts';
import { parseRunSpec } from '../contracts/spec-problems.ts';

/** Throws InvalidSpec with every problem; what is returned has passed the same check as in the workflow. */
export async function readSpecFile(file: string | null): Promise<RunSpecInput> {
  if (file === null) return {};
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    throw rejected(
      'InvalidSpec',
      `Run spec ${file} cannot be read (${error.code}); expected a JSON file; name one that exists, or leave it out for the defaults.`,
    );
  });
  let input: unknown;
  try {
    input = JSON.parse(text);
  } catch (error) {
    throw rejected(
      'InvalidSpec',
      `Run spec ${file} is not JSON (${(error as Error).message}); expected one JSON object; {} is the smallest.`,
    );
  }
  const parsed = parseRunSpec(input);
  if (!parsed.ok) throw rejected('InvalidSpec', ...parsed.problems);
  return withAbsoluteSources(input as RunSpecInput, dirname(resolve(file)));
}

function withAbsoluteSources(spec: RunSpecInput, folder: string): RunSpecInput {
  const absolute = <T extends { source?: string | undefined }>(part: T): T => {
    const { source } = part;
    if (source === undefined || source.includes('://') || isAbsolute(source)) return part;
    const path = resolve(folder, source);
    if (!existsSync(path))
      throw rejected(
        'InvalidSpec',
        `Source ${source} is not at ${path}; expected a file or folder beside the run spec, file:///…, or hf://owner/name; correct the path.`,
      );
    return { ...part, source: path };
  };
  return {
    ...spec,
    ...(spec.model && { model: absolute(spec.model) }),
    ...(spec.dataset && { dataset: absolute(spec.dataset) }),
  };
}
