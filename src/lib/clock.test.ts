import { describe, expect, it } from "vitest";
import { machineClock, SimulatedClock } from "./clock.ts";
import { machineRandom, SeededRandom, type Random } from "./random.ts";

describe("simulated time", () => {
  it("passes only when told to, and runs what falls due in order of time, then of setting", () => {
    const clock = new SimulatedClock(1000);
    const ran: string[] = [];
    clock.setTimeout(() => ran.push(`c at ${clock.now()}`), 20);
    clock.setTimeout(() => ran.push(`a at ${clock.now()}`), 10);
    clock.setTimeout(() => ran.push(`b at ${clock.now()}`), 10);
    const cancel = clock.setTimeout(() => ran.push("never"), 15);
    cancel();
    clock.advance(9);
    expect([ran, clock.now(), clock.monotonic()]).toEqual([[], 1009, 9]);
    clock.advance(100);
    expect([ran, clock.now(), clock.pending]).toEqual([["a at 1010", "b at 1010", "c at 1020"], 1109, 0]);
  });

  it("runs intervals until they are cancelled, and what a timer sets within the time that passes", () => {
    const clock = new SimulatedClock(0);
    const ran: number[] = [];
    const cancel = clock.setInterval(() => ran.push(clock.now()), 10);
    clock.setTimeout(() => clock.setTimeout(() => cancel(), 10), 25);
    clock.advance(1000);
    expect(ran).toEqual([10, 20, 30]);
    expect(clock.pending).toBe(0);
  });

  it("an interval of nothing does not stop the world", () => {
    const clock = new SimulatedClock(0);
    let n = 0;
    clock.setInterval(() => n++, 0);
    clock.advance(5);
    expect(n).toBe(5);
  });

  it("lets promises go on between timers", async () => {
    const clock = new SimulatedClock(0);
    const ran: string[] = [];
    clock.setTimeout(() => void Promise.resolve().then(() => ran.push("promise")), 1);
    clock.setTimeout(() => ran.push("timer"), 2);
    await clock.run(10);
    expect(ran).toEqual(["promise", "timer"]);
  });
});

describe("the machine's time", () => {
  it("goes on by itself", async () => {
    const [now, monotonic] = [machineClock.now(), machineClock.monotonic()];
    expect(Math.abs(now - Date.now())).toBeLessThan(1000);
    let beats = 0;
    await new Promise<void>((done) => {
      const stop = machineClock.setInterval(() => {
        if (++beats < 3) return;
        stop();
        done();
      }, 5);
      // Timers of this clock do not keep a process alive; here something has to.
      setTimeout(() => undefined, 200);
    });
    expect(machineClock.monotonic() - monotonic).toBeGreaterThan(9);
  });

  it("waits for more than a timer of Node can", async () => {
    let ran = false;
    const cancel = machineClock.setTimeout(() => (ran = true), 2 ** 40);
    await new Promise((done) => setTimeout(done, 20));
    cancel();
    expect(ran).toBe(false);
  });
});

describe.each<[string, () => Random]>([["real", () => machineRandom], ["seeded", () => new SeededRandom(7)]])("%s chance", (_, make) => {
  it("gives numbers below one, bytes and UUIDs", () => {
    const random = make();
    const numbers = Array.from({ length: 10_000 }, () => random.next());
    expect(numbers.every((n) => n >= 0 && n < 1)).toBe(true);
    const tenths = Array.from({ length: 10 }, (_x, i) => numbers.filter((n) => Math.floor(n * 10) === i).length);
    expect(Math.min(...tenths)).toBeGreaterThan(800);
    expect(Math.max(...tenths)).toBeLessThan(1200);
    expect(random.bytes(33)).toHaveLength(33);
    expect(new Set(Array.from({ length: 1000 }, () => random.uuid())).size).toBe(1000);
    expect(random.uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  });
});

describe("a seed", () => {
  const some = (seed: number): unknown[] => {
    const random = new SeededRandom(seed);
    return [random.next(), random.uuid(), random.bytes(4).toString("hex"), random.next()];
  };
  it("gives the same again, another seed another", () => {
    expect(some(42)).toEqual(some(42));
    expect(some(43)).not.toEqual(some(42));
    expect(some(42 + 2 ** 40)).not.toEqual(some(42));
  });
});
