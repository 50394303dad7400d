import { describe, expect, test } from "vitest";

import { OvsdbProtocolError } from "./errors.ts";
import { MessageScanner } from "./framing.ts";
import { JsonSyntaxError, parseExact, stringify, type JsonObject } from "./json.ts";
import { haveVectors, vectors } from "../testing/support.ts";

function scan(pieces: readonly (Buffer | string)[], maxMessageBytes = 1 << 20): JsonObject[] {
  const scanner = new MessageScanner(maxMessageBytes);
  const messages: JsonObject[] = [];
  for (const piece of pieces) messages.push(...scanner.push(Buffer.from(piece as string)));
  return messages;
}

function failure(...pieces: (Buffer | string)[]): OvsdbProtocolError {
  try {
    scan(pieces);
  } catch (error) {
    if (error instanceof OvsdbProtocolError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

const MESSAGES: readonly JsonObject[] = [
  { id: 1, result: [], error: null },
  { method: "update", params: ["}{\\\"", { "é😀": "\u0000\"[", nested: [[[{}]]] }], id: null },
  { n: [-1.5, 9007199254740993n, -9223372036854775808n, 1e300, 0], t: true },
];

describe("framing", () => {
  const stream = Buffer.from(`${MESSAGES.map(stringify).join("")} \r\n\t${stringify(MESSAGES[0]!)}`);
  const expected = [...MESSAGES, MESSAGES[0]!];

  test("cut in two at every byte", () => {
    for (let cut = 0; cut <= stream.length; cut++) expect(scan([stream.subarray(0, cut), stream.subarray(cut)])).toEqual(expected);
  });

  test.each([1, 2, 3, 7, 64])("in pieces of %i bytes", (size) => {
    const pieces = [];
    for (let i = 0; i < stream.length; i += size) pieces.push(stream.subarray(i, i + size));
    expect(scan(pieces)).toEqual(expected);
  });

  test("messages before a fault are delivered, and the fault has its place", () => {
    const scanner = new MessageScanner(100);
    const seen: JsonObject[] = [];
    expect(() => { for (const message of scanner.push(Buffer.from('{"a":1} {"b":2}x'))) seen.push(message); }).toThrow(OvsdbProtocolError);
    expect(seen).toEqual([{ a: 1 }, { b: 2 }]);
  });

  const refused: readonly [string, string, number, ...(string | Buffer)[]][] = [
    ["no object", "not an object", 2, "  [1]"],
    ["another protocol", "not an object", 8, '{"a":1}\n', "GET / HTTP/1.1"],
    ["a byte order mark", "not an object", 0, "\ufeff{}"],
    ["control character", "malformed json", 7, '{"a":"b\u0001"}'],
    ["single quotes", "malformed json", 1, "{'a':1}"],
    ["missing colon", "malformed json", 13, '{"é":1}{"a"', " 1}"],
    ["wrong bracket", "malformed json", 6, '{"a":[}}'],
    ["bad escape", "malformed json", 6, '{"a":"\\x"}'],
    ["not UTF-8", "not utf-8", 2, Buffer.from([0x20, 0x20, 0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])],
    ["too deep", "nested too deep", 1004, `{"a":${"[".repeat(2000)}`],
    ["number out of range", "malformed json", 5, '{"a":123456789012345678901e999}'],
  ];
  test.each(refused)("refuses %s", (_, code, byteOffset, ...pieces) => {
    expect(failure(...pieces)).toMatchObject({ code, byteOffset });
  });

  test("a message may not pass the limit, complete or not", () => {
    const exact = '{"a":"xx"}';
    expect(scan([exact, exact], 10)).toEqual([{ a: "xx" }, { a: "xx" }]);
    for (const pieces of [[`{"a":"xxx"}`], ['{"a"', ':"xxxxxxxx'], Array.from(`{"a":"xxx"}`)]) {
      expect(() => scan(pieces, 10)).toThrow(/message too long/);
    }
  });

  test("the end of the stream within a message is a fault", () => {
    const scanner = new MessageScanner(100);
    expect([...scanner.push(Buffer.from('{"a":1}{'))]).toEqual([{ a: 1 }]);
    expect(scanner.pendingBytes).toBe(1);
    expect(() => { scanner.end(); }).toThrow(/truncated/);
  });
});

describe("exact JSON", () => {
  test.each(["null", "[]", "{}", '{"a":[1,-0.5e3,"x\\u00e9\\n",true,false,null,{}]}', ' [ 1 , { "a" : 2 } ] ', '"\\ud83d\\ude00"', '{"__proto__":1}'])("agrees with JSON.parse on %s", (text) => {
    expect(parseExact(text)).toEqual(JSON.parse(text));
  });
  test.each(["", "[", "[1,]", "{,}", '{"a":}', "01", "+1", "1.", ".5", "nul", "TRUE", "NaN", '"\\u12"', "[1] 2", "/**/1", '"a\nb"'])("refuses %j as JSON.parse does", (text) => {
    expect(() => parseExact(text)).toThrow(JsonSyntaxError);
    expect(() => JSON.parse(text) as unknown).toThrow(SyntaxError);
  });
  test("large integers survive both ways", () => {
    const text = '{"a":[9223372036854775807,-9007199254740993,5],"b":"1"}';
    expect(stringify(parseExact(text))).toBe(text);
  });
});

describe.skipIf(!haveVectors)("vectors of malformed JSON-RPC", () => {
  /** Those that ovsdb-server hangs up on for reasons other than the JSON (session.test.ts), or where we are more lenient. */
  const LENIENT = /params object|method number|extra member|reply to nothing|error to nothing|lone surrogate|NUL escape/;
  const malformed = vectors("malformed-json-rpc.jsonl").filter((vector) => typeof vector["text"] === "string" && !LENIENT.test(vector["name"] as string));
  test.each(malformed.map((vector) => [vector["name"] as string, vector] as const))("%s", (_, vector) => {
    const bytes = Buffer.from(vector["text"] as string);
    const outcome = (pieces: Buffer[]): unknown => {
      try {
        return scan(pieces);
      } catch (error) {
        return (error as OvsdbProtocolError).code;
      }
    };
    const whole = outcome([bytes]);
    // a bare number, which ovsdb-server waits for more of, is no start of an object to us
    if (vector["text"] !== "42") expect(typeof whole === "string").toBe(vector["closed"]);
    expect(outcome([...bytes].map((byte) => Buffer.from([byte])))).toEqual(whole);
  });
});
