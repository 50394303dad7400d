// Who waits for what another controller wrote: until it is here and compiled, for a while at most, so many at once.
import { expect, onTestFinished, test } from "vitest";
import type { Caller } from "../../app/contract.ts";
import { Reached } from "./reached.ts";

const caller = (projectId: string): Caller => ({ requestId: "r", projectId, userId: "", roles: new Set(["member"]), admin: false });

function controller(limits = { held: 16, ofProject: 2, ms: 20_000 }) {
  const heard = new Set<() => void>();
  const state = { generation: 5, compiled: 5 };
  const reached = new Reached({
    get generation() {
      return state.generation;
    },
    onCommit(listener) {
      const hear = (): void => listener({ generation: state.generation, changes: [] });
      heard.add(hear);
      return () => heard.delete(hear);
    },
  }, () => state.compiled, limits);
  onTestFinished(() => reached.close());
  return { reached, state, commit: () => {
    state.generation++;
    for (const hear of heard) hear();
  } };
}

test("what is there is not waited for; what comes is, until it is compiled", async () => {
  const { reached, state, commit } = controller();
  expect([reached.wanted(undefined, caller("a")), reached.wanted("5", caller("a")), reached.wanted("0", caller("a"))]).toEqual([undefined, undefined, undefined]);
  let there = false;
  const waits = reached.wanted("6", caller("a"))!.then(() => (there = true));
  commit();
  await new Promise((later) => setTimeout(later, 20));
  expect([there, reached.generation, reached.size]).toEqual([false, 5, 1]);
  state.compiled = 6;
  await waits;
  expect([reached.generation, reached.size]).toEqual([6, 0]);
});

test("what does not come is refused with how far it is; what is no generation at once", async () => {
  const { reached } = controller({ held: 16, ofProject: 2, ms: 10 });
  await expect(reached.wanted("9", caller("a"))).rejects.toMatchObject({ status: 503, message: expect.stringContaining("Generation 9 is not known here yet, the newest is 5") as string });
  expect(await reached.until(9, caller("a"))).toBe(false);
  for (const text of ["", "x", "-1", "1.5", "1e3", "1".repeat(16)]) expect(() => reached.wanted(text, caller("a")), text).toThrow("is not a generation");
});

test("a project has its places, and an end answers all", async () => {
  const { reached } = controller();
  const waits = [reached.until(9, caller("a"))!, reached.until(9, caller("a"))!, reached.until(9, caller("b"))!];
  expect(() => reached.until(9, caller("a"))).toThrow("2 requests of the project wait");
  reached.close();
  expect(await Promise.all(waits)).toEqual([false, false, false]);
  expect(reached.size).toBe(0);
});
