// Work that waits: what it is told of what it asked, how long it may take.
import { OpenFlowError } from "node-openflow";
import { expect, test } from "vitest";
import { SimulatedClock } from "../../lib/clock.ts";
import { Deadline, wait, waited, waitFor, type Asking } from "./asking.ts";

const clock = new SimulatedClock();

function* asking(first: Promise<number>, second: Promise<number>): Asking<number> {
  const a = yield* waitFor("hv1", first);
  return a + (yield* wait(second));
}

test("is told what it asked, and what failed", async () => {
  const deadline = new Deadline(clock, 1000);
  expect(await waited(asking(Promise.resolve(1), Promise.resolve(2)), deadline)).toBe(3);
  await expect(waited(asking(Promise.reject(new OpenFlowError("OF_CLOSED", "gone")), Promise.resolve(2)), deadline)).rejects.toMatchObject({ why: "gone", message: expect.stringContaining("hv1") });
  await expect(waited(asking(Promise.reject(new OpenFlowError("OF_TIMEOUT", "nothing came")), Promise.resolve(2)), deadline)).rejects.toMatchObject({ why: "silent" });
  await expect(waited(asking(Promise.resolve(1), Promise.reject(new RangeError("mine"))), deadline)).rejects.toBeInstanceOf(RangeError);
});

test("ends when its time is over, whatever it waits for", async () => {
  const deadline = new Deadline(clock, 1000);
  const never = new Promise<number>(() => undefined);
  const work = waited(asking(Promise.resolve(1), never), deadline);
  deadline.check();
  await new Promise((resume) => setImmediate(resume));
  clock.advance(1000);
  await expect(work).rejects.toMatchObject({ why: "late" });
  expect(() => deadline.check()).toThrow("1 seconds");
});
