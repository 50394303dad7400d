// Who writes when: models on one log that several share, as over a network, by a clock of the test. Counted is what comes second and is decided anew.
import { describe, expect, test } from "vitest";
import { defineTable, type Row } from "#app";
import { SimulatedClock } from "../lib/clock.ts";
import { SeededRandom } from "../lib/random.ts";
import { CommitStore } from "../store/commit.ts";
import { SharedLog } from "../store/testing/shared-log.ts";
import { Model } from "./model.ts";

interface Item extends Row {
  readonly n: number;
}
const items = defineTable<Item>()("item", { resource: "item" });
const cause = { requestId: "r", call: "POST /items" };
const CLIENTS = 8;

/** Models whose clients ask for the next as soon as they are answered. */
class House {
  readonly clock = new SimulatedClock();
  readonly random = new SeededRandom(7);
  readonly log = new SharedLog(this.clock, this.random, { delay: 4, lost: 0, unanswered: 0, jump: 0 });
  readonly models: Model[] = [];
  /** Of each model. */
  readonly made: number[] = [];
  /** How often what is asked for was decided. */
  decided = 0;
  private readonly going = new Set<number>();

  static async of(count: number): Promise<House> {
    const house = new House();
    for (let i = 0; i < count; i++) {
      house.models.push(await Model.open(new CommitStore(house.log.open()), [items], { clock: house.clock, random: house.random }));
      house.made.push(0);
    }
    return house;
  }

  write(i: number): Promise<unknown> {
    return this.models[i]!.transact(cause, (tx) => {
      this.decided++;
      tx.put(items, { id: tx.uuid(), n: i });
    }).then(() => this.made[i]!++);
  }

  begin(i: number, clients: number): void {
    this.going.add(i);
    for (let client = 0; client < clients; client++) {
      void (async () => {
        while (this.going.has(i)) await this.write(i);
      })();
    }
  }

  end(i: number): void {
    this.going.delete(i);
  }

  get lost(): number {
    return this.models.reduce((sum, model) => sum + model.lostRaces, 0);
  }

  async run(ms: number): Promise<{ readonly made: readonly number[]; readonly all: number; readonly lost: number; readonly appends: number; readonly decided: number }> {
    const before = { made: [...this.made], lost: this.lost, appends: this.log.entries.length, decided: this.decided };
    for (let passed = 0; passed < ms; passed++) {
      // What follows from what was just told is done in turns of its own.
      for (let turn = 0; turn < 3; turn++) await new Promise((done) => setImmediate(done));
      await this.clock.run(1);
    }
    const made = this.made.map((n, i) => n - before.made[i]!);
    return { made, all: made.reduce((sum, n) => sum + n, 0), lost: this.lost - before.lost, appends: this.log.entries.length - before.appends, decided: this.decided - before.decided };
  }
}

describe("of several who write to one log", () => {
  test.each([2, 3, 5])("%d who write without end come in turns: little is decided twice, each has his share, an append has what all his clients ask for", async (count) => {
    const house = await House.of(count);
    for (let i = 0; i < count; i++) house.begin(i, CLIENTS);
    await house.run(300);
    const { made, all, lost, appends, decided } = await house.run(1200);
    const told = JSON.stringify({ made, lost, appends, decided });
    expect(appends, told).toBeGreaterThan(50);
    expect(all / appends, told).toBeGreaterThan(0.9 * CLIENTS);
    expect(lost / appends, told).toBeLessThan(0.2);
    expect(decided / all, told).toBeLessThan(1.2);
    expect(Math.min(...made) / (all / count), told).toBeGreaterThan(0.9);
  });

  test("who has stopped is waited for a few times, and who writes alone then waits for nobody", async () => {
    const house = await House.of(3);
    house.begin(0, CLIENTS);
    const alone = await house.run(400);
    expect(alone.appends).toBeGreaterThan(20);
    for (const i of [1, 2]) house.begin(i, CLIENTS);
    await house.run(300);
    for (const i of [1, 2]) house.end(i);
    await house.run(300);
    const again = await house.run(400);
    expect(again.made.slice(1)).toEqual([0, 0]);
    expect(again.appends, JSON.stringify(again)).toBeGreaterThan(0.8 * alone.appends);
    expect(again.lost).toBe(0);
  });

  test("one of another now and then costs the one who writes little", async () => {
    const house = await House.of(2);
    house.begin(0, CLIENTS);
    const alone = await house.run(400);
    for (let n = 0; n < 4; n++) {
      const one = house.write(1);
      await house.run(200);
      await one;
    }
    const beside = await house.run(0);
    expect(beside.lost).toBe(0);
    expect(house.made[0]! - alone.all, `${alone.all} alone`).toBeGreaterThan(0.6 * 2 * alone.all);
    expect(house.made[1]).toBe(4);
  });
});
