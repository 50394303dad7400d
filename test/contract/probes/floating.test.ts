// Probe 1: a floating address with hairpin, taken away under traffic. One folder; unused it costs no lookup.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Instance, Net, Resource } from "../../support/cloud.ts";
import { cloudWith, type ProbeCloud } from "./with-probe.ts";

describe.skipIf(Lab.missing().length > 0)("on real switches", () => {
  let probe: ProbeCloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let a: Instance;
  let b: Instance;
  let client: Instance;

  beforeAll(async () => {
    probe = await cloudWith(["floating"]);
    const { cloud } = probe;
    inside = await cloud.network("10.0.0.0/24");
    outside = await cloud.network("192.0.2.0/24");
    router = await cloud.router([inside, outside]);
    a = await cloud.instance(cloud.hv(1), inside);
    b = await cloud.instance(cloud.hv(2), inside);
    client = await cloud.instance(cloud.hv(1), outside);
    const group = ((await cloud.show("port", a.port.id)).security_groups as string[])[0]!;
    for (const protocol of ["icmp", "tcp", "udp"]) await cloud.create("security_group_rule", { security_group_id: group, direction: "ingress", protocol });
    await cloud.synced();
  });
  afterAll(async () => probe?.destroy());

  const float = (instance: Instance, address: string): Promise<Resource> =>
    probe.cloud.create("floating", { router_id: router.id, outside_id: outside.network.id, port_id: instance.port.id, address });
  const zones = async (): Promise<string> => (await Promise.all([1, 2].map((n) => probe.cloud.hv(n).appctl("dpctl/dump-conntrack")))).join("\n");
  /** Translated connections: the answers have another address than what was asked for. What ports' own zones know is not ours. */
  const connectionsOf = async (address: string): Promise<string[]> => (await zones()).split("\n").filter((line) => line.includes(`dst=${address},`) && !line.includes(`reply=(src=${address},`));

  test("it leads to its port from outside, on the same host and on another, and out by its address", async () => {
    const [one, two] = [await float(a, "192.0.2.100"), await float(b, "192.0.2.101")];
    await until("the first", () => client.vm.reaches("192.0.2.100"));
    await until("the second, on another host", () => client.vm.reaches("192.0.2.101"));
    expect(await client.vm.ping("192.0.2.101", { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    const server = await b.vm.listen(8080);
    expect(await client.vm.connectTcp("192.0.2.101", 8080)).toBe(true);
    await server.close();
    // Hairpin: a VM of the same network, by the other's floating address, and seen as its own.
    const capture = await b.vm.tcpdump("icmp");
    await until("hairpin", () => a.vm.reaches("192.0.2.101"));
    const { lines } = await capture.stop();
    expect(lines.some((line) => line.includes("192.0.2.100 > 10.0.0."))).toBe(true);
    // A restart finds everything in place.
    await probe.cloud.controller.kill9();
    await probe.cloud.controller.start();
    await probe.cloud.synced();
    expect(await probe.cloud.metric("axion_flow_mods_sent_total")).toBe(0);
    expect(await client.vm.reaches("192.0.2.101")).toBe(true);
    for (const f of [one, two]) await probe.cloud.remove("floating", f.id);
    await probe.cloud.synced();
  });

  test("taken away under traffic it ends at once, connections and all", async () => {
    const it = await float(b, "192.0.2.101");
    await until("it", () => client.vm.reaches("192.0.2.101"));
    const server = await b.vm.listen(8081);
    const connection = await client.vm.openTcp("192.0.2.101", 8081);
    expect(await connection.echo("before")).toBe(true);
    expect((await connectionsOf("192.0.2.101")).length).toBeGreaterThan(0);
    await probe.cloud.remove("floating", it.id);
    await probe.cloud.synced();
    expect(await connection.echo("after", 1500)).toBe(false);
    expect(await connectionsOf("192.0.2.101")).toEqual([]);
    expect(await client.vm.reaches("192.0.2.101", { timeoutMs: 300 })).toBe(false);
    await connection.close();
    await server.close();
  });

  test("a crash in the middle of taking it away heals: the flow that drops is found, its connections are forgotten, it goes", async () => {
    for (let round = 0; round < 3; round++) {
      const it = await float(b, "192.0.2.101");
      await until("it", () => client.vm.reaches("192.0.2.101"));
      const server = await b.vm.listen(8082);
      const connection = await client.vm.openTcp("192.0.2.101", 8082);
      expect(await connection.echo("before")).toBe(true);
      await probe.cloud.remove("floating", it.id);
      await probe.cloud.controller.kill9();
      await probe.cloud.controller.start();
      await probe.cloud.synced();
      expect(await connectionsOf("192.0.2.101")).toEqual([]);
      expect(await probe.cloud.differences()).toBe("");
      expect(await client.vm.reaches("192.0.2.101", { timeoutMs: 300 })).toBe(false);
      await connection.close();
      await server.close();
    }
  });

  test("and from the very middle: what stands in for a flow that is going is recognised", async () => {
    // As a controller leaves it that ended between the two bundles: the connections live, a flow that drops stands in.
    const it = await float(b, "192.0.2.101");
    await until("it", () => client.vm.reaches("192.0.2.101"));
    expect((await connectionsOf("192.0.2.101")).length).toBeGreaterThan(0);
    const hv = probe.cloud.hv(2);
    const table = ((await probe.cloud.controller.ops<{ flows: { table: string; table_id: number; match: string; app: string }[] }>("GET", "/flows?switch=hv2&app=floating")).body.flows.find((f) => f.match.includes("nw_dst=192.0.2.101"))!);
    await probe.cloud.controller.kill9();
    await hv.ofctl("mod-flows", "--strict", "br-int", `table=${table.table_id},priority=100,${table.match.replace(/^priority=\d+,/, "")},actions=drop`);
    await probe.cloud.controller.start();
    await probe.cloud.synced();
    await until("it again", () => client.vm.reaches("192.0.2.101"));
    await probe.cloud.remove("floating", it.id);
    await probe.cloud.synced();
    expect(await connectionsOf("192.0.2.101")).toEqual([]);
  });

  test("without its folder nothing of it is left, and its router routes as before", async () => {
    await float(b, "192.0.2.101");
    await until("it", () => client.vm.reaches("192.0.2.101"));
    await probe.cloud.controller.stop();
    probe.removeProbe();
    await probe.cloud.controller.start();
    await probe.cloud.synced();
    const dump = (await probe.cloud.controller.ops<string>("GET", "/flows?state=installed&format=text")).body;
    expect(dump).not.toMatch(/floating|192\.0\.2\.101/);
    expect(dump).not.toContain("l3/router-zone");
    expect(await probe.cloud.differences()).toBe("");
    expect(await client.vm.reaches(b.ip)).toBe(true);
    expect(await connectionsOf("192.0.2.101")).toEqual([]);
  });
});
