// What is not needed any more is collected in a process that does nothing, and what is needed costs no further collections.
import { constants, PerformanceObserver, type NodeGCPerformanceDetail } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { collectWhatBurstsLeave } from "./collection.ts";

const MIB = 1024 * 1024;

test("memory that was given up is freed by a collection that is asked for once, and what is kept asks for no more", { timeout: 60_000 }, async () => {
  const collection = collectWhatBurstsLeave({ everyMs: 20, moreBytes: 8 * MIB, morePart: 0 });
  let [freed, own] = [0, 0];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if ((entry as unknown as { readonly detail: NodeGCPerformanceDetail }).detail.kind === constants.NODE_PERFORMANCE_GC_MAJOR) own++;
  });
  observer.observe({ entryTypes: ["gc"] });
  const registry = new FinalizationRegistry(() => freed++);
  const make = (n: number): Buffer[] =>
    Array.from({ length: n }, () => {
      const buffer = Buffer.allocUnsafeSlow(MIB);
      registry.register(buffer, undefined);
      return buffer;
    });
  let burst: Buffer[] | undefined = make(24);
  const kept = make(12);
  // As long as it takes until they are old, and are known to be there. In a small heap V8 has collected by itself what so many buffers made.
  while (collection.asked === 0 && own === 0) await sleep(20);
  burst = burst.slice(0, 0);
  const more = make(12);
  while (freed < 24) await sleep(20);
  const { asked } = collection;
  expect(asked).toBeGreaterThan(0);
  await sleep(500);
  expect(collection.asked - asked).toBeLessThanOrEqual(1); // the last one may have come before all was known to be free
  collection.stop();
  observer.disconnect();
  expect([burst.length, kept.length, more.length]).toEqual([0, 12, 12]);
});
