// Messages over a stream, each behind its length in two bytes, as DNS has them. RFC 1035 section 4.2.2

/** Bytes of the longest message. */
export const MESSAGE_MAX = 0xffff;
const LENGTH_BYTES = 2;

/** A message behind its length. @throws RangeError beyond MESSAGE_MAX */
export function framed(message: Uint8Array): Buffer {
  if (message.length > MESSAGE_MAX) throw new RangeError(`a message of ${message.length} bytes: ${MESSAGE_MAX} are the most`);
  const frame = Buffer.allocUnsafe(LENGTH_BYTES + message.length);
  frame.writeUInt16BE(message.length);
  frame.set(message, LENGTH_BYTES);
  return frame;
}

/** Messages out of the pieces that a stream comes in. What is not taken by `next` is kept: whoever pushes on without asking for messages keeps all of it. */
export class Messages {
  private unread = Buffer.alloc(0);

  push(chunk: Uint8Array): void {
    this.unread = Buffer.concat([this.unread, chunk]);
  }

  /** Length of the next message, which may not be all there; undefined: not even that is. */
  get length(): number | undefined {
    return this.unread.length < LENGTH_BYTES ? undefined : this.unread.readUInt16BE(0);
  }

  /** The next message; undefined: it is not all there. */
  next(): Buffer | undefined {
    const { length } = this;
    if (length === undefined || this.unread.length < LENGTH_BYTES + length) return undefined;
    const message = this.unread.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
    this.unread = this.unread.subarray(LENGTH_BYTES + length);
    return message;
  }
}
