/** The manifest of an artifact: what its JSON must look like, and the digest that names its content. */
import { z } from 'zod';
import { canonicalJson, type JsonValue } from '../../contracts/canonical-json.ts';
import { sha256 } from '../../contracts/stage-keys.ts';
import type { ArtifactManifest, ManifestFile } from '../../contracts/stages.ts';
import { Damaged } from './damaged.ts';
import { checkedKey } from './keys.ts';

export const MANIFEST = 'manifest.json';

const hex = z.string().regex(/^[0-9a-f]{64}$/);

/** A path that leaves its folder must not come in through a damaged or forged manifest. */
const relativePath = z.string().refine((path) => {
  try {
    return checkedKey(path) !== MANIFEST;
  } catch {
    return false;
  }
}, 'expected a relative path within the artifact');

const manifestSchema = z.strictObject({
  version: z.literal(1),
  stage: z.enum(['dataset', 'model', 'convert', 'filter', 'train', 'eval', 'report']),
  key: hex,
  digest: hex,
  files: z.array(z.strictObject({ path: relativePath, size: z.int().min(0), sha256: hex })),
  summary: z.json(),
  committedAt: z.iso.datetime(),
});

export function digestOf(files: readonly ManifestFile[]): string {
  const sorted = [...files].sort((a, b) => (a.path < b.path ? -1 : 1));
  return sha256(canonicalJson(sorted.map(({ path, size, sha256 }) => ({ path, size, sha256 }))));
}

export function writeManifest(manifest: ArtifactManifest): Uint8Array {
  return Buffer.from(`${canonicalJson(manifest as unknown as JsonValue)}\n`);
}

/** Throws Damaged when the bytes are no whole manifest of this stage and key. */
export function readManifest<S>(bytes: Uint8Array, stage: string, key: string): ArtifactManifest<S> {
  let json: unknown;
  try {
    json = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new Damaged('its manifest is not JSON');
  }
  const parsed = manifestSchema.safeParse(json);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw new Damaged(`its manifest is invalid at ${issue?.path.join('.')}: ${issue?.message}`);
  }
  const manifest = parsed.data as ArtifactManifest<S>;
  if (manifest.stage !== stage || manifest.key !== key) throw new Damaged('its manifest belongs to another artifact');
  if (manifest.digest !== digestOf(manifest.files)) throw new Damaged("its manifest's digest does not match its files");
  return manifest;
}
