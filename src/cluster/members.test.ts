// Members on a real etcd: who is there, who is master, what a freeze, a kill and a second of the same name come to.
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient, EtcdError } from "etcd-v3-client";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { machineClock, type Cancel, type Clock } from "../lib/clock.ts";
import { Confirmations } from "./confirmations.ts";
import { ClusterKeys } from "./keys.ts";
import { Mastership } from "./mastership.ts";
import { Members } from "./members.ts";

const log = pino({ level: "silent" });
const keys = new ClusterKeys("cloud");
let server: EtcdServer;
let ids = 0;
const open: Members[] = [];

/** Of which some puts fail, or are late, as on a network that loses them. */
class Lossy extends EtcdClient {
  /** What becomes of the next puts. */
  readonly fates: ("lost" | "late")[] = [];
  override async put(...[request, options]: Parameters<EtcdClient["put"]>): ReturnType<EtcdClient["put"]> {
    const fate = this.fates.shift();
    if (fate === "lost") throw new EtcdError("UNAVAILABLE", "lost");
    if (fate === "late") await sleep(300);
    return super.put(request, options);
  }
}

async function member(name: string, clock: Clock = machineClock, client = new EtcdClient({ endpoints: server.endpoints })): Promise<Members> {
  const joined = await Members.join({ client, keys, name, says: { id: `start-${ids++}`, version: "1", since: new Date().toISOString() }, log, clock });
  open.push(joined);
  return joined;
}
async function serving(name: string, clock?: Clock): Promise<Members> {
  const made = await member(name, clock);
  await made.say({ state: "serving" });
  return made;
}
async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}
const all = (members: readonly Members[], names: readonly string[]): boolean => members.every((m) => m.serving.join() === names.join());

/** A clock that can be stopped and set forth, as a process is by SIGSTOP; its timers are the machine's. */
class StoppedClock implements Clock {
  ahead = 0;
  now(): number {
    return machineClock.now();
  }
  monotonic(): number {
    return machineClock.monotonic() + this.ahead;
  }
  setTimeout(fn: () => void, ms: number): Cancel {
    return machineClock.setTimeout(fn, ms);
  }
  setInterval(fn: () => void, ms: number): Cancel {
    return machineClock.setInterval(fn, ms);
  }
}

describe.skipIf(!haveEtcd)("members of a cluster", () => {
  beforeAll(async () => {
    server = await EtcdServer.start();
    const client = new EtcdClient({ endpoints: server.endpoints });
    await server.untilReady(() => client.range({ key: "ready" }));
    client.close();
  }, 90_000);
  afterEach(async () => {
    for (const m of open.splice(0)) await m.leave();
  });
  afterAll(() => server?.stop());

  test("who reads anew what is there, and finds nothing new, tells nobody: of switches that refuse, each would have all others asked again at once", async () => {
    const alone = await serving("a");
    await eventually("itself", () => all([alone], ["a"]));
    await alone.refresh();
    let told = 0;
    const asOfLater: boolean[] = [];
    alone.onChange((later) => {
      told++;
      asOfLater.push(later);
    });
    await alone.refresh();
    await alone.refresh();
    expect(told).toBe(0);
    const client = new EtcdClient({ endpoints: server.endpoints });
    await client.put({ key: "other", value: "1" });
    client.close();
    const { term } = alone;
    await alone.refresh();
    expect([told, alone.term > term]).toEqual([1, true]);
    // Nobody else is the master of anything: hosts are not looked at anew.
    expect(asOfLater).toEqual([true]);
    await alone.say({ api: "192.0.2.1:9696" });
    await eventually("what it says", () => asOfLater.length > 1);
    expect(asOfLater[1]).toBe(false);
  });

  test("all know the same set in the same term; each chassis has one master; who leaves is gone at once, and nothing of it is left", async () => {
    const three = await Promise.all(["a", "b", "c"].map((name) => serving(name)));
    await eventually("all three", () => all(three, ["a", "b", "c"]));
    expect(new Set(three.map((m) => m.term)).size).toBe(1);
    const term = three[0]!.term;
    const masterships = three.map((m) => new Mastership(m));
    for (let n = 0; n < 100; n++) expect(masterships.filter((m) => m.masters(`hv${n}`))).toHaveLength(1);
    await three[2]!.leave();
    await eventually("two", () => all(three.slice(0, 2), ["a", "b"]));
    expect(three[0]!.term).toBe(three[1]!.term);
    expect(three[0]!.term).toBeGreaterThan(term);
    expect([three[2]!.holds, masterships[2]!.masters("hv1")]).toEqual([false, false]);
    await Promise.all(three.map((m) => m.leave()));
    const client = new EtcdClient({ endpoints: server.endpoints });
    expect((await client.range({ key: keys.all.key, range_end: keys.all.rangeEnd })).count).toBe(0);
    client.close();
  }, 60_000);

  test("one that starts, or leaves, is nobody's master", async () => {
    const a = await serving("a");
    const b = await member("b");
    await eventually("both there", () => a.all.length === 2);
    expect(a.serving).toEqual(["a"]);
    await b.say({ state: "serving", ovsdb: "tcp:192.0.2.2:6640" });
    await eventually("both serve", () => all([a, b], ["a", "b"]));
    expect(a.all[1]).toMatchObject({ name: "b", ovsdb: "tcp:192.0.2.2:6640" });
    const { term } = a;
    // What it says beside is no matter of who is whose master.
    await b.say({ api: "192.0.2.2:9696" });
    await eventually("what it says", () => a.all[1]?.api === "192.0.2.2:9696");
    expect(a.term).toBe(term);
    await b.say({ state: "leaving" });
    await eventually("one serves", () => all([a, b], ["a"]));
    expect([...a.gone.keys()]).toEqual([]);
  }, 60_000);

  test("what etcd did not take of what a member says is written with the next renewal, and what it said before does not come after", async () => {
    const a = await serving("a");
    const client = new Lossy({ endpoints: server.endpoints });
    const b = await member("b", machineClock, client);
    client.fates.push("lost", "lost");
    const heard: (string | undefined)[] = [];
    a.onPublished("topic", (_, text) => heard.push(text));
    await expect(b.say({ state: "serving" })).rejects.toThrow("lost");
    await expect(b.publish("topic", "one")).rejects.toThrow("lost");
    await eventually("it serves, and says so", () => all([a, b], ["a", "b"]) && heard.at(-1) === "one");
    client.fates.push("late");
    await Promise.all([b.say({ api: "192.0.2.2:9696" }), b.say({ state: "leaving", api: "192.0.2.3:9696" })]);
    await eventually("the last that it said", () => a.all[1]?.state === "leaving");
    await sleep(500);
    expect(a.all[1]).toMatchObject({ state: "leaving", api: "192.0.2.3:9696" });
  }, 60_000);

  test("a second one of a name is refused, by its name; after the first has gone it comes in", async () => {
    const first = await serving("a");
    await expect(member("a")).rejects.toThrow(/a controller named a is there \(since .*\): give this one another --name/);
    expect(first.holds).toBe(true);
    const next = member("a");
    await first.leave();
    expect((await next).holds).toBe(true);
  }, 60_000);

  test("without etcd nobody acts, before the leases end; with it again all are there again", async () => {
    const two = await Promise.all([serving("a"), serving("b")]);
    await eventually("both", () => all(two, ["a", "b"]));
    for (const away of ["freeze", "kill"] as const) {
      const told: boolean[] = [];
      const undo = two[0].onChange(() => told.push(two[0].holds));
      await server[away](0);
      await eventually("nobody holds", () => two.every((m) => !m.holds));
      await eventually("why", () => two.every((m) => m.trouble !== undefined) && told.includes(false));
      // The last that is known stays: whose switches are whose does not follow from etcd being away.
      expect(all(two, ["a", "b"])).toBe(true);
      if (away === "kill") server.begin(0);
      else server.thaw(0);
      await eventually("both again", () => two.every((m) => m.holds && m.trouble === undefined) && all(two, ["a", "b"]));
      undo();
    }
  }, 120_000);

  test.each(["asked", "answered"] as const)("who comes while etcd chooses a leader, and is not %s, comes in all the same, once", async (lost) => {
    class Choosing extends EtcdClient {
      left = 3;
      override async txn(...of: Parameters<EtcdClient["txn"]>): ReturnType<EtcdClient["txn"]> {
        if (this.left-- <= 0) return super.txn(...of);
        if (lost === "answered") await super.txn(...of);
        throw new EtcdError("TIMEOUT", "lost");
      }
    }
    const client = new Choosing({ endpoints: server.endpoints });
    const a = await member("a", machineClock, client);
    await eventually("it is there", () => a.holds && a.all.length === 1);
    expect(client.left).toBeLessThan(lost === "asked" ? 0 : 3);
  }, 60_000);

  test("one that was stopped does not act when it goes on: its own clock says so before etcd does", async () => {
    const clock = new StoppedClock();
    const [a, b] = [await serving("a", clock), await serving("b")];
    await eventually("both", () => all([a, b], ["a", "b"]));
    const mastership = new Mastership(a);
    const chassis = Array.from({ length: 50 }, (_, n) => `hv${n}`).find((id) => mastership.masters(id))!;
    // As long as nobody asks etcd, nothing but the clock can tell.
    clock.ahead += 1800;
    expect([a.holds, mastership.masters(chassis), mastership.acting.includes("a")]).toEqual([false, false, false]);
    expect(mastership.masterOf(chassis)).toBe("a");
    await eventually("renewed", () => a.holds);
  }, 60_000);

  test("whose key somebody deletes comes in again, in a new term", async () => {
    const [a, b] = [await serving("a"), await serving("b")];
    await eventually("both", () => all([a, b], ["a", "b"]));
    const { term } = b;
    const client = new EtcdClient({ endpoints: server.endpoints });
    await client.deleteRange({ key: keys.of("member", "a") });
    client.close();
    await eventually("gone", () => b.gone.has("a") || b.term > term);
    await eventually("both again", () => all([a, b], ["a", "b"]) && a.holds && b.term > term);
    expect([...b.gone.keys()]).toEqual([]);
  }, 60_000);

  test("what switches have confirmed is known to all from their masters, and of whose master is gone nothing is", async () => {
    const [a, b] = [await serving("a"), await serving("b")];
    await eventually("both", () => all([a, b], ["a", "b"]));
    const hosts = Array.from({ length: 40 }, (_, n) => `hv${n}`);
    const confirmed = new Map(hosts.map((id) => [id, 7]));
    const written = new Map(confirmed);
    let reached = 7;
    const knowing = (members: Members): Mastership => {
      const mastership = new Mastership(members);
      mastership.learn(hosts, 1);
      return mastership;
    };
    const make = (members: Members): Confirmations =>
      new Confirmations({ members, mastership: knowing(members), onChange: (listener) => members.onChange(listener), chassis: () => hosts, confirmed: (id) => confirmed.get(id)!, rows: (id) => written.get(id)!, reached: () => reached, clock: machineClock, log, told: new Set() });
    const [of, other] = [make(a), make(b)];
    const mine = hosts.filter((id) => knowing(a).masterOf(id) === "a");
    expect(mine.length).toBeGreaterThan(1);
    of.changed();
    await eventually("all at 7", () => mine.every((id) => other.of(id) === 7));
    reached = 9;
    for (const id of mine.slice(1)) confirmed.set(id, 9);
    for (const id of mine.slice(0, -1)) written.set(id, 9);
    of.changed();
    await eventually("one behind", () => mine.slice(1).every((id) => other.of(id) === 9) && other.of(mine[0]!) === 7);
    expect([other.rowsOf(mine[0]!), other.rowsOf(mine.at(-1)!)], "and another one with its rows").toEqual([9, 7]);
    // What was told is there for who comes later.
    const late = await serving("c");
    await eventually("three", () => all([a, b, late], ["a", "b", "c"]));
    const third = make(late);
    const still = mine.slice(1).find((id) => knowing(late).masterOf(id) === "a")!;
    await eventually("what its master says of the share that it has now", () => third.of(still) === 9);
    other.changed();
    const theirs = hosts.filter((id) => knowing(late).masterOf(id) === "b");
    await eventually("what the other one says", () => theirs.every((id) => third.of(id) === confirmed.get(id)));
    // What one said counts for the share that it had then: of what it takes over nothing is known until it says so.
    for (const one of [of, other, third]) one.stop();
    await a.leave();
    await eventually("gone", () => all([b, late], ["b", "c"]));
    expect(mine.every((id) => third.of(id) === 0 && third.rowsOf(id) === 0)).toBe(true);
  }, 60_000);
});
