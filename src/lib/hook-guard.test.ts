// Hooks that fail: each costs its call, and the log is not flooded.
import { expect, test } from "vitest";
import { hookGuard } from "./hook-guard.ts";

function recorder(): { lines: Record<string, unknown>[]; log: Parameters<typeof hookGuard>[0] } {
  const lines: Record<string, unknown>[] = [];
  return { lines, log: { error: (fields: unknown) => void lines.push(fields as Record<string, unknown>) } as never };
}

test("a value, a throw, a rejection", async () => {
  const { lines, log } = recorder();
  const guard = hookGuard(log);
  const oh = (): never => {
    throw new Error("oh no");
  };
  expect(guard({ app: "a", hook: "vif.serves" }, {}, () => true, false)).toBe(true);
  expect(guard({ app: "a", hook: "vif.serves" }, { vif: "v" }, oh, false)).toBe(false);
  void guard({ app: "b", hook: "vif.plugged" }, {}, async () => Promise.reject(new Error("later")), undefined);
  await new Promise((resolve) => setImmediate(resolve));
  expect(lines.map(({ app, hook, vif, err }) => [app, hook, vif, (err as Error).message])).toEqual([["a", "vif.serves", "v", "oh no"], ["b", "vif.plugged", undefined, "later"]]);
});

test("one that always fails is logged now and then, with its count", () => {
  const { lines, log } = recorder();
  let now = 0;
  const guard = hookGuard(log, () => now);
  for (; now < 25_000; now += 100) {
    guard({ app: "a", hook: "packetIn" }, {}, () => {
      throw new Error("oh no");
    }, undefined);
  }
  expect(lines.map(({ unlogged }) => unlogged)).toEqual([undefined, 99, 99]);
});
