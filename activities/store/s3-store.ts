/** A store that is a bucket, or a prefix in one, on Amazon S3 or what speaks its protocol. */
import { randomUUID } from 'node:crypto';
import {
  DeleteObjectCommand,
  GetObjectCommand,
  PutObjectCommand,
  paginateListObjectsV2,
  S3Client,
  type S3ClientConfig,
} from '@aws-sdk/client-s3';
import { type DefaultProviderInit, defaultProvider } from '@aws-sdk/credential-provider-node';
import type { Hashed } from './hashing.ts';
import { inParallel } from './in-parallel.ts';
import { checkedKey, checkedPrefix, conditionalWritesUnsupported } from './keys.ts';
import { downloadResuming } from './s3-download.ts';
import { asStoreFailure, attemptsOf, isExpired, isNoSuchKey, statusOf } from './s3-errors.ts';
import { sweepUploads, uploadFile } from './s3-upload.ts';
import type { ObjectInfo, Store, Transfer } from './store.ts';

const DELETES_AT_ONCE = 8;
const BODY_ATTEMPTS = 4;

export interface S3StoreOptions {
  bucket: string;
  /** Within the bucket, without a slash at the end; empty for the whole bucket. */
  prefix: string;
  /** Beside what the SDK finds itself: endpoint, region, credentials, in its own variables and files. */
  client?: S3ClientConfig;
}

export class S3Store implements Store {
  readonly url: string;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #client: S3Client;
  #conditionalWrites: Promise<boolean> | undefined;
  #swept: Promise<void> | undefined;

  constructor({ bucket, prefix, client = {} }: S3StoreOptions) {
    this.#bucket = bucket;
    this.#prefix = prefix === '' ? '' : `${prefix}/`;
    this.url = `s3://${bucket}${prefix === '' ? '' : `/${prefix}`}`;
    this.#client = openClient(client);
  }

  async get(key: string): Promise<Uint8Array | null> {
    return this.#guard('get', key, async () => {
      for (let attempt = 1; ; attempt += 1) {
        try {
          const { Body } = await this.#client.send(new GetObjectCommand(this.#object(key)));
          return (await Body?.transformToByteArray()) ?? new Uint8Array();
        } catch (error) {
          if (isNoSuchKey(error)) return null;
          // With a status the SDK has tried again already; without one the body broke off, which it does not retry.
          if (statusOf(error) !== undefined || attempt === BODY_ATTEMPTS) throw error;
        }
      }
    });
  }

  async put(key: string, body: Uint8Array): Promise<void> {
    await this.#guard('put', key, () => this.#client.send(new PutObjectCommand({ ...this.#object(key), Body: body })));
  }

  async putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    if (!(await this.supportsConditionalWrites())) throw conditionalWritesUnsupported(this.url);
    return this.#guard('put', key, () => this.#putIfAbsent(key, body));
  }

  /** Found out by trying, once: some stores accept the condition and overwrite all the same. */
  supportsConditionalWrites(): Promise<boolean> {
    this.#conditionalWrites ??= this.#probeConditionalWrites().catch((error) => {
      this.#conditionalWrites = undefined;
      throw error;
    });
    return this.#conditionalWrites;
  }

  async upload(key: string, file: string, transfer: Transfer = {}): Promise<Hashed> {
    // As in a folder: what a process left that died goes with the first upload of another.
    this.#swept ??= sweepUploads(this.#target('')).catch(() => undefined);
    await this.#swept;
    transfer.signal?.throwIfAborted();
    return this.#guard('upload', key, () => uploadFile(this.#target(checkedKey(key)), file, transfer), transfer.signal);
  }

  async download(key: string, file: string, transfer: Transfer = {}): Promise<Hashed | null> {
    const source = this.#target(checkedKey(key));
    return this.#guard('download', key, () => downloadResuming(source, file, transfer), transfer.signal);
  }

  async *list(prefix: string): AsyncIterable<ObjectInfo> {
    const Prefix = this.#prefix + checkedPrefix(prefix);
    const pages = paginateListObjectsV2({ client: this.#client }, { Bucket: this.#bucket, Prefix });
    for (;;) {
      const page = await this.#guard('list', prefix, () => pages.next());
      if (page.done) return;
      for (const { Key = '', Size = 0, LastModified } of page.value.Contents ?? []) {
        yield { key: Key.slice(this.#prefix.length), size: Size, modifiedMs: LastModified?.getTime() ?? 0 };
      }
    }
  }

  /** One by one: the call for many needs checksum headers on which the stores do not agree. */
  async delete(keys: readonly string[]): Promise<void> {
    await inParallel(keys, DELETES_AT_ONCE, (key) =>
      this.#guard('delete', key, async () => {
        await this.#client.send(new DeleteObjectCommand(this.#object(key))).catch((error) => {
          if (!isNoSuchKey(error)) throw error;
        });
      }),
    );
  }

  async #putIfAbsent(key: string, body: Uint8Array): Promise<boolean> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#client.send(new PutObjectCommand({ ...this.#object(key), Body: body, IfNoneMatch: '*' }));
        return true;
      } catch (error) {
        // Another conditional write is under way; the next try finds out how it ended.
        if (statusOf(error) === 409 && attempt < 5) continue;
        if (statusOf(error) !== 412) throw error;
        // The SDK's own retry, after an answer that was lost, finds the object that its first try wrote.
        if (attemptsOf(error) === 1) return false;
        const there = await this.get(key);
        return there !== null && Buffer.compare(there, body) === 0;
      }
    }
  }

  async #probeConditionalWrites(): Promise<boolean> {
    const key = `.probe/${randomUUID()}`;
    await this.put(key, Buffer.from('1'));
    try {
      await this.#client.send(new PutObjectCommand({ ...this.#object(key), Body: Buffer.from('2'), IfNoneMatch: '*' }));
      return false;
    } catch (error) {
      if (statusOf(error) === 412) return true;
      if (statusOf(error) === 501 || statusOf(error) === 400) return false;
      throw asStoreFailure(error, 'put', { url: this.url, bucket: this.#bucket, key });
    } finally {
      await this.delete([key]);
    }
  }

  #target(key: string): { client: S3Client; bucket: string; key: string } {
    return { client: this.#client, bucket: this.#bucket, key: this.#prefix + key };
  }

  #object(key: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: this.#prefix + checkedKey(key) };
  }

  async #guard<T>(operation: string, key: string, work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      throw asStoreFailure(error, operation, { url: this.url, bucket: this.#bucket, key });
    }
  }
}

function openClient(config: S3ClientConfig): S3Client {
  const client = new S3Client({
    region: regionOrAny(),
    // Its files are read anew each time that it is asked: the SDK keeps what it read at first.
    credentialDefaultProvider: (init) => defaultProvider({ ...(init as DefaultProviderInit), ignoreCache: true }),
    // Checksums in trailers are refused by several stores; ours are in the manifests.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    // Names in the path work with every endpoint, an IP address included.
    forcePathStyle: true,
    followRegionRedirects: true,
    maxAttempts: 5,
    requestHandler: { connectionTimeout: 5_000, socketTimeout: 60_000 },
    ...config,
  });
  // Credentials without a date of expiry, as in a file that a log-in rewrites, the SDK keeps for good.
  client.middlewareStack.add(
    (next) => async (request) => {
      try {
        return await next(request);
      } catch (error) {
        if (!isExpired(error)) throw error;
        await client.config.credentials({ forceRefresh: true });
        return next(request);
      }
    },
    { step: 'initialize', name: 'renewExpiredCredentials' },
  );
  return client;
}

/** The region that the SDK finds, else one that will do: other stores have none, and Amazon's redirects to the right one. */
function regionOrAny(): () => Promise<string> {
  const found = new S3Client({}).config.region;
  let region: Promise<string> | undefined;
  return () => {
    region ??= found().catch(() => 'us-east-1');
    return region;
  };
}
