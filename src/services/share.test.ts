import { describe, expect, it } from "vitest";
import { Share } from "./share.ts";

const keys = Array.from({ length: 3000 }, (_, i) => `hv${i}`);
const ownerOf = (live: readonly string[], key: string): string[] => live.filter((self) => new Share(self, () => live).acts(key));

describe("of several controllers", () => {
  it("exactly one acts for each key, and each has its part", () => {
    const live = ["a", "b", "c"];
    const parts = new Map<string, number>();
    for (const key of keys) {
      const owners = ownerOf(live, key);
      expect(owners).toHaveLength(1);
      parts.set(owners[0]!, (parts.get(owners[0]!) ?? 0) + 1);
    }
    for (const id of live) expect(parts.get(id)).toBeGreaterThan(850);
  });

  it("what one had when it goes is shared by the others, and nothing else moves", () => {
    const live = ["a", "b", "c", "d"];
    const left = ["a", "b", "d"];
    const heirs = new Set<string>();
    for (const key of keys) {
      const [before] = ownerOf(live, key);
      const [after] = ownerOf(left, key);
      if (before !== "c") expect(after).toBe(before);
      else heirs.add(after!);
    }
    expect([...heirs].sort()).toEqual(left);
  });

  it("order does not matter, and who is not known to live acts for nothing", () => {
    for (const key of keys.slice(0, 200)) expect(ownerOf(["c", "a", "b"], key)).toEqual(ownerOf(["a", "b", "c"], key));
    const lost = new Share("a", () => ["b"]);
    expect(keys.some((key) => lost.acts(key) || lost.masters(key))).toBe(false);
  });

  it("alone it acts for all", () => {
    const alone = new Share("self", () => ["self"]);
    expect(keys.every((key) => alone.acts(key) && alone.masters(key))).toBe(true);
  });
});
