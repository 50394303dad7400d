// Every probe in one controller, whatever folders are beside this file: they fit into one pipeline, and as long as nobody uses them a
// packet's path is as long as without them.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "../../../lab/lab.ts";
import { compare } from "../../support/from-scratch.ts";
import { Harness } from "../../support/harness.ts";
import { allProbes, expectGone, expectNoLookup, expectQuietRestart, held, makeScene, Probes, type Held, type Scene } from "./support.ts";

const names = allProbes();
const probes = new Probes(...names);
afterAll(() => probes.delete());

test("they fit together: tables, registers, pools and names, and nothing of one contradicts another", async () => {
  expect(names.length).toBeGreaterThan(6);
  const plain = await Harness.make();
  const h = await probes.harness();
  try {
    expect(h.apps.map((a) => a.name)).toEqual(expect.arrayContaining(names));
    for (const at of [plain, h]) {
      for (const n of [1, 2]) await at.addChassis(`hv${n}`);
      const network = (await at.create("network", {})).id;
      const subnet = (await at.create("subnet", { network_id: network, ip_version: 4, cidr: "10.0.0.0/24" })).id;
      const router = (await at.create("router", {})).id;
      await at.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnet });
      for (const n of [1, 2]) await at.plug(`hv${n}`, (await at.create("port", { network_id: network })).id, 10 + n);
      await at.settled();
    }
    compare(h, ["hv1", "hv2"]);
    expect(h.engine.conflicts).toEqual([]);
    // What nobody uses has nothing on a switch but the entries that each table has once. Others have what they had; whether a table has
    // an entry for what it does not know depends on what comes after it.
    const rules = (at: Harness): string[] => [...at.engine.flowsOf("hv1")].map((f) => at.engine.provenance(f)).map((p) => `${p.app} ${p.rule}`).filter((rule) => !rule.endsWith(" static")).sort();
    expect(rules(h)).toEqual(rules(plain));
  } finally {
    await plain.close();
    await h.close();
  }
});

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  let scene: Scene;
  let clean: Held[];

  beforeAll(async () => {
    scene = await makeScene(await probes.cloud({ name: "all-at-once" }));
    clean = await held(scene.cloud);
  });
  afterAll(async () => scene?.cloud.destroy());

  test("unused they cost no lookup; a restart sends nothing, and taken out nothing of them is left", async () => {
    await expectNoLookup(scene);
    await expectQuietRestart(scene.cloud, { stopped: true });
    await expectNoLookup(scene);
    await expectGone(probes, scene, clean);
  }, 90_000);
});
