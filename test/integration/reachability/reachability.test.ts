// Who reaches whom by what, and who does not, on real switches, before, while and after the controller is away. What is asked is data: topologies/. All of them
// nightly, two otherwise.
// @module-tag long
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Lab } from "../../../lab/lab.ts";
import { nightly } from "../../support/process.ts";
import { runMatrix, type MatrixResult } from "./matrix.ts";
import { overlay } from "./topologies/overlay.ts";
import { mixed } from "./topologies/mixed.ts";
import { physical } from "./topologies/physical.ts";
import { World, type Member } from "./world.ts";

const TOPOLOGIES = [overlay("geneve"), physical("vlan"), ...(nightly ? [overlay("vxlan"), overlay("gre"), overlay("geneve", "ipv6"), physical("flat"), mixed] : [])];

describe.skipIf(Lab.missing().length > 0).each(TOPOLOGIES.map((t) => [t.name, t] as const))("%s", (name, topology) => {
  let world: World;
  beforeAll(async () => {
    const began = performance.now();
    world = await World.create(topology);
    console.log(`${name}: made in ${Math.round(performance.now() - began)} ms`);
  }, 120_000);
  afterAll(async () => world?.destroy());

  const green = ({ outcomes, red, again, ms }: MatrixResult, when: string): void => {
    console.log(`${name}, ${when}: ${outcomes.length} checks of ${topology.rows.length} rows in ${ms} ms, ${red.length} red; ${again} packets sent again`);
    expect(red).toEqual([]);
  };

  test("all rows, with a controller, without one, and with it again", async () => {
    green(await runMatrix(world), "with a controller");
    expect(await world.cloud.differences()).toBe("");
    await world.cloud.controller.stop();
    green(await runMatrix(world, { controller: false }), "without");
    await world.cloud.controller.start();
    await world.cloud.synced();
    green(await runMatrix(world), "with it again");
    expect(await world.cloud.differences()).toBe("");
  }, 180_000);

  // The suite itself: it finds what is wrong with one rule of one host, and says whom it concerns.
  if (name === "geneve") test("what leads to one port on one host is gone, and pings of one address go to somebody else: these rows are red, and no others", async () => {
    const { cloud, members } = world;
    const [hv, [from, astray]] = [cloud.hv(1), await Promise.all(["a", "other"].map(async (n) => hvPort(members.get(n)!)))];
    await cloud.controller.stop();
    await hv.ofctl("del-flows", "br-int", `dl_dst=${members.get("b")!.mac}`);
    await hv.ofctl("add-flow", "br-int", `table=0,priority=65535,in_port=${from!},icmp,icmp_type=8,nw_dst=${world.address("g", false)},actions=output:${astray!}`);
    const { outcomes, red } = await runMatrix(world, { controller: false });
    console.log(red.join("\n"));
    const wrong = outcomes.filter((o) => o.wrong !== undefined).map((o) => o.check);
    expect(new Set(wrong.map((c) => [c.from, c.to].sort().join(" and ")))).toEqual(new Set(["a and b", "b and near", "a and g"]));
    expect(red.filter((line) => line.includes("arrived"))).toEqual([expect.stringMatching(/^a > g: ping .*arrived at other$/)]);
    await hv.ofctl("--strict", "del-flows", "br-int", `table=0,priority=65535,in_port=${from!},icmp,icmp_type=8,nw_dst=${world.address("g", false)}`);
    await cloud.controller.start();
    await cloud.synced();
    green(await runMatrix(world), "mended by the controller's start");
  }, 120_000);
  const hvPort = async ({ tap }: Member): Promise<string> => (await world.cloud.hv(1).vsctl("get", "Interface", tap!, "ofport")).trim();
});
