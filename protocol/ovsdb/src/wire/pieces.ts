/**
 * JSON of a long message, read piece by piece: the generator stops after each, so that whoever runs it can let others have
 * their turn. The values are those of json.ts. Bytes, not text: nothing of the message is made into a string that is not
 * one in it. Depth is on a stack of its own, not on that of calls.
 */

import { isUtf8 } from "node:buffer";

import { JsonSyntaxError, MAX_DEPTH, numberFrom, type Json } from "./json.ts";

/** Bytes of a piece: about a millisecond of work. */
export const PIECE_BYTES = 1 << 16;
/** No number that a double or a 64-bit integer holds needs as many. */
export const LONGEST_NUMBER = 1000;

export interface PieceLimits {
  /** Members of one object, or elements of one array. */
  readonly elements: number;
  /** Values in all. */
  readonly values: number;
}

/** More of something in one message than is taken; `index` counts bytes. */
export class JsonTooMuchError extends JsonSyntaxError {}

const QUOTE = 0x22, BACKSLASH = 0x5c, COMMA = 0x2c, COLON = 0x3a;
const OPEN = 0x7b, CLOSE = 0x7d, OPEN_ARRAY = 0x5b, CLOSE_ARRAY = 0x5d;

/** What may come next. */
type State = "value" | "value or end" | "name" | "name or end" | "colon" | "comma or end";

interface Container {
  readonly array: Json[] | undefined;
  readonly object: Record<string, Json> | undefined;
  name: string;
  count: number;
}

/** @throws JsonSyntaxError, whose `index` counts bytes; JsonTooMuchError */
export function* parseInPieces(bytes: Buffer, limits: PieceLimits): Generator<undefined, Json, undefined> {
  const length = bytes.length;
  const stack: Container[] = [];
  let top: Container | undefined;
  let state: State = "value";
  let at = 0;
  let pieceEnd = PIECE_BYTES;
  let values = 0;
  let result: Json | undefined;

  for (;;) {
    for (let c = bytes[at]; at < pieceEnd && (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09); c = bytes[++at]);
    if (at >= pieceEnd) {
      pieceEnd = at + PIECE_BYTES;
      yield;
      continue;
    }
    const c = bytes[at];
    if (result !== undefined) {
      if (c === undefined) return result;
      throw new JsonSyntaxError("text after the value", at);
    }
    let value: Json | undefined;
    switch (state) {
      case "colon":
        if (c !== COLON) throw new JsonSyntaxError('expected ":"', at);
        at++;
        state = "value";
        continue;
      case "comma or end":
        if (c === COMMA) {
          at++;
          state = top!.array === undefined ? "name" : "value";
          continue;
        }
        if (c !== (top!.array === undefined ? CLOSE : CLOSE_ARRAY)) throw new JsonSyntaxError(`expected "," or "${top!.array === undefined ? "}" : "]"}"`, at);
        value = top!.array ?? top!.object;
        break;
      case "name or end":
        if (c === CLOSE) value = top!.object;
        break;
      case "value or end":
        if (c === CLOSE_ARRAY) value = top!.array;
        break;
      default:
    }
    if (value !== undefined) {
      at++;
      stack.pop();
      top = stack.at(-1);
    } else if (c === QUOTE) {
      // a string, itself in pieces
      const parts: string[] = [];
      let from = at + 1, end = from, escapes = false, wide = false;
      for (;;) {
        const b = bytes[end];
        if (b === QUOTE) break;
        if (b === undefined) throw new JsonSyntaxError("unterminated string", length);
        if (b < 0x20) throw new JsonSyntaxError("control character in string", end);
        if (end - from >= PIECE_BYTES && (b & 0xc0) !== 0x80) {
          parts.push(stringOf(bytes, from, end, escapes, wide));
          from = end;
          escapes = wide = false;
          pieceEnd = end + PIECE_BYTES;
          yield;
        } else if (end - from > 2 * PIECE_BYTES) throw new JsonSyntaxError("not utf-8", end);
        if (b === BACKSLASH) {
          escapes = true;
          end++;
          if (bytes[end] === 0x75) end += 4; // of \u0041, that no piece ends within
        } else if (b >= 0x80) wide = true;
        end++;
      }
      const last = stringOf(bytes, from, end, escapes, wide);
      const text = parts.length === 0 ? last : [...parts, last].join("");
      const where = at;
      at = end + 1;
      if (state === "name" || state === "name or end") {
        top!.name = text;
        state = "colon";
        continue;
      }
      if (state !== "value" && state !== "value or end") throw new JsonSyntaxError("unexpected character", where);
      value = text;
    } else if (state === "name" || state === "name or end") throw new JsonSyntaxError("expected a member name", at);
    else if (c === OPEN || c === OPEN_ARRAY) {
      if (stack.length >= MAX_DEPTH) throw new JsonSyntaxError("nested too deep", at);
      at++;
      top = c === OPEN ? { array: undefined, object: {}, name: "", count: 0 } : { array: [], object: undefined, name: "", count: 0 };
      stack.push(top);
      state = c === OPEN ? "name or end" : "value or end";
      continue;
    } else {
      const end = wordEnd(bytes, at);
      value = wordOf(bytes.toString("latin1", at, end), at);
      at = end;
    }

    if (++values > limits.values) throw new JsonTooMuchError(`more than ${limits.values} values in one message`, at);
    if (top === undefined) {
      result = value;
      continue;
    }
    if (++top.count > limits.elements) throw new JsonTooMuchError(`more than ${limits.elements} elements in one list or object`, at);
    if (top.array !== undefined) top.array.push(value);
    // an own property whatever its name, as JSON.parse does
    else if (top.name === "__proto__") Object.defineProperty(top.object, top.name, { value, enumerable: true, writable: true, configurable: true });
    else top.object![top.name] = value;
    state = "comma or end";
  }
}

function stringOf(bytes: Buffer, from: number, end: number, escapes: boolean, wide: boolean): string {
  if (wide && !isUtf8(bytes.subarray(from, end))) throw new JsonSyntaxError("not utf-8", from);
  const text = wide ? bytes.toString("utf8", from, end) : bytes.toString("latin1", from, end);
  if (!escapes) return text;
  try {
    return JSON.parse(`"${text}"`) as string;
  } catch {
    throw new JsonSyntaxError("bad escape", from);
  }
}

/** End of a number or word: the first byte that cannot be in one. */
function wordEnd(bytes: Buffer, at: number): number {
  let end = at;
  for (let c = bytes[end]; c !== undefined && ((c >= 0x30 && c <= 0x39) || (c >= 0x61 && c <= 0x7a) || c === 0x2b || c === 0x2d || c === 0x2e || c === 0x45); c = bytes[++end]) {
    if (end - at > LONGEST_NUMBER) throw new JsonSyntaxError("a number or word is too long", at);
  }
  return end;
}

function wordOf(word: string, at: number): Json {
  if (word === "true") return true;
  if (word === "false") return false;
  if (word === "null") return null;
  const value = numberFrom(word);
  if (typeof value === "string") throw new JsonSyntaxError(value, at);
  return value;
}
