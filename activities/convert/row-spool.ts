/**
 * Rows on disk between reading and writing: a split writes them in an order of its own, and memory stays flat, with
 * 8 bytes a row for its place in the file.
 */
import { type FileHandle, open, rm } from 'node:fs/promises';

const WRITE_BYTES = 1 << 20;

export class RowSpool<Row> {
  readonly #path: string;
  readonly #handle: FileHandle;
  /** Where each row begins, and where the last one ends. */
  readonly #offsets: number[] = [0];
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async create<Row>(path: string): Promise<RowSpool<Row>> {
    return new RowSpool<Row>(path, await open(path, 'w+'));
  }

  get length(): number {
    return this.#offsets.length - 1;
  }

  async append(row: Row): Promise<void> {
    const bytes = Buffer.from(JSON.stringify(row));
    this.#offsets.push((this.#offsets.at(-1) as number) + bytes.length);
    this.#pending.push(bytes);
    this.#pendingBytes += bytes.length;
    if (this.#pendingBytes >= WRITE_BYTES) await this.#flush();
  }

  async read(index: number): Promise<Row> {
    await this.#flush();
    const start = this.#offsets[index];
    const end = this.#offsets[index + 1];
    if (start === undefined || end === undefined) throw new RangeError(`row ${index} of ${this.length}`);
    const bytes = Buffer.alloc(end - start);
    await this.#handle.read(bytes, 0, bytes.length, start);
    return JSON.parse(bytes.toString()) as Row;
  }

  async remove(): Promise<void> {
    await this.#handle.close();
    await rm(this.#path, { force: true });
  }

  async #flush(): Promise<void> {
    if (this.#pendingBytes === 0) return;
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    this.#pendingBytes = 0;
    await this.#handle.appendFile(bytes);
  }
}
