// What is read of switches is bounded in all, also what was read and is still used.
import { expect, test } from "vitest";
import { SimulatedClock } from "../../lib/clock.ts";
import { ByteBudget } from "../bounds/byte-budget.ts";
import type { InstalledItem, Session } from "./channel.ts";
import { DumpMemory } from "./dump-memory.ts";
import { withDump, withInstalled } from "./installed.ts";

/** A switch with that many bytes of flows, which never says what else it has until it is closed. */
function session(bytes: number): Pick<Session, "flows" | "items" | "showPorts" | "close"> & { closed: boolean } {
  let end = (): void => undefined;
  const items = new Promise<InstalledItem[]>((_, reject) => (end = () => reject(new Error("closed"))));
  return {
    closed: false,
    flows: ({ holding }) => {
      holding.add(bytes);
      return Promise.resolve([Buffer.alloc(bytes)]);
    },
    items: () => items,
    showPorts: () => undefined,
    close() {
      this.closed = true;
      end();
    },
  };
}
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a switch whose flows are read, and which others need the room of, is closed", async () => {
  const budget = new ByteBudget(100);
  const large = session(80);
  const reading = withInstalled(large, [], new SimulatedClock(), budget, () => Promise.resolve());
  await turn();
  expect(budget.held).toBe(80);
  expect(budget.open(() => undefined).add(30)).toBe(true);
  expect(large.closed).toBe(true);
  await expect(reading).rejects.toThrow("closed");
  expect(budget.held).toBe(30);
});

test("a dump that is being looked at is taken away where others need the room", async () => {
  const budget = new ByteBudget(100);
  let seen: Buffer[] = [];
  const looking = withDump(session(80), [], budget, undefined, (parts) => {
    seen = parts;
    return new Promise<void>(() => undefined);
  });
  const failed = expect(looking).rejects.toMatchObject({ code: "OF_LIMIT" });
  await turn();
  expect(seen).toHaveLength(1);
  expect(budget.open(() => undefined).add(30)).toBe(true);
  await failed;
  expect(seen).toEqual([]);
});

test("parts of a long dump are kept in few blocks, and as they came", () => {
  const memory = new DumpMemory();
  const parts = Array.from({ length: 400 }, (_, n) => Buffer.alloc(50_000 + n, n));
  const kept = parts.map((part) => memory.keep(part));
  expect(kept.every((part, n) => part.equals(parts[n]!))).toBe(true);
  // 20 MB, of which the first parts are kept each for itself.
  expect(new Set(kept.slice(20).map(({ buffer }) => buffer)).size).toBeLessThanOrEqual(4);
  expect(kept[0]).toBe(parts[0]);
});
