// Flows as they were written: most flows of a switch are on others as well, and but for the switch's name their texts are the same. They are kept for the time
// of a dump, up to a limit, and dropped as soon as anything changes.
import type { Flow } from "../../../compiler/desired.ts";

export interface TextsLimits {
  /** Flows that are kept. */
  readonly flows: number;
  /** Bytes of the blocks that their texts are in, and of each of these; a text that has more is not kept. */
  readonly bytes: number;
  readonly block: number;
}

const LIMITS: TextsLimits = { flows: 65_536, bytes: 32 << 20, block: 1 << 20 };

export class Texts {
  private readonly limits: TextsLimits;
  private readonly texts = new Map<Flow, Uint8Array>();
  private block = Buffer.alloc(0);
  private used = 0;
  private bytes = 0;
  /** Since the last switch began. */
  private asked = 0;
  private found = 0;
  private wasFull = false;

  constructor(limits = LIMITS) {
    this.limits = limits;
  }

  private get full(): boolean {
    const { flows, bytes, block } = this.limits;
    return this.texts.size >= flows || this.bytes + block > bytes;
  }

  of(flow: Flow): Uint8Array | undefined {
    this.asked++;
    const text = this.texts.get(flow);
    if (text !== undefined) this.found++;
    return text;
  }

  /** Keeps `length` bytes of `from`, if there is room. What comes first stays. */
  keep(flow: Flow, from: Buffer, at: number, length: number): void {
    const { flows, bytes, block } = this.limits;
    if (this.texts.size >= flows || length > block) return;
    if (length > this.block.length - this.used) {
      if (this.bytes + block > bytes) return;
      this.block = Buffer.allocUnsafeSlow(block);
      this.bytes += block;
      this.used = 0;
    }
    from.copy(this.block, this.used, at, at + length);
    this.texts.set(flow, this.block.subarray(this.used, this.used + length));
    this.used += length;
  }

  /** The flows of another switch follow: what is kept makes room where few of the last one's were among it. */
  nextSwitch(): void {
    if (this.wasFull && this.found * 4 < this.asked) this.clear();
    this.wasFull = this.full;
    this.asked = 0;
    this.found = 0;
  }

  clear(): void {
    this.texts.clear();
    this.block = Buffer.alloc(0);
    this.used = 0;
    this.bytes = 0;
  }
}
