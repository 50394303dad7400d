// A long list on its way out: as text in chunks, made as the reader takes them and never much ahead of it, in slices.
import { Readable } from "node:stream";
import type { Slices } from "./slices.ts";

/** Bytes of a chunk, beyond which it takes no further row. Each costs a write of the connection, and more of Node's streams. */
export const CHUNK_BYTES = 128 * 1024;
/** Bytes that are made ahead of the reader, and one chunk. */
export const AHEAD_BYTES = 128 * 1024;

export interface ListParts<E> {
  /** Text before the first row; sent at once. */
  readonly head: string;
  /** The rows. `stopped`: nobody reads any more. */
  entries(stopped: () => boolean): Promise<readonly E[]>;
  text(entry: E): string;
  tail(entries: readonly E[]): string;
  /** Throws if the rest cannot be told any more. Called before each chunk. */
  check(): void;
  /** Called once, however it ends. */
  close(): void;
  readonly slices: Slices;
  /** A reader that takes nothing for so long is cut off. */
  readonly stallMs: number;
}

/** Bytes of UTF-8 that a character of a string takes at most. */
const MOST_BYTES = 3;
/** Room of a chunk for the row that ends it. */
const ROOM = 8 * 1024;

/** A chunk as it is put together. Texts go to their place at once: joined as strings first, all of them would be copied twice. */
class Chunk {
  length = 0;
  private buffer = Buffer.allocUnsafeSlow(CHUNK_BYTES + ROOM);

  add(text: string): void {
    const most = this.length + text.length * MOST_BYTES;
    if (most > this.buffer.length) {
      const larger = Buffer.allocUnsafeSlow(most + ROOM);
      larger.set(this.buffer.subarray(0, this.length));
      this.buffer = larger;
    }
    this.length += this.buffer.write(text, this.length);
  }

  get bytes(): Buffer {
    return this.buffer.subarray(0, this.length);
  }
}

export class ListStream<E> extends Readable {
  private readonly parts: ListParts<E>;
  private begun = false;
  private rows: readonly E[] | undefined;
  private at = 0;
  private stall: NodeJS.Timeout | undefined;

  constructor(parts: ListParts<E>) {
    super({ highWaterMark: AHEAD_BYTES });
    this.parts = parts;
    this.wait();
  }

  /** For the reader: also for one that never begins. */
  private wait(): void {
    this.stall = setTimeout(() => this.destroy(new Error(`the reader of a list took nothing for ${this.parts.stallMs} ms`)), this.parts.stallMs);
    this.stall.unref();
  }

  override _read(): void {
    clearTimeout(this.stall);
    this.next().then(
      (chunk) => {
        if (this.destroyed) return;
        this.wait();
        this.push(chunk);
        if (chunk !== null && this.begun && this.rows !== undefined && this.at > this.rows.length) this.push(null);
      },
      (error: unknown) => this.destroy(error as Error),
    );
  }

  private async next(): Promise<Buffer | null> {
    const { parts } = this;
    if (!this.begun) {
      this.begun = true;
      return Buffer.from(parts.head);
    }
    this.rows ??= await parts.entries(() => this.destroyed);
    if (this.destroyed) return null;
    parts.check();
    const chunk = new Chunk();
    while (this.at < this.rows.length && chunk.length < CHUNK_BYTES) {
      if (this.at > 0) chunk.add(",");
      chunk.add(parts.text(this.rows[this.at]!));
      this.at++;
      if (parts.slices.row()) {
        await parts.slices.turn();
        if (this.destroyed) return null;
        parts.check();
      }
    }
    if (this.at === this.rows.length) {
      chunk.add(parts.tail(this.rows));
      this.at++;
    }
    return chunk.bytes;
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.stall);
    this.rows = this.rows === undefined ? undefined : [];
    this.parts.close();
    done(error);
  }
}
