import { expect, test } from "vitest";
import { Remembered } from "./remembered.ts";

const ids = (of: Remembered<{ id: string; project_id: string }>): string[] => Array.from(of.values(), ({ id }) => id);
const room = { count: { all: 4, project: 4 }, weight: { all: 20, project: 10 } };

test("the longest not looked at goes where there are too many", () => {
  const kept = new Remembered(room);
  for (const id of ["a", "b", "c", "d"]) kept.put({ id, project_id: id }, 0);
  kept.put({ id: "a", project_id: "a" }, 0);
  kept.put({ id: "e", project_id: "e" }, 0);
  expect(ids(kept)).toEqual(["c", "d", "a", "e"]);
});

test("a project that has too much gives of its own, the last included; others keep theirs", () => {
  const kept = new Remembered(room);
  kept.put({ id: "other", project_id: "q" }, 8);
  kept.put({ id: "one", project_id: "p" }, 6);
  kept.put({ id: "two", project_id: "p" }, 5);
  expect(ids(kept)).toEqual(["other", "two"]);
  kept.put({ id: "two", project_id: "p" }, 11);
  expect(ids(kept)).toEqual(["other"]);
  kept.put({ id: "two", project_id: "p" }, 10);
  expect(ids(kept)).toEqual(["other", "two"]);
});

test("where all have too much the first go, whoever's", () => {
  const kept = new Remembered(room);
  for (const id of ["a", "b", "c"]) kept.put({ id, project_id: id }, 8);
  expect(ids(kept)).toEqual(["b", "c"]);
  kept.delete("b");
  kept.put({ id: "d", project_id: "d" }, 10);
  expect(ids(kept)).toEqual(["c", "d"]);
});

test("a project has no more than its part, whatever room is left, and others keep theirs", () => {
  const kept = new Remembered({ ...room, count: { all: 4, project: 2 } });
  kept.put({ id: "other", project_id: "q" }, 0);
  for (const id of ["a", "b", "c", "d"]) kept.put({ id, project_id: "p" }, 0);
  expect(ids(kept)).toEqual(["other", "c", "d"]);
  expect([kept.countOf("p"), kept.countOf("q")]).toEqual([2, 1]);
  for (const id of ["c", "d", "other"]) kept.delete(id);
  expect([kept.size, kept.countOf("p")]).toEqual([0, 0]);
});
