// What the commands make of an answer's bytes: items of a stream however it is cut, tables, and text of others made harmless.
import { describe, expect, test } from "vitest";
import { jsonItems } from "./json-items.ts";
import { cell, plain, plainLines, record, table, TablePrinter } from "./table.ts";

async function* cut(text: string, size: number): AsyncGenerator<Buffer> {
  const bytes = Buffer.from(text);
  for (let i = 0; i < bytes.length; i += size) yield await Promise.resolve(bytes.subarray(i, i + size));
}
const itemsOf = async (text: string, size = 7): Promise<unknown[]> => {
  const out: unknown[] = [];
  for await (const item of jsonItems(cut(text, size))) out.push(item);
  return out;
};

describe("items of a JSON list", () => {
  const list = [{}, { a: 'quote " and \\ and }] [{' }, { b: { c: [1, { d: "\\" }], e: "ü€😀" } }, { f: [] }];
  test("are the same wherever the answer is cut", async () => {
    for (const text of [JSON.stringify({ flows: list }), JSON.stringify({ flows: list }, undefined, 2)]) {
      for (let size = 1; size <= text.length; size++) expect(await itemsOf(text, size)).toEqual(list);
    }
    expect(await itemsOf('{"flows":[]}')).toEqual([]);
  });

  test("of an answer that ends early are an error, after those that are whole", async () => {
    const text = JSON.stringify({ flows: list });
    for (let length = 0; length < text.length; length++) await expect(itemsOf(text.slice(0, length)), text.slice(0, length)).rejects.toThrow(/ends early/);
  });

  test.each(["hello", "[]", '[{"a":1}]', '{"flows":{"a":1}}', '{"flows":[[1]]}', '{"flows":[{a:1}]}', "}"])("%s is none", async (text) => {
    await expect(itemsOf(text)).rejects.toThrow();
  });
});

describe("tables", () => {
  test("have columns as wide as their widest cell; nothing is written of no rows", () => {
    expect(table(["A", "LONG", "C"], [["value", 1, ""], [undefined, "x", "last one"]])).toBe("A      LONG  C\nvalue  1     -\n-      x     last one\n");
    expect(table(["A"], [])).toBe("");
    expect(table(["A", "B"], [["😀", "x"], ["é", "y"]])).toBe("A  B\n😀  x\né  y\n");
  });

  test("of any length are written as rows come, with the widths of the first", () => {
    const printer = new TablePrinter(["A", "B"], 2);
    expect([printer.add(["1", "x"]), printer.add(["22", "y"]), printer.add(["333", "z"]), printer.add(["4", "z"]), printer.end()]).toEqual(["", "A   B\n1   x\n22  y\n", "333  z\n", "4   z\n", ""]);
  });

  test("records show nested objects by name", () => {
    expect(record({ id: "hv1", flows: { desired: 1, pending: 0 }, types: ["a", "b"], none: null, empty: [], nested: [{ a: 1 }] })).toBe(
      'id             hv1\nflows.desired  1\nflows.pending  0\ntypes          a,b\nnone           -\nempty          -\nnested         {"a":1}\n',
    );
  });
});

test("control and format characters of others do not reach the terminal", () => {
  const hostile = "hv\u001b[2J\u009b1m\u202e\n\tx";
  expect(plain(hostile)).toBe("hv\ufffd[2J\ufffd1m\ufffd\ufffd\ufffdx");
  expect(plainLines(hostile)).toBe("hv\ufffd[2J\ufffd1m\ufffd\n\tx");
  expect(cell(["a\u001b", { b: "\u009b" }])).toBe('a\ufffd,{"b":"\ufffd"}');
});
