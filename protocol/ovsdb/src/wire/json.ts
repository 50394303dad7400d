/**
 * JSON as OVSDB uses it. `JSON.parse` does nearly all the work; the parser here takes over where that one loses: integers
 * beyond 2^53 (they become bigint, OVSDB integers have 64 bits) and malformed text (it knows where). No stream handling
 * (framing.ts) and no OVSDB values (values.ts).
 */

export type Json = null | boolean | number | bigint | string | readonly Json[] | JsonObject;
export interface JsonObject { readonly [name: string]: Json }

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const isArray = (value: unknown): value is readonly Json[] => Array.isArray(value);

/** Nesting beyond this is refused: it bounds the recursion of every walk over a message. ovsdb-server's limit too. */
export const MAX_DEPTH = 1000;

/** Malformed text; `index` counts UTF-16 code units. */
export class JsonSyntaxError extends Error {
  readonly index: number;
  constructor(what: string, index: number) {
    super(what);
    this.index = index;
  }
}

const NUMBER = /-?(?:0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?/y;
const ESCAPES: Readonly<Record<string, string>> = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** A number by its text, as parseExact reads it; a string says why it is none. */
export function numberFrom(text: string): number | bigint | string {
  NUMBER.lastIndex = 0;
  const match = NUMBER.exec(text);
  return match?.[0].length === text.length ? valueOf(match) : "unexpected character";
}

function valueOf(match: RegExpExecArray): number | bigint | string {
  const value = Number(match[0]);
  if (!Number.isFinite(value)) return "number out of range";
  const integer = match[1] === undefined && match[2] === undefined;
  return integer && !Number.isSafeInteger(value) ? BigInt(match[0]) : value;
}

/** Parses one JSON text; integers outside the safe range come as bigint. @throws JsonSyntaxError */
export function parseExact(text: string): Json {
  let at = 0;
  const fail = (what: string): never => { throw new JsonSyntaxError(what, at); };
  const skipSpace = (): void => {
    for (;;) {
      const c = text.charCodeAt(at);
      if (c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09) at++;
      else return;
    }
  };
  const parseString = (): string => {
    let out = "";
    at++;
    let from = at;
    for (;;) {
      const c = text.charCodeAt(at);
      if (Number.isNaN(c)) return fail("unterminated string");
      if (c < 0x20) return fail("control character in string");
      if (c === 0x22) {
        out += text.slice(from, at++);
        return out;
      }
      if (c !== 0x5c) { at++; continue; }
      out += text.slice(from, at);
      const escape = text[at + 1] ?? "";
      if (escape === "u") {
        const hex = text.slice(at + 2, at + 6);
        if (!/^[0-9a-fA-F]{4}$/.test(hex)) return fail("bad escape");
        out += String.fromCharCode(parseInt(hex, 16));
        at += 6;
      } else {
        const plain = ESCAPES[escape];
        if (plain === undefined) return fail("bad escape");
        out += plain;
        at += 2;
      }
      from = at;
    }
  };
  const word = <T extends Json>(letters: string, value: T): T => {
    if (!text.startsWith(letters, at)) return fail("unexpected character");
    at += letters.length;
    return value;
  };
  const parseNumber = (): number | bigint => {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (match === null) return fail("unexpected character");
    const value = valueOf(match);
    if (typeof value === "string") return fail(value);
    at += match[0].length;
    return value;
  };
  const parseValue = (depth: number): Json => {
    if (depth > MAX_DEPTH) return fail("nested too deep");
    skipSpace();
    switch (text[at]) {
      case "{": {
        const object: Record<string, Json> = {};
        at++;
        skipSpace();
        if (text[at] === "}") { at++; return object; }
        for (;;) {
          skipSpace();
          if (text[at] !== '"') return fail("expected a member name");
          const name = parseString();
          skipSpace();
          if (text[at] !== ":") return fail('expected ":"');
          at++;
          const value = parseValue(depth + 1);
          // an own property whatever its name, as JSON.parse does
          Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
          skipSpace();
          if (text[at] === ",") { at++; continue; }
          if (text[at] !== "}") return fail('expected "," or "}"');
          at++;
          return object;
        }
      }
      case "[": {
        const array: Json[] = [];
        at++;
        skipSpace();
        if (text[at] === "]") { at++; return array; }
        for (;;) {
          array.push(parseValue(depth + 1));
          skipSpace();
          if (text[at] === ",") { at++; continue; }
          if (text[at] !== "]") return fail('expected "," or "]"');
          at++;
          return array;
        }
      }
      case '"': return parseString();
      case "t": return word("true", true);
      case "f": return word("false", false);
      case "n": return word("null", null);
      default: return parseNumber();
    }
  };
  const value = parseValue(1);
  skipSpace();
  if (at < text.length) return fail("text after the value");
  return value;
}

/** JSON text on one line; a bigint is written as the integer it is. */
export function stringify(value: Json): string {
  try {
    return JSON.stringify(value);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    return stringifyExact(value); // JSON.stringify refuses bigint, and Node 20 has no rawJSON
  }
}

function stringifyExact(value: Json): string {
  if (typeof value === "bigint") return value.toString();
  if (isArray(value)) return `[${value.map(stringifyExact).join(",")}]`;
  if (isObject(value)) {
    const members: string[] = [];
    for (const [name, member] of Object.entries(value)) {
      if (member !== undefined) members.push(`${JSON.stringify(name)}:${stringifyExact(member)}`);
    }
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}
