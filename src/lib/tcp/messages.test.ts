// Messages behind their lengths, however a stream cuts them.
import fc from "fast-check";
import { expect, test } from "vitest";
import { framed, MESSAGE_MAX, Messages } from "./messages.ts";

test("what was framed comes out again, whatever the pieces", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 6 }), fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 40 }), (sent, cuts) => {
    const bytes = Buffer.concat(sent.map(framed));
    const reader = new Messages();
    const got: Buffer[] = [];
    for (let at = 0, i = 0; at < bytes.length; at += cuts[i++ % cuts.length]!) {
      reader.push(bytes.subarray(at, at + cuts[i % cuts.length]!));
      for (let message = reader.next(); message !== undefined; message = reader.next()) got.push(message);
    }
    expect(got.map((m) => m.toString("hex"))).toEqual(sent.map((m) => Buffer.from(m).toString("hex")));
  }), { numRuns: 200 });
});

test("its length is known before it is there, and is no more than two bytes say", () => {
  const reader = new Messages();
  reader.push(Buffer.of(1));
  expect([reader.length, reader.next()]).toEqual([undefined, undefined]);
  reader.push(Buffer.of(2, 3));
  expect([reader.length, reader.next()]).toEqual([258, undefined]);
  expect(framed(Buffer.alloc(MESSAGE_MAX)).readUInt16BE(0)).toBe(MESSAGE_MAX);
  expect(() => framed(Buffer.alloc(MESSAGE_MAX + 1))).toThrow(RangeError);
});
