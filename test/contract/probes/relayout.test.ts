// Another app comes or goes, and tables get other numbers: what a flow means is told by names. Connections of translations that stay
// live on; those of one that was taken away meanwhile are forgotten, as in any other restart.
import { decodeMatch, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Cloud, Instance, Net, Resource } from "../../support/cloud.ts";
import type { Harness } from "../../support/harness.ts";
import { Probes } from "./support.ts";

/** Tables keep their numbers where there is room; with "crowd" there is none. */
const probes = new Probes("floating", "scratch-one", "port-meters", "crowd");
afterAll(() => probes.delete());

describe("what a switch has of an earlier layout, told by names", () => {
  let h: Harness;
  afterEach(async () => h.close());

  /** Two floating addresses on hv1; answers what the switch was told, and puts it back as if it had been away since. */
  async function two(): Promise<{ readonly ports: readonly string[]; readonly floatings: readonly string[]; readonly subnet: string; readonly away: () => void }> {
    h = await probes.harness({ disabled: ["crowd"] });
    await h.addChassis("hv1");
    const router = (await h.create("router", {})).id;
    const [ports, nets, subnets]: string[][] = [[], [], []];
    for (const n of [0, 1]) {
      nets!.push((await h.create("network", {})).id);
      subnets!.push((await h.create("subnet", { network_id: nets![n], ip_version: 4, cidr: `10.${n}.0.0/24` })).id);
      await h.call("PUT", `/v2.0/routers/${router}/add_router_interface`, { subnet_id: subnets![n] });
    }
    const floatings: string[] = [];
    for (const n of [0, 1]) {
      ports!.push((await h.create("port", { network_id: nets![1], fixed_ips: [{ subnet_id: subnets![1], ip_address: `10.1.0.${50 + n}` }] })).id);
      await h.plug("hv1", ports![n]!, 10 + n);
      floatings.push((await h.create("floating", { router_id: router, outside_id: nets![0], port_id: ports![n], address: `192.0.2.${100 + n}` })).id);
    }
    await h.settled();
    const had = new Map(h.switches.get("hv1")!.flows);
    const away = (): void => {
      const { flows } = h.switches.get("hv1")!;
      flows.clear();
      for (const [key, bytes] of had) flows.set(key, bytes);
    };
    return { ports: ports!, floatings, subnet: subnets![1]!, away };
  }
  /** By table and address, and whether something else is to be in its place. */
  const withdrawn = (): string[] | undefined =>
    h.toldAtStart.get("hv1")!.relayout?.withdrawn.map(({ flow, wanted }) => {
      const { ipv4_src: src, ipv4_dst: dst } = decodeMatch(flow.slab, FLOW_MOD_MATCH_OFFSET) as { ipv4_src?: string; ipv4_dst?: string };
      return `${h.layout.tableById(flow.table)!.name}: ${src ?? "any"} -> ${dst ?? "any"}${wanted === undefined ? "" : ", replaced"}`;
    }).sort();

  /** Number of the table of translations. */
  const number = (): number => h.layout.table("floating").id;
  const outward = ["nat", "gateway", "conntrack-helpers", "ndp-proxy"];

  test.each([[[]], [["scratch-one"]], [outward], [["port-meters", "scratch-one", ...outward]]])("with one that makes others move, without %s, with nothing changed, none is withdrawn; the same apps have no other layout", async (absent) => {
    await two();
    const before = number();
    h = await h.restart(absent);
    expect(number()).not.toBe(before);
    expect(withdrawn()).toEqual([]);
    h = await h.restart();
    expect(number()).not.toBe(before);
    expect(withdrawn()).toBeUndefined();
  });

  test("apps that come and go where there is room move none of the others", async () => {
    await two();
    const before = number();
    for (const absent of [["scratch-one"], ["scratch-one", "port-meters"], [...outward, "port-meters"], []]) {
      h = await h.restart([...absent, "crowd"]);
      expect(number()).toBe(before);
      expect(withdrawn() ?? []).toEqual([]);
    }
  });

  test("one that is gone is withdrawn, in today's table and registers, and no other", async () => {
    const { floatings, away } = await two();
    expect((await h.call("DELETE", `/v2.0/floatings/${floatings[0]}`)).status).toBe(204);
    await h.settled();
    away();
    h = await h.restart(["scratch-one", ...outward]);
    expect(withdrawn()).toEqual(["floating: any -> 192.0.2.100", "floating_out: 10.1.0.50 -> any"]);
  });

  test("one that leads elsewhere now is withdrawn, and what is desired takes its place", async () => {
    const { ports, subnet, away } = await two();
    expect((await h.call("PUT", `/v2.0/ports/${ports[0]}`, { port: { fixed_ips: [{ subnet_id: subnet, ip_address: "10.1.0.60" }] } })).status).toBe(200);
    await h.settled();
    away();
    h = await h.restart(["scratch-one"]);
    expect(withdrawn()).toEqual(["floating: any -> 192.0.2.100, replaced", "floating_out: 10.1.0.50 -> any"]);
  });

  test("a layout from before the last is known as well", async () => {
    const { floatings, away } = await two();
    h = await h.restart(outward);
    expect((await h.call("DELETE", `/v2.0/floatings/${floatings[1]}`)).status).toBe(204);
    await h.settled();
    away();
    h = await h.restart(["scratch-one"]);
    expect(withdrawn()).toEqual(["floating: any -> 192.0.2.101", "floating_out: 10.1.0.51 -> any"]);
  });
});

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  const flags = ["--disable-app", "crowd"];
  let cloud: Cloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let a: Instance;
  let b: Instance;
  let client: Instance;

  beforeAll(async () => {
    cloud = await probes.cloud({ flags });
    inside = await cloud.network("10.0.0.0/24");
    outside = await cloud.network("192.0.2.0/24");
    router = await cloud.router([inside, outside]);
    a = await cloud.instance(cloud.hv(1), inside);
    b = await cloud.instance(cloud.hv(2), inside);
    client = await cloud.instance(cloud.hv(1), outside);
    const group = ((await cloud.show("port", a.port.id)).security_groups as string[])[0]!;
    for (const protocol of ["icmp", "tcp"]) await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", protocol });
    await cloud.synced();
  }, 60_000);
  afterAll(async () => cloud?.destroy());

  const float = (instance: Instance, address: string): Promise<Resource> => cloud.create("floating", { router_id: router.id, outside_id: outside.network.id, port_id: instance.port.id, address });
  const connectionsOf = async (address: string): Promise<string[]> => {
    const all = (await Promise.all([1, 2].map((n) => cloud.hv(n).appctl("dpctl/dump-conntrack")))).join("\n").split("\n");
    return all.filter((line) => line.includes(`dst=${address},`) && !line.includes(`reply=(src=${address},`));
  };
  const tableNumber = async (): Promise<number> => (await cloud.controller.ops<{ tables: { id: number; name: string }[] }>("GET", "/pipeline")).body.tables.find(({ name }) => name === "floating")!.id;
  /** Ends as it may, starts with these apps left out; answers by how much the table of translations moved from `before`. */
  async function restart(before: number, end: () => Promise<unknown>, ...disabled: string[]): Promise<number> {
    await end();
    flags.splice(0, flags.length, ...(disabled.length === 0 ? [] : ["--disable-app", disabled.join(",")]));
    await cloud.controller.start();
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
    return (await tableNumber()) - before;
  }
  async function connected(instance: Instance, address: string, port: number): Promise<{ echoes(text: string, ms?: number): Promise<boolean>; close(): Promise<void> }> {
    await until(address, () => client.vm.reaches(address));
    const server = await instance.vm.listen(port);
    const connection = await client.vm.openTcp(address, port);
    expect(await connection.echo("before")).toBe(true);
    return {
      echoes: (text, ms) => connection.echo(text, ms),
      close: async () => {
        await connection.close();
        await server.close();
      },
    };
  }

  test("a translation that stays keeps its connections, whatever number its table has", { tags: "long", timeout: 60_000 }, async () => {
    const it = await float(b, "192.0.2.101");
    const connection = await connected(b, "192.0.2.101", 8081);
    const known = async (when: string): Promise<void> => {
      // Before it is used again: a packet in the middle of a connection would make it anew.
      expect((await connectionsOf("192.0.2.101")).filter((c) => c.startsWith("tcp")), when).toHaveLength(1);
      expect(await connection.echoes("after")).toBe(true);
    };
    const before = await tableNumber();
    for (const [end, ...disabled] of [[() => cloud.controller.stop()], [() => cloud.controller.kill9(), "crowd"], [() => cloud.controller.kill9(), "crowd", "scratch-one", "port-meters"], [() => cloud.controller.stop(), "nat", "gateway", "conntrack-helpers", "ndp-proxy"], [() => cloud.controller.kill9(), "crowd"]] as [() => Promise<unknown>, ...string[]][]) {
      const moved = await restart(before, end, ...disabled);
      if (disabled.includes("crowd")) expect(moved, `with ${disabled.join()} left out the table is where it was`).toBe(0);
      else expect(moved, `with ${disabled.join()} left out the table moves`).not.toBe(0);
      await known(`with ${disabled.join()} left out`);
    }
    await connection.close();
    await cloud.remove("floating", it.id);
    await cloud.synced();
    expect(await connectionsOf("192.0.2.101")).toEqual([]);
  });

  test("one that was taken away before the tables moved is withdrawn as ever: its connections are forgotten, and no others", async () => {
    for (const [n, disabled] of [[], ["crowd"]].entries()) {
      const goes = await float(a, "192.0.2.100");
      const stays = await float(b, "192.0.2.101");
      const [first, second] = [await connected(a, "192.0.2.100", 8090 + n), await connected(b, "192.0.2.101", 8190 + n)];
      await cloud.synced();
      const before = await tableNumber();
      const pids = await Promise.all(cloud.hypervisors.map((hv) => hv.vswitchdPid()));
      try {
        for (const pid of pids) process.kill(pid, "SIGSTOP");
        await cloud.remove("floating", goes.id);
        await cloud.controller.kill9();
      } finally {
        for (const pid of pids) process.kill(pid, "SIGCONT");
      }
      expect((await connectionsOf("192.0.2.100")).length, "they are there still").toBeGreaterThan(0);
      expect(await restart(before, () => Promise.resolve(), ...disabled)).not.toBe(0);
      expect(await connectionsOf("192.0.2.100")).toEqual([]);
      expect(await first.echoes("after", 700)).toBe(false);
      expect(await second.echoes("after")).toBe(true);
      for (const connection of [first, second]) await connection.close();
      await cloud.remove("floating", stays.id);
      await cloud.synced();
    }
  }, 90_000);
});
