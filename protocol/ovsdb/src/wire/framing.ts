/**
 * Finds JSON objects in a byte stream: one pass over each byte, whatever the pieces it comes in. The scanner only tracks
 * strings and depth; a complete message is parsed once, a long one in pieces (pieces.ts). What cannot be the start of an
 * object is refused at its first byte, so a peer speaking another protocol does not fill memory first.
 */

import { isUtf8 } from "node:buffer";

import { OvsdbProtocolError } from "./errors.ts";
import { JsonSyntaxError, MAX_DEPTH, parseExact, type JsonObject } from "./json.ts";
import { JsonTooMuchError, parseInPieces, PIECE_BYTES, type PieceLimits } from "./pieces.ts";

const QUOTE = 0x22, BACKSLASH = 0x5c, OPEN = 0x7b, CLOSE = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;

/** A buffer no larger than this stays allocated between messages. */
const KEPT_BUFFER = 1 << 20;

export class MessageScanner {
  readonly #maxMessageBytes: number;
  /** Grows by doubling: pieces of one byte each must not cost a buffer each. */
  #buffer: Buffer = Buffer.alloc(0);
  /** Bytes of the message under way in #buffer. */
  #held = 0;
  #depth = 0;
  #inString = false;
  #escaped = false;
  /** Digits in a row; 16 or more, or an exponent, may be a number that a double cannot hold. */
  #digits = 0;
  #longNumber = false;
  /** Stream offset of the chunk being scanned. */
  #base = 0;
  readonly #limits: PieceLimits;
  #messageBytes = 0;

  /** `limits`: of messages that are parsed in pieces. */
  constructor(maxMessageBytes: number, limits: Partial<PieceLimits> = {}) {
    this.#maxMessageBytes = maxMessageBytes;
    this.#limits = { elements: Infinity, values: Infinity, ...limits };
  }

  /** Length of the message that was yielded last, or is being parsed. */
  get messageBytes(): number { return this.#messageBytes; }

  /** Bytes held of a message that is not complete yet. */
  get pendingBytes(): number { return this.#held; }

  /** Bytes that the message under way takes. */
  get heldBytes(): number { return this.#held === 0 ? 0 : this.#buffer.length; }

  /** Bytes scanned so far. */
  get totalBytes(): number { return this.#base; }

  /**
   * Yields each message completed by `chunk`, in order. It must be run to its end before the next chunk.
   * @throws OvsdbProtocolError with the stream offset of the fault; the scanner is then of no further use
   */
  *push(chunk: Buffer): Generator<JsonObject, void, undefined> {
    for (const message of this.pieces(chunk)) if (message !== undefined) yield message;
  }

  /** As push, and yields undefined after each piece of a long message that was parsed. */
  *pieces(chunk: Buffer): Generator<JsonObject | undefined, void, undefined> {
    const base = this.#base;
    let start = 0; // of the current message within chunk
    let depth = this.#depth, inString = this.#inString, escaped = this.#escaped, digits = this.#digits;
    const length = chunk.length;
    const limit = this.#maxMessageBytes;
    for (let i = 0; i < length; i++) {
      const c = chunk[i]!;
      if (depth === 0) {
        if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) { start = i + 1; continue; }
        if (c !== OPEN) throw new OvsdbProtocolError("not an object", "expected the start of a JSON object", base + i);
        start = i;
        depth = 1;
        digits = 0;
        this.#longNumber = false;
        continue;
      }
      if (inString) {
        if (escaped) escaped = false;
        else if (c === BACKSLASH) escaped = true;
        else if (c === QUOTE) inString = false;
        if (c < 0x20) throw new OvsdbProtocolError("malformed json", "control character in string", base + i);
        continue;
      }
      if (c >= 0x30 && c <= 0x39) {
        if (++digits === 16) this.#longNumber = true;
        continue;
      }
      // an exponent may make a number that no double holds
      if (digits > 0 && (c | 0x20) === 0x65) this.#longNumber = true;
      digits = 0;
      if (c === QUOTE) {
        inString = true;
      } else if (c === OPEN || c === OPEN_ARRAY) {
        if (++depth > MAX_DEPTH) throw new OvsdbProtocolError("nested too deep", undefined, base + i);
      } else if (c === CLOSE || c === CLOSE_ARRAY) {
        if (--depth === 0) {
          if (this.#held + i + 1 - start > limit) this.#tooLong(base + i);
          const tail = chunk.subarray(start, i + 1);
          let message = tail;
          if (this.#held > 0) {
            this.#hold(tail);
            message = this.#buffer.subarray(0, this.#held);
            this.#held = 0;
          }
          yield yield* this.#parse(message, base + i + 1 - message.length);
          start = i + 1;
        }
      }
    }
    this.#depth = depth;
    this.#inString = inString;
    this.#escaped = escaped;
    this.#digits = digits;
    this.#base = base + length;
    if (depth > 0) {
      if (this.#held + length - start > limit) this.#tooLong(base + length);
      this.#hold(chunk.subarray(start));
    } else if (this.#buffer.length > KEPT_BUFFER) {
      this.#buffer = Buffer.alloc(0);
    }
  }

  /** To be called at the end of the stream. @throws OvsdbProtocolError when it ends within a message */
  end(): void {
    if (this.#depth > 0) throw new OvsdbProtocolError("truncated", "the stream ended within a message", this.#base);
  }

  #hold(bytes: Buffer): void {
    const needed = this.#held + bytes.length;
    if (needed > this.#buffer.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, Math.min(2 * this.#buffer.length, this.#maxMessageBytes), 4096));
      this.#buffer.copy(grown, 0, 0, this.#held);
      this.#buffer = grown;
    }
    bytes.copy(this.#buffer, this.#held);
    this.#held = needed;
  }

  #tooLong(offset: number): never {
    throw new OvsdbProtocolError("message too long", `more than ${this.#maxMessageBytes} bytes`, offset);
  }

  *#parse(bytes: Buffer, offset: number): Generator<undefined, JsonObject, undefined> {
    this.#messageBytes = bytes.length;
    if (bytes.length > PIECE_BYTES) return yield* this.#parseLong(bytes, offset);
    if (!isUtf8(bytes)) throw new OvsdbProtocolError("not utf-8", "a message is not UTF-8", offset);
    const text = bytes.toString("utf8");
    try {
      // the scanner has seen "{" first, so the value is an object or the text is malformed
      if (!this.#longNumber) return JSON.parse(text) as JsonObject;
    } catch {
      // parsed again below, to learn where it went wrong
    }
    try {
      return parseExact(text) as JsonObject;
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      const at = offset + Buffer.byteLength(text.slice(0, error.index));
      throw new OvsdbProtocolError("malformed json", error.message, at, error);
    }
  }

  *#parseLong(bytes: Buffer, offset: number): Generator<undefined, JsonObject, undefined> {
    try {
      return (yield* parseInPieces(bytes, this.#limits)) as JsonObject;
    } catch (error) {
      if (!(error instanceof JsonSyntaxError)) throw error;
      const code = error instanceof JsonTooMuchError ? "too much" : error.message === "not utf-8" ? "not utf-8" : "malformed json";
      throw new OvsdbProtocolError(code, error.message, offset + error.index, error);
    }
  }
}
