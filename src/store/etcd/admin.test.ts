// Commands on a store in etcd, and from one kind of store to the other.
import { haveEtcd } from "etcd-v3-client/testing";
import { afterAll, describe, expect, test } from "vitest";
import { checkStore, compactStore, copyStore, exportStore, importStore, restoreStore, type Place } from "../admin.ts";
import { keepFirstEdition } from "../first-edition.ts";
import { openStore } from "../open.ts";
import { etcdUrl, list, put, stopEtcd, withDir } from "../testing/backends.ts";

afterAll(stopEtcd);

async function exported(place: Place): Promise<string[]> {
  let text = "";
  await exportStore(place, (part) => {
    text += part;
    return Promise.resolve();
  });
  return text.split("\n").slice(1, -2); // without the time, and what follows from it
}
// eslint-disable-next-line @typescript-eslint/require-await -- lines are asked for asynchronously
async function* lines(...texts: string[]): AsyncGenerator<string> {
  yield* texts;
}

describe.skipIf(!haveEtcd)("a store in etcd", () => {
  test("is copied from a directory and to one, with its generations, and goes on from there; what is there already is left alone", () =>
    withDir(async (dir) => {
      await keepFirstEdition(`${dir}/a`); // marks it, as a controller does
      const level = await openStore("level:", { dataDir: `${dir}/a` });
      for (let i = 0; i < 50; i++) await level.txn([], [put(`t/x/${i}`, `${i}`.repeat(i)), put("t/w", `${i}`), { put: "t/y", value: Buffer.from([i, 255, 0]) }]);
      await level.txn([], [{ delete: "t/x/1" }]);
      await level.close();
      const url = await etcdUrl();
      expect(await copyStore(`${dir}/a`, { url })).toEqual({ generation: 51, rows: 51 });
      expect(await exported({ url })).toEqual(await exported(`${dir}/a`));
      await expect(copyStore(`${dir}/a`, { url })).rejects.toMatchObject({ code: "IO", message: expect.stringContaining("is not empty") as string });

      // While it is written to, a copy is of one instant.
      const store = await openStore(url, { dataDir: "" });
      let running = true;
      const writing = (async () => {
        while (running) await store.txn([], [put("t/p", `${store.revision}`), put("t/q", `${store.revision}`)]);
      })();
      while (store.revision < 60) await new Promise((done) => setTimeout(done, 5));
      const { generation } = await copyStore({ url }, `${dir}/b`);
      running = false;
      await writing;
      const copy = await openStore("level:", { dataDir: `${dir}/b` });
      expect(copy.revision).toBe(generation);
      expect([(await copy.get("t/p"))!.value.toString(), (await copy.get("t/q"))!.modRevision]).toEqual([`${generation - 1}`, generation]);
      await copy.close();
      await store.close();
      await expect(copyStore({ url }, `${dir}/b`)).rejects.toMatchObject({ code: "IO" });
    }));

  test("is checked, written out, read in, compacted, and taken back to a generation while a store is open on it", () =>
    withDir(async () => {
      const url = await etcdUrl();
      for (const work of [() => checkStore({ url }), () => exported({ url }), () => restoreStore({ url }, 0), () => compactStore({ url }, { ms: 1, bytes: 1 })]) await expect(work()).rejects.toMatchObject({ code: "MISSING" });
      const store = await openStore(url, { dataDir: "" });
      for (const value of ["1", "2", "3"]) await store.append(store.revision, [{ ops: [put("t/x/a", value), put(`t/x/${value}`)] }]);
      expect(await checkStore({ url })).toMatchObject({ dir: url, generation: 3, oldest: 1, rows: 4 });
      const seen: number[] = [];
      store.watch({ prefix: "" }, (revision) => seen.push(revision), () => undefined);
      expect(await restoreStore({ url }, 1)).toEqual({ restored: 1, generation: 4, rows: 3 });
      while (store.revision < 4) await new Promise((done) => setTimeout(done, 5));
      expect((await list(store)).map(({ key, value }) => `${key}=${value.toString()}`)).toEqual(["t/x/1=", "t/x/a=1"]);
      expect(seen).toEqual([4]);
      const text: string[] = [];
      await exportStore({ url }, (part) => Promise.resolve(void text.push(part)));
      const other = { url: await etcdUrl() };
      expect(await importStore(other, lines(...text.join("").trimEnd().split("\n")))).toEqual({ generation: 4, rows: 2 });
      expect(await exported(other)).toEqual(await exported({ url }));
      const bad = { url: await etcdUrl() };
      await expect(importStore(bad, lines(...text.join("").trimEnd().split("\n").slice(0, -1)))).rejects.toMatchObject({ code: "INVALID" });
      await expect(checkStore(bad)).rejects.toMatchObject({ code: "MISSING" });
      expect((await compactStore({ url }, { ms: Infinity, bytes: Infinity })).oldest).toBe(1);
      await store.close();
    }));
});
