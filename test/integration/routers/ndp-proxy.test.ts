// Addresses of the inside that a router answers for outside, on real switches: a VM on one host, two hosts that may have the gateway, and the
// operator's router out there, which takes the prefixes of the inside for its own link.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { nightly } from "../../support/process.ts";

describe.skipIf(Lab.missing().length > 0).each(nightly ? (["flat", "in tunnels"] as const) : (["flat"] as const))("NDP proxies, a network outside %s", (how) => {
  const UPSTREAM = "2001:db8:f::1";
  const FAR = "2001:db8:9::1";
  let cloud: Cloud;
  let inside: Net;
  let outside: Net;
  let router: Resource;
  let a: Instance;
  let b: Instance;
  let machine: Guest;
  let gateway: { readonly ip6: string; readonly mac: string };
  const sixOf = ({ port }: Instance): string => (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: `ndp-${how.split(" ")[0]!}`, hypervisors: 3, physnets: ["ext"], host: (n) => (n >= 2 ? { gateway: true } : {}), flags: ["--audit-interval", "1"] });
    const network = await cloud.create("network", { "router:external": true, ...(how === "flat" && { "provider:network_type": "flat", "provider:physical_network": "ext" }) });
    outside = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24" }) };
    await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "2001:db8:f::/64", gateway_ip: UPSTREAM });
    inside = await cloud.network("10.0.0.0/24");
    const six = await cloud.create("subnet", { network_id: inside.network.id, ip_version: 6, cidr: "2001:db8:1::/64" });
    router = await cloud.router([inside, { network: inside.network, subnet: six }]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: network.id } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    gateway = { ip6: (port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address).find((ip) => ip.includes(":"))!, mac: port.mac_address as string };
    const group = await cloud.create("security_group", { name: "open" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype });
    const vm = async (): Promise<Instance> => {
      const instance = await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } });
      await instance.vm.configure(`addr add ${sixOf(instance)}/64 dev eth0 nodad`, `route add default via ${six.gateway_ip as string} dev eth0`);
      return instance;
    };
    [a, b] = [await vm(), await vm()];
    if (how === "flat") machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    else machine = (await cloud.instance(cloud.hv(1), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }, { ip_address: UPSTREAM }], port_security_enabled: false } })).vm;
    await machine.configure("link set lo up", `addr add ${UPSTREAM}/64 dev eth0 nodad`, `addr add ${FAR}/128 dev lo`, "route add 2001:db8:1::/64 dev eth0");
    await cloud.synced();
    await until("the gateway answers outside", () => machine.reaches(gateway.ip6), { timeoutMs: 20_000 });
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  const proxy = async (port: Resource): Promise<string> => {
    const answer = await cloud.call("POST", "/v2.0/ndp_proxies", { ndp_proxy: { router_id: router.id, port_id: port.id } });
    expect(answer.status, JSON.stringify(answer.body)).toBe(201);
    await cloud.synced();
    return (answer.body as unknown as { ndp_proxy: Resource }).ndp_proxy.id;
  };
  const remove = async (id: string): Promise<void> => {
    expect((await cloud.call("DELETE", `/v2.0/ndp_proxies/${id}`)).status).toBe(204);
    await cloud.synced();
  };
  const enable = async (enable_ndp_proxy: boolean): Promise<void> => {
    await cloud.update("router", router.id, { enable_ndp_proxy });
    await cloud.synced();
  };
  const throughGateway = (to: string): string => `route add ${to}/128 via ${gateway.ip6} dev eth0`;

  test("off, nobody answers for the inside, and who routes to the gateway reaches it", async () => {
    expect(await machine.reaches(sixOf(a))).toBe(false);
    await machine.configure(throughGateway(sixOf(a)));
    // Hosts of the gateway may be finding each other still.
    await until("an answer by the gateway", () => machine.reaches(sixOf(a)));
    await sleep(2000);
    expect(await machine.ping(sixOf(a), { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    await machine.configure(`route del ${sixOf(a)}/128`);
  });

  test("on, what is proxied is announced, answered for by one host, and reached; what is not is not, whoever routes to it", async () => {
    await enable(true);
    await machine.configure(throughGateway(sixOf(a)), throughGateway(sixOf(b)));
    for (const vm of [a, b]) expect(await machine.reaches(sixOf(vm)), "before it is proxied").toBe(false);
    await machine.configure(`route del ${sixOf(a)}/128`, "neigh flush all");
    const announced = await machine.tcpdump(`icmp6 and ip6[40] == 136 and ether src ${gateway.mac} and ip6[48:4] == 0x20010db8 and ip6[52:4] == 0x00010000`);
    const id = await proxy(a.port);
    await until("it is reached", () => machine.reaches(sixOf(a)), { timeoutMs: 10_000 });
    // At once, after a second and after three: what is heard later are answers.
    await until("it is announced for the last time", () => Promise.resolve(announced.lines.length >= 3), { timeoutMs: 15_000 });
    await machine.configure("neigh flush all");
    const before = announced.lines.length;
    expect(await machine.ping(sixOf(a), { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    await sleep(200);
    expect((await announced.stop()).lines.length - before, "of two hosts one answers").toBe(1);
    const server = await a.vm.listen(8080);
    expect(await machine.connectTcp(sixOf(a), 8080)).toBe(true);
    await server.close();
    // Connections of its own go out, and answers come back.
    const far = await machine.listen(8081);
    expect(await a.vm.connectTcp(FAR, 8081, 3000)).toBe(true);
    await far.close();
    expect(await machine.reaches(sixOf(b))).toBe(false);
    expect(await machine.ping(gateway.ip6, { count: 3, intervalMs: 20 })).toMatchObject({ received: 3 });
    expect(await b.vm.ping(sixOf(a), { count: 3, intervalMs: 20 }), "inside nothing changes").toMatchObject({ received: 3 });
    await remove(id);
    await machine.configure("neigh flush all");
    expect(await machine.reaches(sixOf(a)), "taken away").toBe(false);
    await machine.configure(throughGateway(sixOf(a)));
    expect(await machine.reaches(sixOf(a)), "nor by the gateway").toBe(false);
    await machine.configure(`route del ${sixOf(a)}/128`, `route del ${sixOf(b)}/128`);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("nobody gets in by the MAC of a floating IP", async () => {
    const floating = await cloud.create("floatingip", { floating_network_id: outside.network.id, port_id: b.port.id });
    await until("the floating IP is there", async () => (await cloud.show("floatingip", floating.id)).status === "ACTIVE", { timeoutMs: 10_000 });
    const [held] = (await cloud.call("GET", `/v2.0/ports?device_id=${floating.id}`)).body.ports as unknown as [Resource];
    const heard = await b.vm.tcpdump("icmp6 and ip6[40] == 128");
    await machine.configure(`neigh replace ${sixOf(b)} lladdr ${held.mac_address as string} dev eth0 nud permanent`);
    await machine.ping(sixOf(b), { count: 3, timeoutMs: 200 });
    await machine.configure(`neigh del ${sixOf(b)} dev eth0`);
    expect((await heard.stop()).lines).toEqual([]);
    await cloud.remove("floatingip", floating.id);
  });

  test("the host that has the gateway dies: the next one answers, and says so", async () => {
    const id = await proxy(a.port);
    await until("it is reached", () => machine.reaches(sixOf(a)), { timeoutMs: 10_000 });
    const { flows } = (await cloud.controller.ops("GET", "/flows?switch=hv2&table=gateway_out&format=json")).body as { flows: { priority: number; actions: string }[] };
    const first = flows.some((f) => f.priority === 110 && !f.actions.includes("group")) ? 2 : 3;
    await sleep(3000);
    const run = machine.pingStart(sixOf(a), { intervalMs: 10 });
    const announced = await machine.tcpdump(`icmp6 and ip6[40] == 136 and ether src ${gateway.mac}`);
    await sleep(500);
    await cloud.hv(first).killVswitchd();
    await until("the next one says so", () => Promise.resolve(announced.lines.some((l) => l.includes(sixOf(a)))), { timeoutMs: 10_000 });
    await sleep(1500);
    const { longestGapMs, sent, received } = await run.stop();
    console.log(`NDP proxy, host of the gateway killed: ${sent - received} of ${sent} lost, ${longestGapMs} ms`);
    expect(longestGapMs).toBeLessThan(1500);
    await machine.configure("neigh flush all");
    expect(await machine.ping(sixOf(a), { count: 3, intervalMs: 100 })).toMatchObject({ received: 3 });
    await announced.stop();
    await cloud.hv(first).startVswitchd();
    await cloud.synced();
    await remove(id);
    await enable(false);
    expect(await cloud.differences()).toBe("");
  }, 60_000);
});
