import { describe, expect, it } from "vitest";
import { Shares } from "./shares.ts";

function filled(limit: number, ...owners: readonly (readonly [owner: string, count: number])[]): Shares<number> {
  const shares = new Shares<number>(limit);
  for (const [owner, count] of owners) for (let n = 0; n < count; n++) shares.put(`${owner}${n}`, owner, n);
  return shares;
}
const keys = (shares: Shares<number>): string[] => Array.from(shares, ([key]) => key);

describe("shares", () => {
  it("while there is room anybody has as much as he likes", () => {
    const shares = filled(4, ["a", 3]);
    expect([shares.admits("a"), shares.admits("b")]).toEqual([true, true]);
    expect(shares.put("a3", "a", 3)).toBeUndefined();
    expect(keys(shares)).toEqual(["a0", "a1", "a2", "a3"]);
  });

  it("when it is full whoever has most gets no more, and gives to whoever has less, the oldest first, until they are equal", () => {
    const shares = filled(5, ["a", 4], ["b", 1]);
    expect(shares.admits("a")).toBe(false);
    expect(shares.put("b1", "b", 1)).toEqual(["a0", 0]);
    expect(shares.admits("b"), "it would only change who has more").toBe(false);
    expect(shares.put("c0", "c", 0)).toEqual(["a1", 1]);
    expect(keys(shares)).toEqual(["a2", "a3", "b0", "b1", "c0"]);
    expect([shares.size, shares.admits("a"), shares.admits("b"), shares.admits("c")]).toEqual([5, false, false, false]);
  });

  it("what goes makes room", () => {
    const shares = filled(3, ["a", 3]);
    shares.delete("a1");
    shares.delete("a1");
    expect([shares.size, shares.has("a1"), shares.get("a2")]).toEqual([2, false, 2]);
    expect(shares.admits("a")).toBe(true);
    for (const key of ["a0", "a2"]) shares.delete(key);
    expect([shares.size, keys(shares)]).toEqual([0, []]);
    for (const key of ["b0", "b1", "b2"]) shares.put(key, "b", 0);
    expect(shares.admits("a")).toBe(true);
  });

  it("what is pushed is always kept: whoever has most gives of his own", () => {
    const shares = filled(5, ["a", 4], ["b", 1]);
    expect([shares.giver("a"), shares.giver("b"), shares.giver("c")]).toEqual(["a", "a", "a"]);
    expect(shares.push("a4", "a", 4)).toEqual(["a0", 0]);
    expect(shares.push("b1", "b", 1)).toEqual(["a1", 1]);
    expect(shares.push("b2", "b", 2), "it would only change who has more").toEqual(["b0", 0]);
    expect(keys(shares)).toEqual(["a2", "a3", "a4", "b1", "b2"]);
    const ones = filled(2, ["a", 1], ["b", 1]);
    expect(ones.push("c0", "c", 0)).toEqual(["a0", 0]);
    expect([shares.oldest("a"), ones.oldest("a")]).toEqual(["a2", undefined]);
  });

  it("agrees with a count of all, whatever is done", () => {
    const shares = new Shares<number>(16);
    const model: { key: string; owner: string }[] = [];
    let seed = 7;
    const random = (n: number): number => (seed = (seed * 1103515245 + 12345) % 2 ** 31) % n;
    for (let n = 0; n < 3000; n++) {
      const owner = "abcde"[random(5)]!;
      const counts = new Map<string, number>();
      for (const m of model) counts.set(m.owner, (counts.get(m.owner) ?? 0) + 1);
      const most = Math.max(0, ...counts.values());
      const admitted = model.length < 16 || (counts.get(owner) ?? 0) + 1 < most;
      expect(shares.admits(owner)).toBe(admitted);
      if (admitted && random(3) > 0) {
        const gone = shares.put(String(n), owner, n);
        expect(gone === undefined).toBe(model.length < 16);
        if (gone !== undefined) {
          const at = model.findIndex((m) => m.key === gone[0]);
          expect(counts.get(model[at]!.owner)).toBe(most);
          expect(model.findIndex((m) => m.owner === model[at]!.owner), "the oldest of that one").toBe(at);
          model.splice(at, 1);
        }
        model.push({ key: String(n), owner });
      } else if (model.length > 0) {
        const { key } = model.splice(random(model.length), 1)[0]!;
        shares.delete(key);
      }
      expect(keys(shares)).toEqual(model.map((m) => m.key));
    }
  });
});
