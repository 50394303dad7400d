// The grain of flow text: words with the place where they stand, pairs of key and value, numbers, names of ports and
// tables. What the words mean is the business of the other parse-*.ts. Every word knows its offset in the whole text, so
// that an error can point at it. Blanks, commas, parentheses and number formats are those of ovs-ofctl(8).

import { OpenFlowError, refusal, type ErrorName } from "../../wire/errors.ts";
import { groups } from "../../match/fields.ts";
import { PORT_NAMES } from "../names.ts";

/** A piece of the text, and its offset in the whole. */
export interface Word {
  readonly text: string;
  readonly at: number;
}

export interface Pair {
  readonly key: Word;
  /** Empty when there is none. */
  readonly value: Word;
}

/** An OF_TEXT error about `word`; with `name`, one that a switch would report in these terms. */
export function textError(word: { readonly at: number }, what: string, name?: ErrorName): OpenFlowError {
  return name === undefined ? new OpenFlowError("OF_TEXT", what, { offset: word.at }) : refusal(name, word.at, `${what} (${name})`, "OF_TEXT");
}

/** The word as it is shown in messages. */
export function quoted(word: Word): string {
  return word.text.length > 60 ? `"${word.text.slice(0, 57)}..."` : `"${word.text}"`;
}

export function part(word: Word, from: number, to = word.text.length): Word {
  return { text: word.text.slice(from, to), at: word.at + from };
}

const BLANK = 1;
const COMMA = 2;
const KEY_END = 4;
const OPEN = 8;
const CLOSE = 16;
const kinds = new Uint8Array(128);
for (const c of " \t\r\n") kinds[c.charCodeAt(0)] = BLANK | KEY_END;
kinds[0x2c] = COMMA | KEY_END;
kinds[0x3a] = kinds[0x3d] = KEY_END;
kinds[0x28] = OPEN | KEY_END;
kinds[0x29] = CLOSE;

function kind(text: string, i: number): number {
  const code = text.charCodeAt(i);
  return code < 128 ? kinds[code]! : 0;
}

/**
 * Index of the first character of one of the kinds in `stop` that stands outside parentheses; the length if there is none. A
 * parenthesis that is never closed reaches to the end: so it is for ovs-ofctl, and its documentation has such flows.
 */
function skipTo(text: string, from: number, stop: number): number {
  let level = 0;
  for (let i = from; i < text.length; i++) {
    const k = kind(text, i);
    if (k === 0) continue;
    if (level === 0 && (k & stop) !== 0) return i;
    if ((k & OPEN) !== 0) level++;
    else if ((k & CLOSE) !== 0 && level > 0) level--;
  }
  return text.length;
}

/**
 * The pairs of a list: `key`, `key=value`, `key:value`, `key(value)`, `key(value)->rest`, parted by commas and blanks.
 * A value after = or : ends at a comma or blank outside parentheses. Of `key(value)->rest` the value is "value)->rest".
 */
export function* pairs(word: Word): Generator<Pair, void, undefined> {
  const { text } = word;
  for (let i = 0; ; ) {
    while (i < text.length && (kind(text, i) & (BLANK | COMMA)) !== 0) i++;
    if (i >= text.length) return;
    const start = i;
    while (i < text.length && (kind(text, i) & KEY_END) === 0) i++;
    const key = part(word, start, i);
    const mark = text[i];
    const from = ++i;
    if (mark === ":" || mark === "=") i = skipTo(text, from, BLANK | COMMA);
    else if (mark === "(") {
      i = skipTo(text, from, CLOSE);
      if (text.startsWith(")->", i)) i = skipTo(text, i + 1, BLANK | COMMA);
    } else {
      yield { key, value: { text: "", at: word.at + from - 1 } };
      continue;
    }
    yield { key, value: part(word, from, i) };
    i++;
  }
}

/** The pieces between characters of `separators`, empty ones left out. */
export function pieces(word: Word, separators: RegExp): Word[] {
  const found: Word[] = [];
  let at = 0;
  for (const text of word.text.split(separators)) {
    if (text === "") continue;
    const start = word.text.indexOf(text, at);
    found.push({ text, at: word.at + start });
    at = start + text.length;
  }
  return found;
}

const FIRST_WORD = /[ \t\r\n]*([^, \t\r\n]*)/y;

/** The command that the text begins with, or a beginning of one; the first of `commands` if there is none. */
export function leadingCommand<C extends string>(word: Word, commands: readonly C[]): { command: C; rest: Word } {
  FIRST_WORD.lastIndex = 0;
  const first = FIRST_WORD.exec(word.text)![1]!;
  const command = commands.find((name) => name.startsWith(first));
  return command === undefined ? { command: commands[0]!, rest: word } : { command, rest: part(word, FIRST_WORD.lastIndex) };
}

// --- numbers ---

const INTEGER = /[ \t\n\v\f\r]*([+-]?)(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)/y;
const LONGEST = 400;

/** A number as C reads it: 0x for hexadecimal, a leading 0 for octal. `end` is the index behind it in `text`. */
export function scanInteger(text: string, from: number): { value: bigint; end: number } | undefined {
  INTEGER.lastIndex = from;
  const found = INTEGER.exec(text);
  if (found === null) return undefined;
  const digits = found[2]!;
  const octal = digits.length > 1 && digits[0] === "0" && digits[1] !== "x" && digits[1] !== "X";
  // A number of any length would be read in quadratic time; beyond some it is too large for everything anyway.
  const value = digits.length > LONGEST ? 1n << 2000n : BigInt(octal ? `0o${digits.slice(1)}` : digits);
  return { value: found[1] === "-" ? -value : value, end: INTEGER.lastIndex };
}

/** A number that takes all of the word, at most `limit`. */
export function number(word: Word, what: string, limit: number): number {
  const found = scanInteger(word.text, 0);
  if (found?.end !== word.text.length) throw textError(word, word.text === "" ? `${what}: a number is missing` : `${what}: ${quoted(word)} is not a number`);
  if (found.value < 0n || found.value > limit) throw textError(word, `${what}: ${quoted(word)} is not within 0 and ${limit}`);
  return Number(found.value);
}

export function u8(word: Word, what: string): number {
  return number(word, what, 0xff);
}

export function u16(word: Word, what: string): number {
  return number(word, what, 0xffff);
}

/** 32 bits; -1 is all ones. */
export function u32(word: Word, what: string): number {
  return Number(wrapped(word, what, 32n));
}

/** 64 bits; -1 is all ones. */
export function u64(word: Word, what: string): bigint {
  return wrapped(word, what, 64n);
}

function wrapped(word: Word, what: string, bits: bigint): bigint {
  const found = scanInteger(word.text, 0);
  if (found?.end !== word.text.length) throw textError(word, word.text === "" ? `${what}: a number is missing` : `${what}: ${quoted(word)} is not a number`);
  if (found.value >> bits !== 0n && -found.value >> bits !== 0n) throw textError(word, `${what}: ${quoted(word)} has more than ${bits} bits`);
  return found.value < 0n ? found.value + (1n << bits) : found.value;
}

/** A decimal number, for the few arguments that Open vSwitch reads without prefixes. */
export function decimal(word: Word, what: string, limit: number): number {
  if (!/^[0-9]{1,10}$/.test(word.text)) throw textError(word, `${what}: ${quoted(word)} is not a decimal number`);
  const value = Number(word.text);
  if (value > limit) throw textError(word, `${what}: ${quoted(word)} is more than ${limit}`);
  return value;
}

/** Bytes as hexadecimal digits, two each; blanks and dots may stand between. */
export function hexBytes(word: Word, what: string): Uint8Array {
  const bad = /[^0-9a-fA-F .\t\r\n]/.exec(word.text);
  if (bad !== null) throw textError({ at: word.at + bad.index }, `${what}: "${bad[0]}" is not a hexadecimal digit`);
  const digits = word.text.split(/[ .\t\r\n]+/);
  for (const run of digits) if (run.length % 2 !== 0) throw textError(word, `${what}: "${run.slice(0, 20)}" has an odd number of digits`);
  return Uint8Array.from(Buffer.from(digits.join(""), "hex"));
}

// --- ports, tables, groups ---

const PORTS = new Map([...PORT_NAMES].map(([port, name]) => [name, port]));
PORTS.set("NONE", 0xffffffff);
PORTS.set("UNSET", 0xfffffff7);

/**
 * A port by number or reserved name, as a 32-bit number. Numbers of OpenFlow 1.0 (0xff00 to 0xffff) are taken for what
 * they are in 1.3. undefined if it is neither.
 */
export function portNumber(text: string): number | undefined {
  const found = /^[ \t\n\v\f\r]*\+?([0-9]{1,10})$/.exec(text);
  if (found === null) return PORTS.get(text.toUpperCase());
  const value = Number(found[1]);
  if (value < 0xff00) return value;
  if (value <= 0xffff) return value + 0xffff0000;
  return value >= 0xffffff00 && value <= 0xffffffff ? value : undefined;
}

export function port(word: Word, what: string): number {
  const value = portNumber(word.text);
  if (value === undefined) throw textError(word, `${what}: no port ${quoted(word)}`);
  return value;
}

/** As Nicira actions have it: 16 bits. */
export function port16(word: Word, what: string): number {
  return port(word, what) & 0xffff;
}

export function table(word: Word, what: string): number {
  if (!/^\+?[0-9]{1,10}$/.test(word.text) || Number(word.text) > 255) throw textError(word, `${what}: no table ${quoted(word)}`);
  return Number(word.text);
}

export function group(word: Word, what: string): number {
  const name = word.text.toLowerCase();
  if (name === "any") return groups.ANY;
  if (name === "all") return groups.ALL;
  if (!/^\+?[0-9]{1,10}$/.test(word.text) || Number(word.text) > 0xffffffff) throw textError(word, `${what}: no group ${quoted(word)}`);
  return Number(word.text);
}
