import { expect, test } from "vitest";
import { EtcdError } from "../errors.ts";
import { RangeRequest, StatusResponse, TxnRequest, WatchResponse } from "../messages.ts";
import { bool, bytes, id, int, many, message, one, text, texts } from "./codec.ts";

const All = message({ n: int(1), i: id(2), b: bool(3), d: bytes(4), t: text(5), m: one(6, message({ n: int(1) })), ms: many(7, message({ t: text(16) })), ts: texts(8) });

test("what is encoded is decoded, of each kind, at the ends of its range", () => {
  for (const n of [0, 1, 127, 128, 2 ** 28 - 1, 2 ** 28, 2 ** 31, 2 ** 53 - 1, -1, -(2 ** 53 - 1)]) expect(All.decode(All.encode({ n })).n).toBe(n);
  for (const i of [0n, 1n, 2n ** 63n, 2n ** 64n - 1n]) expect(All.decode(All.encode({ i })).i).toBe(i);
  const value = { n: 300, i: 2n ** 60n, b: true, d: Buffer.from([0, 255]), t: "é😀", m: { n: 0 }, ms: [{ t: "a" }, { t: "" }], ts: ["", "b"] };
  expect(All.decode(All.encode(value))).toEqual(value);
  expect(All.decode(Buffer.alloc(0))).toEqual({ n: 0, i: 0n, b: false, d: Buffer.alloc(0), t: "", m: undefined, ms: [], ts: [] });
});

test("bytes are those of the format", () => {
  // Each as protoc 3.21 encodes it.
  expect(RangeRequest.encode({ key: "a", range_end: Buffer.from("b"), limit: 300 }).toString("hex")).toBe("0a0161120162" + "18ac02");
  expect(TxnRequest.encode({ compare: [{ result: 0, target: 2, key: "k", mod_revision: 7 }], success: [{ request_put: { key: "k", value: "v" } }] }).toString("hex")).toBe("0a07" + "10021a016b3007" + "1208" + "1206" + "0a016b120176");
});

test("fields that are not known are passed over; cuts and wrong types are errors, with any bytes", () => {
  const more = message({ n: int(1), unknown: bytes(9), also: int(90), ms: many(70, message({ n: int(1) })) });
  expect(message({ n: int(1) }).decode(more.encode({ n: 5, unknown: "xyz", also: 9, ms: [{ n: 1 }] }))).toEqual({ n: 5 });
  // fixed64 and fixed32 of fields that are not known
  expect(message({ n: int(1) }).decode(Buffer.from("51" + "0102030405060708" + "5d" + "01020304" + "0805", "hex"))).toEqual({ n: 5 });
  const whole = All.encode({ n: 2 ** 40, d: "bytes", ms: [{ t: "text" }] });
  for (let end = 1; end < whole.length; end++) {
    try {
      All.decode(whole.subarray(0, end));
    } catch (error) {
      expect(error).toBeInstanceOf(EtcdError);
      expect((error as EtcdError).code).toBe("PROTOCOL");
    }
  }
  for (const bad of ["0a00", "2201", "0880808080808080808080", "08ffffffffffffffff7f", "0b", "2205"]) expect(() => All.decode(Buffer.from(bad, "hex")), bad).toThrow(EtcdError);
  for (let i = 0; i < 400; i++) {
    const noise = Buffer.from(Array.from({ length: i % 40 }, () => Math.floor(Math.random() * 256)));
    for (const decoder of [WatchResponse, StatusResponse, All]) {
      try {
        decoder.decode(noise);
      } catch (error) {
        expect(error, noise.toString("hex")).toBeInstanceOf(EtcdError);
      }
    }
  }
});
