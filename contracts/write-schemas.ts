/**
 * Writes the JSON Schemas that other languages and editors read, and the default run spec written out:
 *
 *     node --import tsx contracts/write-schemas.ts
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { runSpecSchema } from './run-spec.ts';
import * as trainer from './trainer.ts';

/** File name under `contracts/schemas/` → JSON Schema text. */
export function schemaFiles(): Record<string, string> {
  const text = (schema: z.ZodType, io: 'input' | 'output'): string =>
    `${JSON.stringify(z.toJSONSchema(schema, { io, target: 'draft-2020-12' }), null, 2)}\n`;
  return {
    'run-spec.json': text(runSpecSchema, 'input'),
    'trainer-train-spec.json': text(trainer.trainSpecSchema, 'output'),
    'trainer-eval-spec.json': text(trainer.evalSpecSchema, 'output'),
    'trainer-event.json': text(trainer.eventSchema, 'output'),
    'trainer-history.json': text(trainer.historySchema, 'output'),
    'trainer-prediction.json': text(trainer.predictionSchema, 'output'),
    'trainer-grade.json': text(trainer.gradeSchema, 'output'),
    'trainer-generation.json': text(trainer.generationSchema, 'output'),
    'checkpoint-manifest.json': text(trainer.checkpointManifestSchema, 'output'),
  };
}

/** `infra/specs/s1k.json`: the recipe that `{}` stands for, for people to read and to copy from. */
export function defaultSpecFile(): string {
  return `${JSON.stringify(runSpecSchema.parse({}), null, 2)}\n`;
}

if (import.meta.filename === process.argv[1]) {
  for (const [name, text] of Object.entries(schemaFiles())) {
    writeFileSync(new URL(`schemas/${name}`, import.meta.url), text);
  }
  mkdirSync(new URL('../infra/specs/', import.meta.url), { recursive: true });
  writeFileSync(new URL('../infra/specs/s1k.json', import.meta.url), defaultSpecFile());
}
