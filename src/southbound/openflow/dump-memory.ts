// Where a long dump is kept. Each part comes in a buffer of some 64 KiB of its own; of hundreds of these the C library gives back little when they are
// freed, for something small that lives on is between them. So beyond the first parts they are copied into blocks that are mapped and unmapped as a whole.

const MIB = 1024 * 1024;
/** A dump that is shorter is kept as it came. */
const AS_IT_CAME = MIB;
/** Larger than what malloc takes from its own; what is not written of one takes no memory. */
const BLOCK = 8 * MIB;

export class DumpMemory {
  private bytes = 0;
  private block = Buffer.alloc(0);
  private used = 0;

  /** The part, which is good as long as somebody has it. */
  keep(part: Buffer): Buffer {
    this.bytes += part.length;
    if (this.bytes <= AS_IT_CAME) return part;
    if (this.used + part.length > this.block.length) {
      this.block = Buffer.allocUnsafeSlow(BLOCK);
      this.used = 0;
    }
    const kept = this.block.subarray(this.used, this.used + part.length);
    part.copy(kept);
    this.used += part.length;
    return kept;
  }
}
