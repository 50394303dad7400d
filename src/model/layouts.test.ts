// Which layouts are kept: a few, the latest first, and never in the way of a start.
import { expect, test } from "vitest";
import { openMemory } from "../store/memory.ts";
import { earlierLayouts } from "./layouts.ts";

test("those before the present one, the latest first, each once; one that is the same again writes nothing", async () => {
  const store = openMemory();
  expect(await earlierLayouts(store, "a")).toEqual([]);
  expect(await earlierLayouts(store, "b")).toEqual(["a"]);
  const { revision } = store;
  expect(await earlierLayouts(store, "b")).toEqual(["a"]);
  expect(store.revision).toBe(revision);
  expect(await earlierLayouts(store, "a")).toEqual(["b"]);
  for (let n = 0; n < 20; n++) await earlierLayouts(store, `n${n}`);
  expect(await earlierLayouts(store, "last")).toEqual(["n19", "n18", "n17", "n16", "n15", "n14", "n13", "n12"]);
});

test("of several controllers that start at once each is kept", async () => {
  const store = openMemory();
  await Promise.all(["a", "b", "c"].map((layout) => earlierLayouts(store, layout)));
  expect((await earlierLayouts(store, "d")).sort()).toEqual(["a", "b", "c"]);
});

test.each(["", "null", "{}", "[1,{}]", "[\"a\""])("a record that says %j is as none", async (text) => {
  const store = openMemory();
  await store.txn([], [{ put: "layouts", value: Buffer.from(text) }]);
  expect(await earlierLayouts(store, "b")).toEqual([]);
  expect(await earlierLayouts(store, "c")).toEqual(["b"]);
});
