import { expect, test } from "vitest";
import { cut } from "./text.ts";

test.each([
  ["abc", 3, "abc"],
  ["abcd", 3, "abc..."],
  ["a😀b", 2, "a..."],
  ["a😀b", 3, "a😀..."],
  ["", 0, ""],
])("%j in %i units is %j", (text, most, short) => {
  expect(cut(text, most)).toBe(short);
});
