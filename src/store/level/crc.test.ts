import { expect, test } from "vitest";
import { crc32, crc32c, ownCrc32 } from "./crc.ts";

const digits = Buffer.from("123456789");

test("check values of the two polynomials", () => {
  expect(ownCrc32(digits)).toBe(0xcbf43926);
  expect(crc32c(digits)).toBe(0xe3069283);
});

test("Node's is the same as our own, whole and in pieces", () => {
  const bytes = Uint8Array.from({ length: 1000 }, (_, i) => (i * 7919) % 251);
  for (const length of [0, 1, 7, 8, 255, 1000]) {
    const part = bytes.subarray(0, length);
    expect(crc32(part)).toBe(ownCrc32(part));
    expect(crc32(bytes.subarray(length), crc32(part))).toBe(ownCrc32(bytes));
  }
});
