// The past against the truth: the flows of an instant, worked out later, are those that were desired then.
import fc from "fast-check";
import { expect, test } from "vitest";
import { SeededRandom } from "../../src/lib/random.ts";
import { lineOf } from "../../src/ops/flows/flow-dump.ts";
import { flowLine, type FlowRecord } from "../../src/ops/flows/flows.ts";
import type { PastLimits } from "../../src/ops/flows/past.ts";
import { compare } from "../support/from-scratch.ts";
import { Harness } from "../support/harness.ts";
import { History, step } from "./history.ts";

const HOSTS = ["hv0", "hv1", "hv2", "hv3"];
const nightly = process.env.AXION_NIGHTLY === "1";
const CHANGES = nightly ? 10_000 : 120;
const INSTANTS = nightly ? 60 : 8;

test("flows of past instants are what was desired then, and looking leaves nothing behind", { timeout: 3_600_000 }, async () => {
  const h = await Harness.make();
  try {
    const history = new History(h);
    const random = new SeededRandom(12);
    for (const n of [0, 1, 2]) await history.run({ do: "chassis", n });
    for (const n of [0, 1, 2]) {
      await history.run({ do: "network", n });
      await history.run({ do: "subnet", n, m: 0 });
      for (const m of [1, 1, 1]) await history.run({ do: "port", n, m });
      await history.run({ do: "group", n });
      await history.run({ do: "router", n });
      await history.run({ do: "interface", n, m: n });
    }
    for (const n of [0, 1, 2, 3, 4]) await history.run({ do: "plug", n, m: n });
    const first = h.model.generation;
    const told = new Map<number, Record<string, string[]>>();
    const desired = (engine = h.engine): Record<string, string[]> => Object.fromEntries(HOSTS.map((id) => [id, [...engine.flowsOf(id)].map(lineOf).sort()]));
    for (const [i, s] of fc.sample(step, { numRuns: CHANGES, seed: 12 }).entries()) {
      await history.run(s);
      if (i % Math.floor(CHANGES / INSTANTS) !== 0) continue;
      await h.settled();
      told.set(h.model.generation, desired());
    }
    await h.settled();
    const now = desired();
    const { flows, history: past, dump } = h.past();
    const large = h.past({ copied: 0 }).flows;
    let slowest = 0;
    const records = async (generation: number, of = flows): Promise<readonly FlowRecord[]> => {
      const began = process.cpuUsage();
      const answer = await of.dump({ generation }, { stats: false }, "json");
      const { user, system } = process.cpuUsage(began);
      slowest = Math.max(slowest, (user + system) / 1000);
      expect(answer.generation).toBe(generation);
      return (JSON.parse(Buffer.concat(answer.parts).toString()) as { flows: FlowRecord[] }).flows;
    };
    const ask = async (generation: number, of = flows): Promise<string[]> => (await records(generation, of)).map((flow) => `${flow.switch} ${flowLine(flow)}`).sort();
    for (const [generation, then] of [...told].sort(() => random.next() - 0.5)) {
      expect(await ask(generation), `generation ${generation}`).toEqual(Object.entries(then).flatMap(([id, lines]) => lines.map((line) => `${id} ${line}`)).sort());
    }
    // With all that is told of them: of the newest, as of today.
    const today: FlowRecord[] = [];
    for await (const flow of dump.flows({ stats: false, raw: true })) today.push(flow);
    const byText = (flows: readonly FlowRecord[]): string[] => flows.map((flow) => JSON.stringify(flow)).sort();
    expect(today.length).toBe(Object.values(now).flat().length);
    expect(byText(await records(h.model.generation))).toEqual(byText(today));
    // As it is done in a large house, on the copy on which plans are tried; and what reads it by itself, there or on the engine that everybody has.
    const at = (limits: Partial<PastLimits>, generation: number): Promise<readonly [boolean, Record<string, string[]>]> =>
      h.past(limits).flows.during({ generation }, function* (_, state) {
        if (state !== undefined) yield;
        return [state === undefined, desired(state?.engine)] as const;
      });
    for (const generation of [...told.keys()].filter((_, i) => i % 3 === 0)) {
      expect(await ask(generation, large)).toEqual(await ask(generation));
      expect(await at({ rows: Infinity, runs: Infinity }, generation)).toEqual([true, told.get(generation)]);
      expect(await at({ rows: -1 }, generation)).toEqual([false, told.get(generation)]);
      // Nothing may follow: at once only where nothing does.
      expect(await at({ rows: Infinity, runs: 0 }, generation)).toEqual([generation === h.model.generation, told.get(generation)]);
    }
    expect(desired()).toEqual(now);
    compare(h);
    // What is committed while it is worked out does not show.
    const [middle] = [...told.keys()].slice(told.size >> 1);
    const whole = await ask(middle!);
    const answers = [ask(middle!), ask(middle!)];
    for (const s of fc.sample(step, { numRuns: 15, seed: 13 })) await history.run(s);
    for (const answer of await Promise.all(answers)) expect(answer).toEqual(whole);
    await h.settled();
    compare(h);
    // The difference of two instants, of one switch.
    const [a, b] = [[...told.keys()][1]!, [...told.keys()].at(-2)!];
    const { add, change, remove } = await flows.difference(a, b, "hv0");
    const [was, is] = [new Set(told.get(a)!.hv0), new Set(told.get(b)!.hv0)];
    expect([...add, ...change].sort()).toEqual([...is].filter((line) => !was.has(line)).sort());
    expect(remove.every((line) => was.has(line) && !is.has(line))).toBe(true);
    expect(change.length + remove.length).toBe([...was].filter((line) => !is.has(line)).length);
    await expect(flows.dump({ generation: h.model.generation + 1 }, { stats: false }, "json")).rejects.toThrow("at: generation");
    await expect(flows.dump({ generation: first }, { stats: false, switch: "hv9" }, "json")).rejects.toThrow("switch: there was no switch 'hv9' then");
    expect(past.range.oldest).toBe(1);
    if (nightly) console.info(`${h.model.generation} generations, ${Object.values(now).flat().length} flows; the slowest answer took ${Math.round(slowest)} ms of CPU`);
  } finally {
    await h.close();
  }
});
