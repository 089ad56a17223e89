/**
 * The stack that faults are injected into: dev server, CPU worker, and GPU hosts with caches of their own, over one
 * store that is reached as a folder or through an S3 gateway.
 */
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Client, Connection } from '@temporalio/client';
import { openStore } from '../../activities/store/open-store.ts';
import type { Store } from '../../activities/store/store.ts';
import type { Child } from '../../cli/child.ts';
import { type DevServer, startDevServer } from '../../cli/dev-server.ts';
import { worker } from '../../cli/stack.ts';
import { type S3Server, startS3 } from '../fixtures/rclone.ts';
import type { Setting } from './scenario.ts';

export interface Host {
  name: string;
  cacheDir: string;
  ranks: number;
  worker: Child;
}

const BUCKET = 'reverie';
const START_MS = 120_000;
export const GRACE_SECONDS = 20;

export class House {
  readonly dir: string;
  readonly client: Client;
  readonly hosts = new Map<string, Host>();
  readonly #connection: Connection;
  readonly #logs: string;
  #server: DevServer;
  #cpu: Child | null = null;
  #gateway: S3Server | null = null;
  #storeKind: Setting['store'] | null = null;
  #store: Store | null = null;
  #hostsMade = 0;

  private constructor(dir: string, logs: string, server: DevServer, connection: Connection) {
    this.dir = dir;
    this.#logs = logs;
    this.#server = server;
    this.#connection = connection;
    this.client = new Client({ connection, namespace: 'default' });
  }

  static async open(): Promise<House> {
    const dir = await mkdtemp(join(tmpdir(), 'reverie-chaos-'));
    const logs = join(dir, 'logs');
    await mkdir(logs);
    const server = await startDevServer({ database: join(dir, 'temporal.db'), logs, ports: { server: 0, ui: 0 } });
    return new House(dir, logs, server, await Connection.connect({ address: server.address }));
  }

  /** As the harness itself reads and writes it. */
  get store(): Store {
    if (this.#store === null) throw new Error('no store yet; expected `arrange` first');
    return this.#store;
  }

  /** Brings about what a run wants: its kind of store, and just as many hosts with as many ranks, all at work. */
  async arrange({ store, hosts, ranks }: Setting): Promise<void> {
    if (store !== this.#storeKind) {
      await this.#stopWorkers();
      await this.#openStore(store);
      this.#cpu = this.#worker('cpu', join(this.dir, 'hosts', 'cpu'));
      await this.#cpu.ready(START_MS);
    }
    for (const host of this.hosts.values()) {
      if (!host.worker.isRunning || host.ranks !== ranks || this.hosts.size > hosts) await this.#stopHost(host);
    }
    while (this.hosts.size < hosts) await this.startHost({ ranks });
  }

  /** A new host with an empty cache, or a worker on one whose last has ended. */
  async startHost({ name = `host-${++this.#hostsMade}`, ranks }: { name?: string; ranks: number }): Promise<void> {
    const cacheDir = join(this.dir, 'hosts', name);
    const host = { name, cacheDir, ranks, worker: this.#worker('gpu', cacheDir, ['--ranks', String(ranks)]) };
    this.hosts.set(name, host);
    await host.worker.ready(START_MS);
  }

  /** Its worker must be dead. Nothing of it is left. */
  async destroyHost({ name, cacheDir }: Host): Promise<void> {
    this.hosts.delete(name);
    await rm(cacheDir, { recursive: true, force: true, maxRetries: 5 });
  }

  /** SIGKILLs the server, and starts it on the same port and database, after the outage. */
  async restartServer(outage: () => Promise<void>): Promise<void> {
    const { server, address, uiUrl } = this.#server;
    server.kill();
    await server.stop();
    await outage();
    const ports = { server: portOf(`http://${address}`), ui: portOf(uiUrl) };
    this.#server = await startDevServer({ database: join(this.dir, 'temporal.db'), logs: this.#logs, ports });
    if (this.#server.address !== address) throw new Error(`the server came back at ${this.#server.address}`);
  }

  /** SIGKILLs the S3 gateway, and starts it on the same port over the same folder, after the outage. */
  async restartGateway(outage: () => Promise<void>): Promise<void> {
    const gateway = this.#gateway;
    if (gateway === null) throw new Error('no gateway; expected a setting with s3');
    await gateway.stop();
    await outage();
    this.#gateway = await startS3(join(this.dir, 'store'), BUCKET, portOf(gateway.endpoint));
  }

  /** The store and every host forget the training, so that the next run trains anew. */
  async forgetTraining(): Promise<void> {
    for (const root of ['artifacts/train/', 'checkpoints/', 'attempts/']) {
      const keys: string[] = [];
      for await (const { key } of this.store.list(root)) keys.push(key);
      await this.store.delete(keys);
    }
    for (const { cacheDir } of this.hosts.values()) {
      for (const name of ['training', 'artifacts/train'])
        await rm(join(cacheDir, name), { recursive: true, force: true });
    }
  }

  async close({ keep }: { keep: boolean }): Promise<void> {
    await this.#connection.close();
    await this.#stopWorkers();
    await this.#server.server.stop();
    await this.#gateway?.stop();
    if (!keep) await rm(this.dir, { recursive: true, force: true, maxRetries: 5 });
  }

  async #openStore(kind: Setting['store']): Promise<void> {
    await this.#gateway?.stop();
    const folder = join(this.dir, 'store');
    this.#gateway = kind === 's3' ? await startS3(folder, BUCKET) : null;
    this.#storeKind = kind;
    this.#store = openStore(this.#storeUrl(), this.#gateway === null ? {} : { s3: this.#gateway.client });
  }

  /** One folder behind both kinds of store: what was made through one is there in the other. */
  #storeUrl(): string {
    return this.#gateway === null ? pathToFileURL(join(this.dir, 'store', BUCKET)).href : `s3://${BUCKET}`;
  }

  #worker(kind: 'cpu' | 'gpu', cacheDir: string, args: string[] = []): Child {
    const env: Record<string, string> = {
      TEMPORAL_ADDRESS: this.#server.address,
      TEMPORAL_NAMESPACE: 'default',
      REVERIE_STORE: this.#storeUrl(),
      REVERIE_CACHE_DIR: cacheDir,
    };
    if (this.#gateway !== null) {
      const { endpoint, region, credentials } = this.#gateway.client;
      env.AWS_ENDPOINT_URL_S3 = endpoint;
      env.AWS_REGION = region;
      env.AWS_ACCESS_KEY_ID = credentials.accessKeyId;
      env.AWS_SECRET_ACCESS_KEY = credentials.secretAccessKey;
    }
    return worker({ kind, env, logs: this.#logs, graceSeconds: GRACE_SECONDS, args });
  }

  async #stopHost(host: Host): Promise<void> {
    await host.worker.stop();
    await this.destroyHost(host);
  }

  async #stopWorkers(): Promise<void> {
    await Promise.all([...this.hosts.values()].map((host) => this.#stopHost(host)));
    await this.#cpu?.stop();
    this.#cpu = null;
  }
}

const portOf = (url: string): number => Number(new URL(url).port);
