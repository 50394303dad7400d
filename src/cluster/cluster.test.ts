// Controllers of a cluster on a real etcd, and hosts that come, as the rest of a controller says.
import { setTimeout as sleep } from "node:timers/promises";
import { EtcdServer, haveEtcd } from "etcd-v3-client/testing";
import { pino } from "pino";
import { expect, onTestFinished, test } from "vitest";
import { machineClock } from "../lib/clock.ts";
import { machineRandom } from "../lib/random.ts";
import { Cluster } from "./cluster.ts";
import { assign } from "./mastership.ts";

const log = pino({ level: "silent" });

async function eventually(what: string, holds: () => boolean): Promise<void> {
  const end = Date.now() + 30_000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`not in time: ${what}`);
    await sleep(20);
  }
}

test.skipIf(!haveEtcd)("when a host comes and no other gets another master, what switches have confirmed is known to all still, and said again", { timeout: 90_000 }, async () => {
  const server = await EtcdServer.start();
  onTestFinished(() => server.stop());
  const hosts = Array.from({ length: 40 }, (_, n) => `hv${n}`);
  let generation = 1;
  const make = async (name: string): Promise<{ readonly cluster: Cluster; readonly came: () => void }> => {
    const cluster = await Cluster.join({ url: `etcd://${server.endpoints[0]!.replace(/^https?:\/\//, "")}/cloud`, etcd: {}, name, version: "1", apps: ["l2"], log, clock: machineClock, random: machineRandom });
    onTestFinished(() => cluster.leave());
    await cluster.say({ state: "serving" });
    const came = cluster.knowing({ hosts: () => [...hosts], generation: () => generation, newest: () => generation });
    cluster.confirming({ chassis: () => hosts, confirmed: () => 5, rows: () => 5, reached: () => 5 })();
    return { cluster, came };
  };
  const [a, b] = [await make("a"), await make("b")];
  const of = (master: string): string[] => hosts.filter((id) => a.cluster.masterOf(id) === master);
  const known = (): boolean => of("a").every((id) => b.cluster.confirmed(id) === 5) && of("b").every((id) => a.cluster.confirmed(id) === 5);
  await eventually("both", () => [a, b].every(({ cluster }) => cluster.serving === 2));
  await eventually("what each has", known);
  const before = new Map(hosts.map((id) => [id, a.cluster.masterOf(id)]));
  const told: string[] = [];
  b.cluster.onConfirmed((master) => told.push(master));
  const terms = [a, b].map(({ cluster }) => cluster.term);
  const stays = (name: string): boolean => [...assign(["a", "b"], [...hosts, name])].every(([id, master]) => id === name || master === before.get(id));
  hosts.push(Array.from({ length: 100 }, (_, n) => `hv${40 + n}`).find(stays)!);
  generation = 2;
  for (const { came } of [a, b]) came();
  await eventually("the host is known to both", () => [a, b].every(({ cluster }, i) => cluster.term > terms[i]!));
  expect(hosts.slice(0, 40).map((id) => a.cluster.masterOf(id))).toEqual([...before.values()]);
  await eventually("what each has, with the host that came", known);
  expect(told.length).toBeGreaterThan(0);
});
