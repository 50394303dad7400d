// Commands on a store that nobody has open: each on a real directory, and what of bad input they refuse, with nothing left.
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { checkStore, compactStore, exportStore, importStore, restoreStore } from "./admin.ts";
import { keepFirstEdition } from "./first-edition.ts";
import { KEEP } from "./log.ts";
import { openStore } from "./open.ts";
import { list, put, withDir } from "./testing/backends.ts";

/** Three rows after five changes; the second and the fourth of them are of one row. */
async function make(dataDir: string): Promise<void> {
  await keepFirstEdition(dataDir);
  const store = await openStore("level:", { dataDir });
  await store.txn([], [put("t/thing/a", "a1"), put("format", "2")]);
  await store.txn([], [put("t/thing/b", "b1")]);
  await store.txn([], [{ put: "t/thing/c", value: Buffer.from([0xff, 0xfe]) }, put("format", "2b")]);
  await store.txn([], [put("t/thing/b", "b2"), put("t/thing/d", "ü\n")]);
  await store.txn([], [{ delete: "t/thing/a" }]);
  await store.close();
}

async function rowsOf(dataDir: string): Promise<unknown[]> {
  const store = await openStore("level:", { dataDir });
  const rows = await list(store);
  await store.close();
  return rows;
}

async function exported(dataDir: string): Promise<string> {
  let text = "";
  // eslint-disable-next-line @typescript-eslint/require-await -- what takes it may be slow, this is not
  await exportStore(dataDir, async (more) => {
    text += more;
  });
  return text;
}

async function* lines(text: string): AsyncGenerator<string> {
  for (const line of text.split("\n").slice(0, -1)) yield await Promise.resolve(line);
}

test("check: what is there; a damaged one is refused; nothing is made where there is none", () =>
  withDir(async (dir) => {
    const dataDir = join(dir, "data");
    await expect(checkStore(dataDir)).rejects.toMatchObject({ code: "MISSING" });
    expect(await readdir(dir)).toEqual([]);
    await make(dataDir);
    expect(await checkStore(dataDir)).toMatchObject({ dir: join(dataDir, "store"), generation: 5, oldest: 1, rows: 4 });
    const open = await openStore("level:", { dataDir });
    await expect(checkStore(dataDir)).rejects.toMatchObject({ code: "LOCKED" });
    await open.close();
    await rm(join(dataDir, "store"), { recursive: true });
    await expect(checkStore(dataDir)).rejects.toMatchObject({ code: "LOSS", fields: { found: 0, acknowledged: 5 } });
  }));

test("a directory of the first edition is left to a start, which keeps a copy", () =>
  withDir(async (dir) => {
    await mkdir(join(dir, "store"));
    await cp(fileURLToPath(new URL("level/format-1", import.meta.url)), join(dir, "store"), { recursive: true });
    const before = await readdir(join(dir, "store"));
    for (const work of [checkStore, exported, (d: string) => compactStore(d, KEEP), (d: string) => restoreStore(d, 1)]) {
      await expect(work(dir)).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("start the controller on it once") as string });
    }
    expect(await readdir(join(dir, "store"))).toEqual(before);
  }));

test("a store without a log is refused as it is, in a marked directory too", () =>
  withDir(async (dir) => {
    await keepFirstEdition(dir);
    await mkdir(join(dir, "store"));
    await cp(fileURLToPath(new URL("level/format-1", import.meta.url)), join(dir, "store"), { recursive: true });
    for (const work of [checkStore, exported, (d: string) => compactStore(d, KEEP), (d: string) => restoreStore(d, 1)]) {
      await expect(work(dir)).rejects.toMatchObject({ code: "UNSUPPORTED", message: expect.stringContaining("store format 1, which has no history: start the controller on it once") as string });
    }
    expect((await readdir(dir)).sort()).toEqual(["format", "store"]); // no witness
    const store = await openStore("level:", { dataDir: dir });
    const { revision } = store;
    await store.close();
    expect(await checkStore(dir)).toMatchObject({ generation: revision, oldest: revision + 1 });
  }));

test("export and import give the same rows and generation", () =>
  withDir(async (dir) => {
    const [dataDir, copy] = [join(dir, "data"), join(dir, "deep", "copy")];
    await make(dataDir);
    const text = await exported(dataDir);
    expect(text.split("\n").map((line) => Object.keys(line === "" ? {} : (JSON.parse(line) as object)).join())).toEqual(
      ["axion_export,generation,at", "key,created,modified,value", "key,created,modified,value", "key,created,modified,base64", "key,created,modified,value", "rows,sha256", ""]);
    expect(await importStore(copy, lines(text))).toEqual({ generation: 5, rows: 4 });
    expect(await rowsOf(copy)).toEqual(await rowsOf(dataDir));
    expect(await checkStore(copy)).toMatchObject({ generation: 5, oldest: 6, rows: 4 });
    expect(await keepFirstEdition(copy)).toBeUndefined();
    await expect(importStore(copy, lines(text))).rejects.toMatchObject({ code: "IO", message: expect.stringContaining("is not empty") as string });
    expect(await checkStore(copy)).toMatchObject({ generation: 5, rows: 4 });
  }));

test("what is no export, or was changed or cut, is refused by its line, and nothing is left", () =>
  withDir(async (dir) => {
    const dataDir = join(dir, "data");
    await make(dataDir);
    const text = await exported(dataDir);
    const all = text.split("\n").slice(0, -1);
    const without = (line: number): string => [...all.slice(0, line), ...all.slice(line + 1), ""].join("\n");
    const cases: readonly (readonly [string, RegExp])[] = [
      ["", /line 1 .*without its last line/],
      ["{}\n", /line 1 .*no export of a store/],
      ["hello\n", /line 1 .*no JSON object/],
      [text.replace('"axion_export":1', '"axion_export":9'), /line 1 .*version 9/],
      [without(5), /line 6 .*was cut/],
      [without(1), /line 5 .*4 rows were written, 3 are there/],
      [text.replace("b2", "b3"), /line 6 .*checksum/],
      [text.replace('"modified":4', '"modified":6'), /line \d .*generations/],
      [[all[0], all[2], all[1], ""].join("\n"), /line 3 .*in order/],
      [`${text}{}\n`, /line 6 .*follow/],
    ];
    const empty = join(dir, "empty");
    await mkdir(empty);
    for (const [bad, message] of cases) {
      for (const target of [empty, join(dir, "new")]) await expect(importStore(target, lines(bad)), message.source).rejects.toMatchObject({ code: "INVALID", message: expect.stringMatching(message) as string });
      expect([await readdir(empty), (await readdir(dir)).sort()]).toEqual([[], ["data", "empty"]]);
    }
    await importStore(empty, lines(text));
    expect(await rowsOf(empty)).toEqual(await rowsOf(dataDir));
  }));

test("restore: rows are what they were, as a change that can be taken back; what the controller notes stays", () =>
  withDir(async (dataDir) => {
    await make(dataDir);
    const values = async (): Promise<Record<string, string>> => {
      const store = await openStore("level:", { dataDir });
      const rows = Object.fromEntries((await list(store)).map(({ key, value }) => [key, value.toString("latin1")]));
      await store.close();
      return rows;
    };
    const now = await values();
    expect(await restoreStore(dataDir, 2)).toEqual({ restored: 2, generation: 6, rows: 4 });
    expect(await values()).toEqual({ format: "2b", "t/thing/a": "a1", "t/thing/b": "b1" });
    expect(await restoreStore(dataDir, 2)).toEqual({ restored: 2, generation: 6, rows: 0 });
    expect(await restoreStore(dataDir, 5)).toEqual({ restored: 5, generation: 7, rows: 4 });
    expect(await values()).toEqual(now);
    await expect(restoreStore(dataDir, 9)).rejects.toMatchObject({ code: "INVALID" });
    expect(await restoreStore(dataDir, 0)).toMatchObject({ generation: 8, rows: 3 });
    expect(await values()).toEqual({ format: "2b" });
    const store = await openStore("level:", { dataDir });
    const notes: unknown[] = [];
    for await (const { note } of store.history(6)) notes.push((JSON.parse(note) as { call: string }).call);
    expect(notes).toEqual(["axion store restore 2", "axion store restore 5", "axion store restore 0"]);
    await store.close();
  }));

test("restore: more bytes than one commit is to have are written in several", () =>
  withDir(async (dataDir) => {
    await keepFirstEdition(dataDir);
    const store = await openStore("level:", { dataDir });
    const keys = Array.from({ length: 18 }, (_, i) => `t/thing/${i + 10}`);
    await store.txn([], keys.map((key) => put(key, "x".repeat(1000))));
    await store.txn([], keys.map((key) => ({ delete: key })));
    await store.close();
    expect(await restoreStore(dataDir, 1, 5000)).toEqual({ restored: 1, generation: 7, rows: 18 }); // four rows each, and two
    expect(await restoreStore(dataDir, 1, 5000)).toEqual({ restored: 1, generation: 7, rows: 0 });
    expect((await rowsOf(dataDir)).length).toBe(18);
    expect(await restoreStore(dataDir, 2)).toEqual({ restored: 2, generation: 8, rows: 18 });
  }));

test("compact: history beyond what is kept goes, and its room; then a restore to it is refused with the oldest that is kept", () =>
  withDir(async (dataDir) => {
    await keepFirstEdition(dataDir);
    const store = await openStore("level:", { dataDir });
    for (let i = 0; i < 1000; i++) await store.append(i, [{ ops: [put("t/thing/a", `${i}`.repeat(500))], at: 0 }]);
    await store.close();
    const { before, bytes, oldest } = await compactStore(dataDir, { ms: 1000, bytes: 1e9 });
    expect(oldest).toBeGreaterThan(500);
    expect(bytes).toBeLessThan(before / 2);
    await expect(restoreStore(dataDir, 10)).rejects.toMatchObject({ code: "COMPACTED", message: `generation 11 is no longer kept, the oldest is ${oldest}` });
    expect(await checkStore(dataDir)).toMatchObject({ generation: 1000, rows: 1 });
    expect(await readFile(join(dataDir, "format"), "utf8")).toBe("2\n");
    await writeFile(join(dataDir, "format"), "3\n");
    await expect(checkStore(dataDir)).rejects.toMatchObject({ code: "UNSUPPORTED" });
  }));
