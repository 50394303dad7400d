// A byte stream cut into OpenFlow messages. Holds at most one unfinished message, so at most 64 KiB.

import { malformed, OpenFlowError } from "../wire/errors.ts";
import { MAX_MESSAGE, OFP_VERSION } from "../messages/flow-mod.ts";

const HEADER = 8;
/** hello, error, echo request and reply look the same in every version, and may come before one is agreed. */
const LAST_VERSIONLESS = 3;

export class Framer {
  private readonly held = Buffer.allocUnsafe(MAX_MESSAGE + 1);
  private have = 0;
  /** Bytes of the stream before the current chunk or held message. */
  private consumed = 0;

  /** Bytes of an unfinished message. */
  get pending(): number {
    return this.have;
  }

  /**
   * Hands over each complete message, whole: a view of `chunk`, or a buffer of its own when it came in pieces. After `limit` of them
   * it stops; returns how many bytes of `chunk` it took, and the rest has to be pushed before anything else.
   * @throws OpenFlowError at a length below 8 or a wrong version; the stream is of no use after that
   */
  push(chunk: Buffer, onFrame: (frame: Buffer) => void, limit = Infinity): number {
    let pos = 0;
    let left = limit;
    while (this.have > 0 && pos < chunk.length) {
      const wanted = this.have < HEADER ? HEADER : this.check(this.held, 0);
      const take = Math.min(wanted - this.have, chunk.length - pos);
      chunk.copy(this.held, this.have, pos, pos + take);
      this.have += take;
      pos += take;
      if (this.have >= HEADER && this.have === this.check(this.held, 0)) {
        const frame = Buffer.from(this.held.subarray(0, this.have));
        this.consumed += this.have;
        this.have = 0;
        onFrame(frame);
        if (--left <= 0) return pos;
      }
    }
    while (chunk.length - pos >= HEADER) {
      const length = this.check(chunk, pos);
      if (pos + length > chunk.length) break;
      this.consumed += length;
      pos += length;
      onFrame(chunk.subarray(pos - length, pos));
      if (--left <= 0) return pos;
    }
    if (pos < chunk.length) {
      chunk.copy(this.held, 0, pos);
      this.have = chunk.length - pos;
    }
    return chunk.length;
  }

  private check(buf: Buffer, at: number): number {
    const version = buf[at]!;
    if (version === 0 || (version !== OFP_VERSION && buf[at + 1]! > LAST_VERSIONLESS)) {
      throw new OpenFlowError("OF_VERSION", `version ${version}, expected ${OFP_VERSION}, in the stream`, { offset: this.consumed });
    }
    const length = buf.readUInt16BE(at + 2);
    if (length < HEADER) throw malformed(this.consumed + 2, `message length ${length} in the stream`);
    return length;
  }
}
