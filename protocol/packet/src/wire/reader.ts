// A bounds-checked cursor. Every decoder reads through it, so no decoder can run past its bytes or throw anything but
// PacketError; `base` makes offsets of nested headers count from the outermost buffer, `depth` bounds how deep formats
// that hold themselves (DHCPv6 relays, encapsulated options) are followed.

import { formatIpv6Bytes, formatMacBytes, numberToIpv4 } from "./address.ts";
import { PacketError } from "./errors.ts";

/** Levels of formats that hold themselves. RFC 8415 7.6 stops relays at 8; an option in an option in one adds to that. */
export const depthMax = 24;

export class Reader {
  readonly bytes: Buffer;
  readonly base: number;
  readonly depth: number;
  pos = 0;

  constructor(bytes: Uint8Array, base = 0, depth = 0) {
    this.bytes = Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.base = base;
    this.depth = depth;
  }

  get left(): number {
    return this.bytes.length - this.pos;
  }

  /** Offset of the next byte in the outermost buffer. */
  get offset(): number {
    return this.base + this.pos;
  }

  /** Reserves `count` bytes and returns where they start. */
  private take(count: number): number {
    if (count > this.left) {
      throw new PacketError("PACKET_TRUNCATED", this.base + this.bytes.length, `need ${count} bytes, have ${this.left}`);
    }
    const start = this.pos;
    this.pos += count;
    return start;
  }

  u8(): number {
    return this.bytes.readUInt8(this.take(1));
  }

  u16(): number {
    return this.bytes.readUInt16BE(this.take(2));
  }

  u32(): number {
    return this.bytes.readUInt32BE(this.take(4));
  }

  u64(): bigint {
    return this.bytes.readBigUInt64BE(this.take(8));
  }

  /** A view, not a copy. */
  view(count: number): Buffer {
    const start = this.take(count);
    return this.bytes.subarray(start, start + count);
  }

  skip(count: number): void {
    this.take(count);
  }

  mac(): string {
    return formatMacBytes(this.bytes, this.take(6));
  }

  ipv4(): string {
    return numberToIpv4(this.u32());
  }

  ipv6(): string {
    return formatIpv6Bytes(this.bytes, this.take(16));
  }

  /** What is left, as a view. */
  rest(): Buffer {
    return this.view(this.left);
  }

  /** A reader of the next `count` bytes, or of what is left when that is less. */
  upTo(count: number): Reader {
    const base = this.offset;
    return new Reader(this.view(Math.min(count, this.left)), base, this.depth);
  }

  /** A reader of exactly the next `count` bytes. */
  within(count: number): Reader {
    const base = this.offset;
    return new Reader(this.view(count), base, this.depth);
  }

  /** A reader of what is left, one level further in. */
  deeper(): Reader {
    if (this.depth >= depthMax) this.unsupported(`nested deeper than ${depthMax} levels`);
    const base = this.offset;
    return new Reader(this.rest(), base, this.depth + 1);
  }

  /** Throws MALFORMED when a format that ends here has bytes left. */
  end(what: string): void {
    if (this.left > 0) this.malformed(`${what} has ${this.left} bytes too many`);
  }

  /** Throws MALFORMED for the field that starts `back` bytes before the cursor. */
  malformed(message: string, back = 0): never {
    throw new PacketError("PACKET_MALFORMED", this.offset - back, message);
  }

  unsupported(message: string, back = 0): never {
    throw new PacketError("PACKET_UNSUPPORTED", this.offset - back, message);
  }
}
