// Probe: a scratch register, of two apps at once. They share their place, and a controller that overwrites it at every call shows that
// nobody counts on what is there across one.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { callTable, copy, definePipeline, load, toTable, vifTable, each, baseScope, type App, type FlowAction } from "#app";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import { Harness } from "../../support/harness.ts";
import { expectGone, expectHealing, expectIncremental, expectNoLookup, expectQuietRestart, flowTexts, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const probes = new Probes("scratch-one", "scratch-two");
afterAll(() => probes.delete());

test("scratch registers of two apps have the same place", async () => {
  const h = await probes.harness();
  try {
    const { field, ofs } = h.layout.register("one_value");
    expect(h.layout.register("two_value")).toMatchObject({ field, ofs });
  } finally {
    await h.close();
  }
});

describe("a flow", () => {
  type Actions = readonly FlowAction<"here" | "called", "mine" | "kept" | "ct_zone">[];
  let h: Harness | undefined;
  afterEach(async () => h?.close());

  /** What the compiler complains of when a rule has a flow with these actions; none: the flow is there. */
  async function complaints(actions: Actions): Promise<string[]> {
    const pipeline = definePipeline({
      registers: { mine: { bits: 32, scratch: true, about: "for a moment" }, kept: { bits: 32, about: "for good" } },
      tables: {
        start: { stage: "forward", miss: "sibling", about: "where it begins", match: ["eth_type"] },
        here: { stage: "forward", miss: "drop", aside: true, about: "where it is used", match: ["reg:mine"] },
        called: { stage: "forward", miss: "drop", aside: true, about: "where it is lost", match: ["reg:mine"] },
      },
    });
    const rule = pipeline.rule({ name: "try", about: "a flow to try", on: each(vifTable), emit: (_vif, _view, out) => out.flow(baseScope, "start", { priority: 7, match: { eth_type: 0x88cc }, actions: actions }) });
    const app: App = { name: "trial", about: "a flow to try", pipeline, rules: [rule] };
    h = await Harness.make([app]);
    await h.addChassis("hv1");
    await h.plug("hv1", "00000000-0000-4000-8000-000000000001", 11);
    await h.settled();
    const said = h.complaints.map((c) => (c as { err: Error }).err.message);
    expect(flowTexts(h, "hv1", "start").filter((f) => f.startsWith("priority=7,"))).toHaveLength(said.length === 0 ? 1 : 0);
    return said;
  }
  const read = "table start: scratch register mine is read after a call";

  test.each<[string, Actions, string[]]>([
    ["that loads, and is followed by who uses it", [load("mine", 5), toTable("here")], []],
    ["that loads again after a call", [load("mine", 5), callTable("called"), load("mine", 6), copy("reg:mine", "reg:kept"), toTable("here")], []],
    ["that reads before it calls", [copy("reg:mine", "reg:kept"), callTable("called")], []],
    ["that reads after a call what it loaded before", [load("mine", 5), callTable("called"), copy("reg:mine", "reg:kept")], [read]],
    ["that reads after a call what another flow loaded", [callTable("called"), copy("reg:mine", "reg:kept")], [read]],
    ["that reads after a stage that comes back", [load("mine", 5), { type: "call_stage", stage: "locate" }, { type: "stack_push", from: "reg:mine" }], [read]],
    ["that reads in a clone after a call", [load("mine", 5), callTable("called"), { type: "clone", actions: [copy("reg:mine", "reg:kept")] }], [read]],
    ["that carries it across a call to who uses it", [load("mine", 5), callTable("called"), toTable("here")], ["table start: scratch register mine is carried across a call to here"]],
  ])("%s", async (_what, actions, said) => {
    expect(await complaints(actions)).toEqual(said);
  });
});

for (const who of ["one", "two"]) test(`incremental equals from scratch, whatever comes and goes of app ${who}`, { timeout: 120_000, ...(who === "two" && { tags: "long" }) }, async () => {
  await expectIncremental(probes, {
    resource: `badge_${who}`,
    values: ({ ports }, n) => (ports.length === 0 ? undefined : { port_id: ports[n % ports.length] }),
    count: (h) => ["hv0", "hv1", "hv2"].flatMap((host) => flowTexts(h, host, `${who}_check`)).length,
  });
});

describe.skipIf(Lab.missing().length > 0)("on real switches, scratch overwritten at every call", () => {
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ env: { AXION_POISON_SCRATCH: "1" } }));
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  /** Both apps on both ports; answers how to take them away. */
  async function use(): Promise<() => Promise<void>> {
    const { cloud, a, c } = scene;
    const made: [string, string][] = [];
    for (const who of ["one", "two"]) for (const { port } of [a, c]) made.push([`badge_${who}`, (await cloud.create(`badge_${who}`, { port_id: port.id })).id]);
    await cloud.synced();
    return async () => {
      for (const [resource, id] of made) await cloud.remove(resource, id);
    };
  }
  const passed = async (table: string): Promise<number> => {
    const { flows } = (await scene.cloud.controller.ops<{ flows: { table: string; priority: number; packet_count: number }[] }>("GET", `/flows?switch=hv1&table=${table}&state=installed`)).body;
    return flows.filter((f) => f.priority === 100).reduce((sum, f) => sum + f.packet_count, 0);
  };

  test("unused they cost no lookup; used by both apps at once, packets arrive", async () => {
    const { cloud, a, b, c } = scene;
    await expectNoLookup(scene);
    const stop = await use();
    const flows = (await cloud.hv(1).ofctl("--no-stats", "dump-flows", "br-int")).split("\n");
    expect(flows.filter((f) => f.includes("resubmit(") && /set_field:0xffffffff->reg\d/.test(f)).length, "flows that overwrite scratch").toBeGreaterThan(3);
    for (const to of [b, c]) expect(await a.vm.ping(to.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    await until("counters of the switch", async () => (await passed("one_check")) >= 10 && (await passed("two_check")) >= 10);
    expect(await passed("one_seen")).toBeGreaterThanOrEqual(10);
    await stop();
    await cloud.synced();
    expect(await held(cloud)).toEqual(clean);
  }, 60_000);

  test("a restart sends nothing, a crash while they are withdrawn heals, and taken out nothing of them is left", { tags: "long", timeout: 120_000 }, async () => {
    const { cloud } = scene;
    const stop = await use();
    await expectQuietRestart(cloud);
    await stop();
    await expectHealing(cloud, clean, use);
    await use();
    await expectGone(probes, scene, clean);
  });
});
