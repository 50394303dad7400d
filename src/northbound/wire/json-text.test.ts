import { expect, test } from "vitest";
import { jsonText, Members } from "./json-text.ts";

test("integers beyond 2^53 are written to the last digit", () => {
  expect(jsonText({ total: 2n ** 64n - 2n, name: 'a"b', list: [1n, undefined, null, { deep: 2n ** 127n }], gone: undefined })).toBe(
    '{"total":18446744073709551614,"name":"a\\"b","list":[1,null,null,{"deep":170141183460469231731687303715884105728}]}',
  );
});

test("what has none is as JSON.stringify writes it", () => {
  const value = { a: [1, 1.5, true, null, "ü\n"], b: {}, c: undefined };
  expect(jsonText(value)).toBe(JSON.stringify(value));
});

test("members put together one by one are those of the object", () => {
  const value: Record<string, unknown> = { 'a"b': "ü\n\"", n: 1.5, zero: -0, odd: Number.NaN, t: true, f: false, nothing: null, gone: undefined, list: [1, undefined], deep: { x: {} } };
  const members = new Members();
  for (const [name, of] of Object.entries(value)) members.add(name, of);
  expect(`{${members.text}}`).toBe(JSON.stringify(value));
  members.add("large", 2n ** 64n);
  expect(members.text.endsWith(',"large":18446744073709551616')).toBe(true);
});
