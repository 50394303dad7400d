// Bytes that are handed out in parts of one buffer, which whoever reads has to himself until he asks for more.
import { writeBytes } from "./pieces.ts";

export class Output {
  readonly buffer: Buffer;
  /** So many bytes of it are written. */
  at = 0;
  /** What there was no room for; what is longer than the buffer comes in several parts. */
  private readonly waiting: Uint8Array[] = [];

  constructor(bytes: number) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  get room(): number {
    return this.buffer.length - this.at;
  }

  /** Whether something waits: nothing is to be written before it is handed out. */
  get blocked(): boolean {
    return this.waiting.length > 0;
  }

  /** Writes bytes of any length, or keeps them until they are handed out. */
  put(bytes: Uint8Array): void {
    if (this.blocked || bytes.length > this.room) this.waiting.push(bytes);
    else this.at = writeBytes(this.buffer, this.at, bytes);
  }

  /** All there is, in parts: each is good until the next is asked for. Then there is room for as much as a part has. */
  *parts(): Generator<Uint8Array> {
    const { buffer } = this;
    for (let next = this.waiting.shift(); next !== undefined; next = this.waiting.shift()) {
      for (let from = 0; from < next.length; ) {
        const to = Math.min(next.length, from + this.room);
        buffer.set(next.subarray(from, to), this.at);
        this.at += to - from;
        from = to;
        if (this.room > 0) continue;
        yield buffer;
        this.at = 0;
      }
    }
    if (this.at > 0) yield buffer.subarray(0, this.at);
    this.at = 0;
  }
}
