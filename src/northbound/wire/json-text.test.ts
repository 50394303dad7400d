import { expect, test } from "vitest";
import { jsonText } from "./json-text.ts";

test("integers beyond 2^53 are written to the last digit", () => {
  expect(jsonText({ total: 2n ** 64n - 2n, name: 'a"b', list: [1n, undefined, null, { deep: 2n ** 127n }], gone: undefined })).toBe(
    '{"total":18446744073709551614,"name":"a\\"b","list":[1,null,null,{"deep":170141183460469231731687303715884105728}]}',
  );
});

test("what has none is as JSON.stringify writes it", () => {
  const value = { a: [1, 1.5, true, null, "ü\n"], b: {}, c: undefined };
  expect(jsonText(value)).toBe(JSON.stringify(value));
});
