// Terms that are raised above what a switch knows, on a real etcd: by whom, how far, and where not.
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdClient } from "etcd-v3-client";
import { haveEtcd } from "etcd-v3-client/testing";
import { pino } from "pino";
import { afterAll, describe, expect, onTestFinished, test } from "vitest";
import { machineClock, type Clock } from "../lib/clock.ts";
import { machineRandom } from "../lib/random.ts";
import { openStore } from "../store/open.ts";
import { etcdUrl, stopEtcd } from "../store/testing/backends.ts";
import { Cluster } from "./cluster.ts";
import { Floor } from "./floor.ts";
import { ClusterKeys } from "./keys.ts";

const log = pino({ level: "silent" });
afterAll(stopEtcd);

/** What the hour is may be set forth by the test. */
const ahead = { ms: 0 };
const clock: Clock = { ...machineClock, now: () => machineClock.now() + ahead.ms };

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}

describe.skipIf(!haveEtcd)("terms", () => {
  test("are raised for all above what nobody of them can have had, and for nothing else", { timeout: 60_000 }, async () => {
    const url = await etcdUrl();
    const store = await openStore(url, { dataDir: "unused" });
    onTestFinished(() => store.close());
    const join = async (name: string): Promise<Cluster> => {
      const cluster = await Cluster.join({ url, etcd: {}, name, version: "1", apps: ["l2"], log, clock, random: machineRandom });
      onTestFinished(() => cluster.leave());
      await cluster.say({ state: "serving" });
      return cluster;
    };
    const [a, b] = [await join("a"), await join("b")];
    await eventually("both", () => a.serving === 2 && b.serving === 2);
    let heard = 0;
    b.onChange(() => heard++);
    // What a member may have had by now, of etcd's revision, is none of another past.
    const before = a.term;
    await a.outrun("hv1", BigInt(before));
    expect([a.term, b.term]).toEqual([before, b.term]);
    for (const known of [2n ** 64n - 2n, 2n ** 52n + 1n, BigInt(before) + 2n ** 36n + 1000n]) await a.outrun("hv1", known);
    expect(a.term).toBeLessThan(before + 1000);
    expect(heard).toBe(0);
    const later = BigInt(before) + 5000n;
    // Two switches at once, one of them a little later.
    await Promise.all([a.outrun("hv1", later), a.outrun("hv2", later + 10n)]);
    expect(BigInt(a.term)).toBeGreaterThan(later + 10n);
    await eventually("the other one's", () => b.term > later && heard > 0);
    const raised = a.term;
    // Eight times at once, whoever says so, then once an hour: a hostile host does not use up what terms there are.
    for (let n = 0; n < 12; n++) await (n % 2 ? a : b).outrun("hv3", BigInt(a.term) + 2n ** 35n);
    expect(a.term).toBeGreaterThan(raised + 7 * 2 ** 35);
    expect(a.term).toBeLessThan(raised + 8 * 2 ** 35);
    ahead.ms += 3_601_000;
    for (let n = 0; n < 2; n++) await a.outrun("hv3", BigInt(a.term) + 2n ** 35n);
    expect(a.term).toBeGreaterThan(raised + 8 * 2 ** 35);
    expect(a.term).toBeLessThan(raised + 9 * 2 ** 35);
    const high = a.term;
    // A key beside it is nobody's, and hides nothing.
    const client = new EtcdClient({ endpoints: url.replace("etcd://", "").split("/")[0]!.split(",") });
    onTestFinished(() => client.close());
    await client.put({ key: `${url.split("/").at(-1)!}/up/term/zz`, value: "{}" });
    // Whoever comes later goes by the same.
    const c = await join("c");
    await eventually("of all", () => c.term >= high && b.term >= high);
    // Deleted by mistake, it is written again by those that know it.
    const key = `${url.split("/").at(-1)!}/up/term/floor`;
    await client.deleteRange({ key });
    for (let end = Date.now() + 10_000; (await client.range({ key })).kvs.length === 0; ) {
      if (Date.now() > end) throw new Error("nobody wrote it again");
      await sleep(50);
    }
    const d = await join("d");
    await eventually("of who knew nothing of it", () => d.term >= high);
  });

  test("one of two that raise at once is first; what is deleted, or cannot be read, stays in force where it is known", async () => {
    const [address, prefix] = (await etcdUrl()).replace("etcd://", "").split("/test-") as [string, string];
    const client = new EtcdClient({ endpoints: address.split(",") });
    onTestFinished(() => client.close());
    const { floor: key } = new ClusterKeys(`test-${prefix}`);
    const [one, two] = [new Floor(client, key), new Floor(client, key)];
    const by = { at: 1, chassis: "hv1" };
    const learn = async (of: Floor): Promise<boolean> => of.learn((await client.range({ key })).kvs[0]);
    expect(await Promise.all([one.raise(10, by, 1000), two.raise(20, by, 1000)])).toContain(true);
    const [first] = (await client.range({ key })).kvs;
    expect([await learn(one), await learn(two), one.value]).toEqual([true, true, two.value]);
    expect((await client.range({ key })).kvs[0]!.mod_revision).toBe(first!.mod_revision);
    expect([await two.raise(30, by, 1000), await one.raise(40, by, 1000)]).toEqual([true, false]);
    await learn(one);
    expect(one.value).toBe(30);
    for (const text of ["", "null", "{", '{"floor":1e300}', '{"floor":9007199254740991}', '{"floor":"40"}', '{"floor":7}']) {
      await client.put({ key, value: text });
      expect([await learn(one), one.value]).toEqual([false, 30]);
    }
    await client.deleteRange({ key });
    expect([await learn(one), one.value, await one.raise(50, by, 1000)]).toEqual([false, 30, true]);
  });
});
