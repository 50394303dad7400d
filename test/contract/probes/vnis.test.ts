// Probe: several apps that want VNIs, one that asks before and one that does not. A VNI is one network's, whoever wants it; what cannot
// be had is refused, or named as a problem, and no frame of one network arrives in another.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { poolNumberTable } from "#app";
import { vniOf, vniPool } from "../../../apps/overlay/model.ts";
import { networkTable, segmentTable } from "../../../apps/l2/model.ts";
import { openStore } from "../../../src/store/open.ts";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Net, Resource } from "../../support/cloud.ts";
import type { Cloud } from "../../support/cloud.ts";
import { withDependents, type Harness } from "../../support/harness.ts";
import { nightly } from "../../support/process.ts";
import { expectIncremental, expectQuietRestart, flowTexts, Probes } from "./support.ts";

const probes = new Probes("vni-choice", "vni-wish");
afterAll(() => probes.delete());

describe("numbers", () => {
  let h: Harness;
  let [x, y] = ["", ""];
  beforeEach(async () => {
    h = await probes.harness();
    [x, y] = [(await h.create("network", {})).id, (await h.create("network", {})).id];
    await h.settled();
  });
  afterEach(async () => h.close());

  const vni = (network: string): number | undefined => vniOf(h.view, network);
  const key = (network: string): number => h.view.get(networkTable, network)!.key;
  const problems = (): string[] => Array.from(h.claims.problems(), (p) => p.text);
  const wish = (network_id: string, n: number): Promise<{ id: string }> => h.create("vni_wish", { network_id, vni: n });
  const remove = async (path: string): Promise<void> => {
    expect((await h.call("DELETE", `/v2.0/${path}`)).status).toBe(204);
    await h.settled();
  };

  test("a network has one from the moment it is made, the number of its key; it is free again when the network is gone", async () => {
    expect([vni(x), vni(y)]).toEqual([key(x), key(y)]);
    await remove(`networks/${x}`);
    expect(vni(x)).toBeUndefined();
    expect(h.view.count(poolNumberTable, "part", `${vniPool.name}/`)).toBe(1);
  });

  test("one that another network holds is refused, and nothing is written; the network's own and a free one are not", async () => {
    const before = h.model.generation;
    const refused = await h.call("POST", "/v2.0/vni-choices", { vni_choice: { network_id: x, vni: vni(y) } });
    expect([refused.status, refused.body.NeutronError.type]).toEqual([409, "TunnelIdInUse"]);
    expect(h.model.generation).toBe(before);
    const own = await h.create("vni_choice", { network_id: x, vni: vni(x) });
    await remove(`vni-choices/${own.id}`);
    await h.create("vni_choice", { network_id: x, vni: 5000 });
    expect((await h.call("POST", "/v2.0/vni-choices", { vni_choice: { network_id: y, vni: 5000 } })).status).toBe(409);
    await h.settled();
    expect([vni(x), vni(y)]).toEqual([5000, key(y)]);
  });

  test("who does not ask gets what is free; what is not is named, and had when it is given back", async () => {
    await wish(x, 6000);
    await h.settled();
    expect([vni(x), problems()]).toEqual([6000, []]);
    const late = await wish(y, 6000);
    await h.settled();
    expect(vni(y)).toBe(key(y));
    expect(problems()).toEqual([`vni 6000, which ${y} wants, is held by ${x}`]);
    // It is said on the segment all the same; what the network travels by is what it holds.
    expect(h.view.by(segmentTable, "network", y).map((s) => s.segmentation_id).sort()).toEqual([key(y), 6000].sort());
    await remove(`networks/${x}`);
    await until("the number to be given", () => vni(y) === 6000 && h.engine.generation === h.model.generation);
    expect(problems()).toEqual([]);
    await remove(`vni-wishs/${late.id}`);
    expect(vni(y)).toBe(key(y));
  });

  test("a wish for the number of a network's key: neither gets two, and a new network goes around it", async () => {
    const next = key(y) + 1;
    await wish(x, next);
    await h.settled();
    const z = (await h.create("network", {})).id;
    await h.settled();
    expect(key(z)).toBe(next);
    const all = [x, y, z].map(vni);
    expect(new Set(all).size).toBe(3);
    expect(all).not.toContain(undefined);
    expect(vni(x)).toBe(next);
  });

  test("one out of range, and one of a network that is not there, take nothing else with them", async () => {
    await h.model.transact({ requestId: "t", call: "t" }, (tx) => {
      const row = { ...h.view.get(networkTable, x)!, vni: 2 ** 24 };
      for (const [id, network_id] of [["far", x], ["lost", "nowhere"]]) tx.put(h.apps.find((a) => a.name === "vni-wish")!.tables![0]!, { ...row, id, network_id });
    });
    await h.settled();
    expect(problems()).toEqual([`vni: ${x} wants ${2 ** 24}: ${2 ** 24} is none of vni (1..${2 ** 24 - 1})`]);
    expect(vni(x)).toBe(key(x));
  });

  test("made while the overlay was not there: it has one as soon as the overlay is", async () => {
    await h.addChassis("hv1");
    h = await h.restart(withDependents(h.apps, "overlay"));
    const z = (await h.create("network", {})).id;
    await remove(`networks/${x}`);
    h = await h.restart([]);
    await h.settled();
    expect(vni(z)).toBe(key(z));
    expect(vni(x)).toBeUndefined();
    expect(h.view.count(poolNumberTable, "part", `${vniPool.name}/`)).toBe(2);
  });
});

test("incremental equals from scratch, whatever wishes come and go", async () => {
  await expectIncremental(probes, {
    resource: "vni_wish",
    values: ({ networks }, n, m) => ({ network_id: networks[m % networks.length], vni: 1000 + (n % 3) }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "tunnel_out")).filter((f) => f.startsWith("priority=110,")).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  let cloud: Cloud;
  let nets: [Net, Net];
  /** The same addresses in both networks: a and b in one, c and d in the other; a and c on hv1, b and d on hv2. */
  let [a, b, c, d]: Instance[] = [];
  beforeAll(async () => {
    cloud = await probes.cloud();
    nets = [await cloud.network("10.0.0.0/24", {}, "p1"), await cloud.network("10.0.0.0/24", {}, "p2")];
    const at = async (hv: 1 | 2, net: Net, project: string, last: number): Promise<Instance> => {
      const values = { mac_address: `fa:16:3e:00:00:0${last}`, fixed_ips: [{ subnet_id: net.subnet.id, ip_address: `10.0.0.${last}` }] };
      return cloud.instance(cloud.hv(hv), net, { project, port: { ...values, port_security_enabled: false } });
    };
    [a, b] = [await at(1, nets[0], "p1", 3), await at(2, nets[0], "p1", 4)];
    [c, d] = [await at(1, nets[1], "p2", 3), await at(2, nets[1], "p2", 4)];
    for (const [from, to] of [[a, b], [c, d]] as const) await until("an answer within the network", () => from.vm.reaches(to.ip));
    await cloud.synced();
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  const problems = async (): Promise<string[]> => ((await cloud.controller.ops<{ kind: string; text: string }[]>("GET", "/problems")).body).filter((p) => p.kind === "number").map((p) => p.text);
  /** VNIs that hv2 takes in. */
  const taken = async (): Promise<number[]> => [...(await cloud.hv(2).ofctl("dump-flows", "br-int", "table=0")).matchAll(/tun_id=(0x[0-9a-f]+) actions=conjunction/g)].map((m) => Number(m[1])).sort((l, r) => l - r);

  /** Nothing that the first network's VM sends, to one or to all, comes to the second's, which has the very addresses. */
  async function expectApart(): Promise<void> {
    const capture = await d!.vm.tcpdump("icmp or arp");
    await until("an answer within the first network", () => a!.vm.reaches(b!.ip));
    for (let i = 0; i < 3; i++) await a!.vm.reaches("10.0.0.200", { timeoutMs: 200 }); // asks everybody
    expect((await capture.stop()).lines.filter((line) => line.includes("echo request") || line.includes("who-has 10.0.0.200"))).toEqual([]);
  }

  test("two apps and a network want one VNI: it stays who has it, and no frame arrives elsewhere", async () => {
    await expectApart();
    const [mine, theirs] = await taken();
    const refused = await cloud.call("POST", "/v2.0/vni-choices", { vni_choice: { network_id: nets[0].network.id, vni: theirs } });
    expect(refused.status).toBe(409);
    const wish: Resource = await cloud.create("vni_wish", { network_id: nets[0].network.id, vni: theirs });
    await until("the problem to be named", async () => (await problems()).length > 0);
    expect(await problems()).toEqual([`vni ${theirs}, which ${nets[0].network.id} wants, is held by ${nets[1].network.id}`]);
    await cloud.synced();
    expect(await taken()).toEqual([mine, theirs]);
    await expectApart();
    await cloud.remove("vni_wish", wish.id);
    await until("no problem", async () => (await problems()).length === 0);
  }, 60_000);

  test("a free one is taken, packets go by it, and a restart sends nothing", async () => {
    await cloud.create("vni_choice", { network_id: nets[0].network.id, vni: 4242 });
    await until("the new number", async () => (await taken()).includes(4242));
    await cloud.synced();
    expect(await taken()).toHaveLength(2);
    await expectApart();
    await expectQuietRestart(cloud);
  }, 60_000);

  test("a store of before, when the key was the VNI: every network keeps its number, and nothing is sent", async () => {
    await cloud.call("DELETE", `/v2.0/vni-choices/${((await cloud.call("GET", "/v2.0/vni-choices")).body as unknown as { vni_choices: Resource[] }).vni_choices[0]!.id}`);
    const third = await cloud.network("10.0.0.0/24", {}, "p3");
    await cloud.instance(cloud.hv(2), third, { project: "p3" });
    await cloud.synced();
    const before = await taken();
    expect(before).toHaveLength(3);
    // As it was: numbers of networks by their keys alone.
    const rewrite = async (): Promise<void> => {
      const store = await openStore("level:", { dataDir: cloud.controller.dataDir });
      const ops = [];
      for await (const { key } of store.range({ start: "t/pool_number/vni/", end: "t/pool_number/vni0" })) ops.push({ delete: key });
      expect(ops).toHaveLength(3);
      await store.txn([], ops);
      await store.close();
    };
    await cloud.controller.stop();
    await rewrite();
    await cloud.controller.start();
    await cloud.synced();
    const keys = await taken();
    expect(keys).not.toContain(4242);
    await cloud.controller.stop();
    await rewrite();
    await cloud.controller.start();
    await cloud.synced();
    expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(0);
    expect(await taken()).toEqual(keys);
    await expectApart();
  }, 90_000);
});
