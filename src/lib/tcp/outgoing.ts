// Bytes that were written and are not acknowledged yet, from the oldest on. What is written is kept as it is, not copied.

export class Outgoing {
  private readonly chunks: Buffer[] = [];
  /** Of the first chunk, what is acknowledged. */
  private skipped = 0;
  private bytes = 0;

  get length(): number {
    return this.bytes;
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return;
    this.chunks.push(chunk);
    this.bytes += chunk.length;
  }

  /** So many bytes from an offset on; fewer where it ends. */
  slice(offset: number, length: number): Buffer {
    const parts: Buffer[] = [];
    let from = offset + this.skipped;
    let left = length;
    for (const chunk of this.chunks) {
      if (left <= 0) break;
      if (from >= chunk.length) {
        from -= chunk.length;
        continue;
      }
      const part = chunk.subarray(from, from + left);
      parts.push(part);
      left -= part.length;
      from = 0;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  }

  /** The oldest so many bytes are acknowledged. */
  drop(count: number): void {
    this.bytes -= count;
    this.skipped += count;
    while (this.chunks.length > 0 && this.skipped >= this.chunks[0]!.length) this.skipped -= this.chunks.shift()!.length;
  }

  clear(): void {
    this.chunks.length = 0;
    this.skipped = this.bytes = 0;
  }
}
