// A routed network on real switches: each host is on a segment of its own, VMs get addresses of it by DHCP, and a router of the physical network, which is none of
// the controller's, leads from one segment to the other.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import { Lab } from "../../../lab/lab.ts";
import type { Outside } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

describe.skipIf(Lab.missing().length > 0)("routed networks", () => {
  let cloud: Cloud;
  let open: Resource;
  let net: Net;
  let subnets: Resource[];
  /** The router of each segment; a link leads from one to the other. */
  let routers: Outside[];
  let a: Instance;
  let b: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "routed.test", hypervisors: 2, physnets: ["one", "two"], host: (n) => ({ physnets: [n === 1 ? "one" : "two"] }) });
    open = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
    const segment = (physnet: string) => ({ "provider:network_type": "flat", "provider:physical_network": physnet });
    const network = await cloud.create("network", { name: "routed", segments: [segment("one"), segment("two")] });
    const segments = (await cloud.call("GET", `/v2.0/segments?network_id=${network.id}`)).body.segments as unknown as Resource[];
    subnets = [];
    for (const [n, physnet] of ["one", "two"].entries()) {
      subnets.push(await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: `10.${n + 1}.0.0/24`, segment_id: segments.find((s) => s.physical_network === physnet)!.id }));
    }
    net = { network, subnet: subnets[0]! };
    routers = [];
    for (const [n, physnet] of ["one", "two"].entries()) {
      const router = await cloud.lab.addOutside({ name: `fabric-${physnet}`, physnet });
      await router.sysctl("net.ipv4.ip_forward=1");
      await router.configure(`addr add 10.${n + 1}.0.1/24 dev eth0`);
      routers.push(router);
    }
    await routers[0]!.configure(`link add core type veth peer name core netns ${routers[1]!.netns}`);
    for (const [n, router] of routers.entries()) {
      await router.exec(["ethtool", "-K", "core", "tx", "off"]);
      await router.configure("link set core up", `addr add 192.0.2.${n + 1}/30 dev core`, `route add 10.${2 - n}.0.0/24 via 192.0.2.${2 - n}`);
    }
  }, 60_000);
  afterAll(async () => cloud?.destroy());

  const instance = (n: 1 | 2, port: Record<string, unknown> = {}): Promise<Instance> => cloud.instance(cloud.hv(n), net, { port: { security_groups: [open.id], ...port }, configure: false });
  const addressOf = async ({ port }: Instance): Promise<string> => ((await cloud.show("port", port.id)).fixed_ips as { ip_address: string }[])[0]?.ip_address ?? "";

  test("a VM at each host has an address of its segment by DHCP, bound before or plugged alone, and its gateway answers", async () => {
    a = await instance(1, { "binding:host_id": "hv1" });
    b = await instance(2);
    expect([a.port.ip_allocation, b.port.ip_allocation]).toEqual(["immediate", "deferred"]);
    await until("an address where it is plugged", async () => (await cloud.show("port", b.port.id)).ip_allocation === "immediate");
    await cloud.quiet();
    for (const [n, i] of [a, b].entries()) {
      const lease = await i.vm.dhcp();
      expect(lease).toMatchObject({ ip: await addressOf(i), prefixLength: 24, routers: [`10.${n + 1}.0.1`] });
      expect(lease.ip.startsWith(`10.${n + 1}.0.`)).toBe(true);
      expect(lease.routes).toContainEqual({ to: `10.${2 - n}.0.0/24`, via: `10.${n + 1}.0.1` });
      await until(`an answer of the gateway of ${i.vm.name}`, () => i.vm.reaches(`10.${n + 1}.0.1`));
    }
  }, 60_000);

  test("they reach each other by the routers of the physical network, which see them; without these they do not", async () => {
    const to = await addressOf(b);
    const seen = await routers[0]!.tcpdump(`icmp and dst ${to}`);
    await until("the other segment", () => a.vm.reaches(to));
    expect((await seen.stop()).lines.length).toBeGreaterThan(0);
    const server = await b.vm.listen(7);
    const connection = await a.vm.openTcp(to, 7);
    expect(await connection.echo("hello")).toBe(true);
    await connection.close();
    await server.close();
    await routers[0]!.configure("link set core down");
    expect(await a.vm.reaches(to)).toBe(false);
    await routers[0]!.configure("link set core up", "route add 10.2.0.0/24 via 192.0.2.2");
    await until("the other segment again", () => a.vm.reaches(to));
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("two VMs of one segment hear each other without a router", async () => {
    const c = await instance(1);
    await until("its address", async () => (await addressOf(c)) !== "");
    await cloud.quiet();
    await c.vm.dhcp();
    const before = await routers[0]!.tcpdump(`icmp and src ${await addressOf(c)}`);
    await until("its neighbour", async () => c.vm.reaches(await addressOf(a)));
    expect((await before.stop()).lines).toEqual([]);
  }, 60_000);
});
