// A long message is read as a short one is, piece by piece.
import { describe, expect, test } from "vitest";

import { MessageScanner } from "./framing.ts";
import { parseExact, stringify, type Json } from "./json.ts";
import { parseInPieces, PIECE_BYTES, type PieceLimits } from "./pieces.ts";

const NO_LIMITS: PieceLimits = { elements: Infinity, values: Infinity };

function parse(text: string | Buffer, limits = NO_LIMITS): { value: Json; pieces: number } {
  const work = parseInPieces(Buffer.from(text as string), limits);
  for (let pieces = 1; ; pieces++) {
    const step = work.next();
    if (step.done === true) return { value: step.value, pieces };
  }
}

describe("JSON in pieces", () => {
  test.each([
    "null", "true", "[]", "{}", ' [ 1 , { "a" : 2 , "b" : [ ] } ] ', '[1,-0.5e3,"x\\u00e9\\n\\"",true,false,null,{}]', '"\\ud83d\\ude00é😀"', '{"__proto__":{"a":1},"constructor":2,"":3}',
    '{"a":1,"a":2}', "9223372036854775807", "-9007199254740993", "1E2", '"\\ud800"', "[[[[[[]]]]]]",
  ])("agrees with the parser of short ones on %s", (text) => {
    const { value } = parse(text);
    expect(value).toEqual(parseExact(text));
    expect(Object.getPrototypeOf(value ?? {})).toBe(Object.getPrototypeOf(parseExact(text) ?? {}));
  });

  test.each([
    "", "[", "[1,]", "{,}", '{"a":}', '{"a" 1}', '{"a":1,}', '{1:2}', "01", "+1", "1.", ".5", "nul", "TRUE", "NaN", '"\\u12"', '"a', '"a\\', "[1] 2", "/**/1", '"a\nb"', "[}", "{]", "1e999", "9".repeat(2000),
    "[".repeat(1001), ":", ",", '["a":1]', '{"a","b"}',
  ])("refuses %j", (text) => expect(() => parse(text)).toThrow());

  test("is refused where it is not UTF-8, in a string or beyond it", () => {
    for (const bytes of [Buffer.from([0x22, 0xff, 0x22]), Buffer.from([0xff]), Buffer.from([0x22, ...new Array<number>(3 * PIECE_BYTES).fill(0x80), 0x22])]) expect(() => parse(bytes)).toThrow();
  });

  // Each of half a megabyte or more: whatever there is much of, no piece has more than its share.
  const much: readonly [string, () => string][] = [
    ["numbers", () => `[${"1,".repeat(1 << 18)}1]`],
    ["empty lists", () => `[${"[],".repeat(1 << 17)}[]]`],
    ["one string", () => `"${"x".repeat(1 << 19)}"`],
    ["one string of escapes", () => `"${"\\ud83d\\ude00".repeat(50_000)}"`],
    ["one string of wide characters", () => `"${"😀é".repeat(90_000)}"`],
    ["space", () => `[${" \n".repeat(1 << 18)}]`],
    ["names", () => `{${Array.from({ length: 50_000 }, (_, n) => `"n${n}":${n}`).join(",")}}`],
    ["strings", () => `[${Array.from({ length: 50_000 }, (_, n) => `"s${n}\\n"`).join(",")}]`],
  ];
  test.each(much)("a long text of %s is read in pieces", (_, make) => {
    const text = make();
    const { value, pieces } = parse(text);
    expect(pieces).toBeGreaterThan(Buffer.byteLength(text) / (PIECE_BYTES + 100) - 2);
    expect(stringify(value) === stringify(JSON.parse(text) as Json)).toBe(true);
  });

  test("what is too much is refused as soon as it is", () => {
    expect(parse("[1,[2,3],4]", { elements: 3, values: 6 }).value).toEqual([1, [2, 3], 4]);
    expect(() => parse("[1,2,3,4", { ...NO_LIMITS, elements: 3 })).toThrow(/3 elements/);
    expect(() => parse('{"a":1,"b":2,"b":3', { ...NO_LIMITS, elements: 2 })).toThrow(/2 elements/);
    expect(() => parse("[[1],[1],[1]", { ...NO_LIMITS, values: 4 })).toThrow(/4 values/);
  });

  test("of a stream a long message comes in pieces and whole, and the place of a fault is told", () => {
    const long = `{"a":${JSON.stringify(Array.from({ length: 40_000 }, (_, n) => n))}}`;
    const scanner = new MessageScanner(1 << 20);
    const seen = [...scanner.pieces(Buffer.from(`{"b":1}${long}{"c":2}`))];
    expect(seen.filter((m) => m !== undefined).map((m) => Object.keys(m))).toEqual([["b"], ["a"], ["c"]]);
    expect(seen.length).toBeGreaterThan(5);
    const fault = `{"a":"${"x".repeat(PIECE_BYTES)}","b":nul}`;
    expect(() => [...new MessageScanner(1 << 20).push(Buffer.from(`{} ${fault}`))]).toThrow(new RegExp(`at byte ${3 + fault.indexOf("nul")}\\)`));
  });
});
