/**
 * Compiled kernels of trainings that are alike: a file on this host, which the trainer reads and writes, and a copy in
 * the store for the next host. Their bytes are code that the trainer runs, so that a copy is taken only where it bears
 * the seal of the secret that GPU workers share; without a secret every host compiles for itself.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { execa } from 'execa';
import { canonicalJson } from '../../contracts/canonical-json.ts';
import { sha256 } from '../../contracts/stage-keys.ts';
import type { TrainerTrainSpec } from '../../contracts/trainer.ts';
import type { GpuDeps } from '../gpu-deps.ts';

const SEAL_BYTES = 32;
const VERSIONS =
  'import platform; from importlib.metadata import version; print(platform.python_version(), version("torch"))';

type Deps = Pick<GpuDeps, 'store' | 'cacheDir' | 'python' | 'ranks' | 'gpuModels' | 'kernelsSecret' | 'log'>;

export class Kernels {
  /** Where the trainer reads and writes them; need not exist. */
  readonly file: string;
  readonly #key: string;
  readonly #deps: Deps;
  /** SHA-256 of what the store has, as far as this host knows. */
  #shared: string | null = null;

  private constructor(deps: Deps, key: string) {
    this.#deps = deps;
    this.#key = key;
    this.file = join(deps.cacheDir, 'kernels', key);
  }

  /** Brings the store's copy here where there is none. Whatever is wrong with it costs the time to compile, no more. */
  static async open(deps: Deps, spec: TrainerTrainSpec): Promise<Kernels> {
    const kernels = new Kernels(deps, await keyOf(deps, spec));
    if ((await kernels.#here()) === null) await kernels.#told('fetched', () => kernels.#fetch());
    return kernels;
  }

  /** Whether a training need not compile what another one like it has. */
  async exist(): Promise<boolean> {
    return (await this.#here()) !== null;
  }

  /** Copies them to the store where this host has others. Never rejects. */
  async share(): Promise<void> {
    const { kernelsSecret, store } = this.#deps;
    const bytes = await this.#here();
    if (bytes === null || kernelsSecret === null) return;
    const digest = sha256(bytes);
    if (digest === this.#shared) return;
    await this.#told('shared', async () => {
      await store.put(this.#object, Buffer.concat([this.#seal(bytes, kernelsSecret), bytes]));
      this.#shared = digest;
    });
  }

  async #fetch(): Promise<void> {
    const { kernelsSecret, store, log } = this.#deps;
    const sealed = kernelsSecret === null ? null : await store.get(this.#object);
    if (sealed === null || kernelsSecret === null) return;
    const [seal, bytes] = [sealed.subarray(0, SEAL_BYTES), sealed.subarray(SEAL_BYTES)];
    if (seal.length < SEAL_BYTES || !timingSafeEqual(seal, this.#seal(bytes, kernelsSecret))) {
      log.warn(
        { object: this.#object, store: store.url },
        'compiled kernels without the seal of REVERIE_KERNELS_SECRET are not opened; this host compiles its own',
      );
      return;
    }
    await mkdir(dirname(this.file), { recursive: true });
    const partial = `${this.file}.${process.pid}.incoming`;
    await writeFile(partial, bytes);
    await rename(partial, this.file);
    this.#shared = sha256(bytes);
  }

  async #told(what: 'fetched' | 'shared', work: () => Promise<void>): Promise<void> {
    await work().catch((error: unknown) =>
      this.#deps.log.warn({ err: error }, `compiled kernels could not be ${what}; training goes on without`),
    );
  }

  /** Over the key too: kernels of one training are no kernels of another. */
  #seal(bytes: Uint8Array, secret: string): Buffer {
    return createHmac('sha256', secret).update(`${this.#key}\n`).update(bytes).digest();
  }

  #here(): Promise<Uint8Array | null> {
    return readFile(this.file).catch(() => null);
  }

  get #object(): string {
    return `kernels/${this.#key}`;
  }
}

/** What decides which kernels there are. Coarse is enough: within, the compiler finds by keys of its own what fits. */
async function keyOf({ python, gpuModels, ranks }: Deps, spec: TrainerTrainSpec): Promise<string> {
  const config = await readFile(join(spec.model, 'config.json'));
  // An interpreter that does not answer is the trainer's to tell of.
  const { stdout: software = null } = await execa(python, ['-c', VERSIONS], { reject: false });
  const { recipe, lora, compile, sharding, maxTokens, threads } = spec;
  const { globalBatchSize, microBatchSize, activationCheckpointing, activationBudget } = spec;
  const { cutoff } = spec.objective;
  return sha256(
    canonicalJson({
      ...{ version: 1, software, gpus: [...new Set(gpuModels)].sort(), ranks, config: sha256(config) },
      ...{ recipe, loraRank: lora.rank, compile, sharding, maxTokens, threads, cutoff },
      ...{ globalBatchSize, microBatchSize, activationCheckpointing, activationBudget },
    }),
  );
}
