// Probe: facts that the switch learns from packets: a neighbour from answers of ARP, in a learned table. It ages, is bounded, shows in
// the dump as learned, and no audit takes it away.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("learned-neighbour");
afterAll(() => probes.delete());

test("incremental equals from scratch, whatever listeners come and go", async () => {
  await expectIncremental(probes, {
    resource: "listener",
    values: ({ networks }, n) => ({ network_id: networks[n % networks.length] }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, "arp_heard")).filter((f) => f.includes("learn(")).length,
  });
}, 120_000);

describe.skipIf(!nightly || Lab.missing().length > 0)("on real switches", () => {
  const LIMIT = 3;
  let scene: Scene;
  let clean: Held[];
  /** Both in the second network and on hv1, where `a` is: who answers, with addresses of a prefix that it may have; who asks. */
  let x: Instance;
  let y: Instance;
  const hidden = (n: number): string => `10.0.1.${200 + n}`;

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ flags: ["--audit-interval", "1"] }));
    const { cloud, nets } = scene;
    x = await cloud.instance(cloud.hv(1), nets[1], { port: { allowed_address_pairs: [{ ip_address: "10.0.1.192/26" }] } });
    y = await cloud.instance(cloud.hv(1), nets[1]);
    await x.vm.setAddress([0, 1, 2, 3, 4].map((n) => `${hidden(n)}/24`));
    await until("answers of the others", async () => (await y.vm.reaches(x.ip)) && (await scene.a.vm.reaches(x.ip)));
    await cloud.synced();
    clean = await held(cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  const listen = (): Promise<Resource> => scene.cloud.create("listener", { network_id: scene.nets[1].network.id });
  interface Dumped {
    readonly state: string;
    readonly table: string;
    readonly app: string;
    readonly about: string;
    readonly match: string;
  }
  const learned = async (): Promise<Dumped[]> =>
    (await scene.cloud.controller.ops<{ flows: Dumped[] }>("GET", "/flows?switch=hv1&state=installed")).body.flows.filter((f) => f.state === "learned" && f.table === "learned_neighbour");
  /** Those of one address of x. */
  const learnedOf = async (n: number): Promise<Dumped[]> => (await learned()).filter((f) => f.match.includes(`=0xa0001${(200 + n).toString(16)}`));
  const onSwitch = async (): Promise<number> => (await scene.cloud.hv(1).ofctl("dump-flows", "br-int")).split("\n").filter((l) => /idle_timeout=.* actions=/.test(l)).length;
  const ask = async (n: number): Promise<void> => {
    await until("an answer of ARP", async () => (await y.vm.arping(hidden(n), { count: 1 })).length > 0);
  };

  test("unused it costs no lookup, and learns nothing", async () => {
    await expectNoLookup(scene);
    await ask(0);
    expect(await onSwitch()).toBe(0);
  });

  test("an answer is learned and used, shows as learned, survives audits while it is used, and ages", async () => {
    const { cloud, a } = scene;
    const { id } = await listen();
    await cloud.synced();
    await ask(0);
    await until("an answer through the router", () => a.vm.reaches(hidden(0)));
    expect(await learnedOf(0)).toMatchObject([{ state: "learned", table: "learned_neighbour", app: "learned-neighbour" }]);
    expect((await learnedOf(0))[0]!.about).toContain("learned by the switch");
    expect(await cloud.differences()).toBe("");
    const ping = a.vm.pingStart(hidden(0), { intervalMs: 50 });
    const sent = await cloud.metric("axion_flow_mods_sent_total");
    await sleep(10_000); // longer than it lives unused, and several audits
    const { received, gaps } = await ping.stop();
    expect(gaps).toEqual([]);
    expect(received).toBeGreaterThan(100);
    expect(await cloud.metric("axion_flow_mods_sent_total")).toBe(sent);
    expect(await learnedOf(0)).toHaveLength(1);
    await until("its end", async () => (await learnedOf(0)).length === 0, { timeoutMs: 25_000 });

    // Bounded, whoever answers.
    for (const n of [0, 1, 2, 3, 4]) await ask(n);
    expect(await onSwitch()).toBe(LIMIT);
    expect(await learned()).toHaveLength(LIMIT);

    // What was learned goes with who learned it.
    await cloud.remove("listener", id);
    await cloud.synced();
    expect(await onSwitch()).toBe(0);
    expect(await held(cloud)).toEqual(clean);
    await expectNoLookup(scene);
  }, 90_000);

  test("what somebody else puts into the learned table goes with the next audit", async () => {
    const { id } = (await scene.cloud.controller.ops<{ flows: { table: string; table_id: number }[] }>("GET", "/flows?switch=hv1")).body.flows
      .filter((f) => f.table === "neighbour").map((f) => ({ id: f.table_id + 1 }))[0]!;
    await scene.cloud.hv(1).ofctl("add-flow", "br-int", `table=${id},priority=7,in_port=9,actions=drop`);
    await until("its end", async () => !(await scene.cloud.hv(1).ofctl("dump-flows", "br-int")).includes("priority=7,in_port=9"));
  });

  test("a restart sends nothing and forgets nothing, a crash while it is withdrawn heals, and taken out nothing of it is left", async () => {
    const { cloud, a } = scene;
    const { id } = await listen();
    await cloud.synced();
    await ask(1);
    const ping = a.vm.pingStart(hidden(1), { intervalMs: 50 });
    await until("answers", () => ping.received > 5);
    await expectQuietRestart(cloud);
    expect((await ping.stop()).gaps).toEqual([]);
    expect(await learnedOf(1)).toHaveLength(1);
    await cloud.remove("listener", id);
    await expectHealing(cloud, clean, async () => {
      const made = await listen();
      await cloud.synced();
      await ask(2);
      expect(await onSwitch()).toBeGreaterThan(0);
      return () => cloud.remove("listener", made.id);
    }, { atNight: true });
    expect(await onSwitch()).toBe(0);
    await listen();
    await cloud.synced();
    await ask(3);
    await expectGone(probes, scene, clean);
    expect(await onSwitch()).toBe(0);
  }, 120_000);
});
