// Translation at gateways on real switches: two hosts with VMs, one of them with somebody outside too, and two that may have gateways. Two
// tenants have the same addresses.
// Over 400 lines: one lab for all of it, which takes longer to make than most tests.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { ofportOf, trace } from "../../support/trace/trace.ts";

interface Tenant {
  readonly project: string;
  readonly inside: Net;
  readonly router: Resource;
  /** The router's outside. */
  readonly gateway: string;
  readonly a: Instance;
}

/** Until hosts that watch each other all see each other alive. */
const usable = (cloud: Cloud): Promise<boolean> =>
  until("gateways in use", async () => {
    const seen = await Promise.all(cloud.hypervisors.map((hv) => hv.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")));
    return seen.every((text) => text.split("\n").filter((l) => l !== "").every((l) => l.includes("forwarding=true")));
  }, { timeoutMs: 20_000 });

describe.skipIf(Lab.missing().length > 0)("translation at a gateway", () => {
  let cloud: Cloud;
  let outside: Net;
  let x: Instance;
  let tenants: readonly [Tenant, Tenant];

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "nat", hypervisors: 4, host: (n) => ({ gateway: n >= 3 }), flags: ["--audit-interval", "1"] });
    outside = await cloud.network("203.0.113.0/24");
    await cloud.update("network", outside.network.id, { "router:external": true });
    x = await cloud.instance(cloud.hv(2), outside, { port: { fixed_ips: [{ ip_address: "203.0.113.1" }], port_security_enabled: false } });
    tenants = [await tenant("p1", 1), await tenant("p2", 1)];
    await cloud.synced();
    await usable(cloud);
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  // What one test leaves when it fails is not the next one's.
  afterEach(async () => {
    for (const { id, port_forwardings } of (await cloud.call("GET", "/v2.0/floatingips")).body.floatingips as unknown as Resource[]) {
      for (const forwarding of port_forwardings as Resource[]) await cloud.call("DELETE", `/v2.0/floatingips/${id}/port_forwardings/${forwarding.id}`);
      await cloud.remove("floatingip", id);
    }
  });

  async function tenant(project: string, host: number): Promise<Tenant> {
    const inside = await cloud.network("10.0.0.0/24", {}, project);
    const router = await cloud.router([inside], project);
    const { external_gateway_info: info } = await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id } }, project);
    const gateway = (info as { external_fixed_ips: { ip_address: string }[] }).external_fixed_ips[0]!.ip_address;
    const a = await cloud.instance(cloud.hv(host), inside, { project, port: { fixed_ips: [{ ip_address: "10.0.0.5" }], security_groups: [await open(project)] } });
    return { project, inside, router, gateway, a };
  }
  const open = async (project: string): Promise<string> => {
    const { id } = await cloud.create("security_group", { name: "open" }, project);
    await cloud.create("security_group_rule", { security_group_id: id, direction: "ingress", ethertype: "IPv4" }, project);
    return id;
  };
  const conntrack = async (): Promise<string[]> => (await Promise.all(cloud.hypervisors.map((hv) => hv.appctl("dpctl/dump-conntrack")))).join("\n").split("\n").filter((l) => l !== "");
  /** Translated connections: the answers have another address than what was asked for, or than who asked. */
  const connectionsBy = async (address: string): Promise<string[]> => (await conntrack()).filter((l) => new RegExp(`orig=\\(src=(?!${address}).*reply=\\(.*dst=${address},|orig=\\(.*dst=${address},.*reply=\\(src=(?!${address})`).test(l));

  test("two tenants with the same addresses, at once: outside sees the gateways' addresses, and answers find their way", async () => {
    const capture = await x.vm.tcpdump("icmp or tcp");
    for (const { a } of tenants) await until("an answer from outside", () => a.vm.reaches(x.ip));
    const pings = tenants.map(({ a }) => a.vm.ping(x.ip, { count: 20, intervalMs: 20 }));
    for (const ping of await Promise.all(pings)) expect(ping).toMatchObject({ received: 20 });
    const server = await x.vm.listen(8080);
    const connections = await Promise.all(tenants.map(({ a }) => a.vm.openTcp(x.ip, 8080)));
    expect(await Promise.all(connections.map((c, n) => c.echo(`tenant ${n}`)))).toEqual([true, true]);
    for (const c of connections) await c.close();
    await server.close();
    const { lines } = await capture.stop();
    for (const { gateway } of tenants) expect(lines.some((l) => l.includes(`${gateway}.`) || l.includes(`${gateway} > `)), gateway).toBe(true);
    expect(lines.filter((l) => l.includes("10.0.0."))).toEqual([]);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("errors about a translated packet reach who sent it, and name what it sent to", async () => {
    const [{ a }] = tenants;
    const capture = await a.vm.tcpdump("icmp and icmp[0] == 3");
    expect(await a.vm.probeUdp(x.ip, 9999, 500)).toBe(false);
    await until("unreachable", () => Promise.resolve(capture.lines.some((l) => l.includes(`${x.ip} > ${a.ip}`) && l.includes("udp port 9999 unreachable"))), { timeoutMs: 3000 }).catch(() => undefined);
    const { lines } = await capture.stop();
    expect(lines.some((l) => l.includes(`${x.ip} > ${a.ip}`) && l.includes("udp port 9999 unreachable")), lines.join("\n")).toBe(true);
  });

  test("what nobody inside asked for is the router's own business; nobody outside gets in by an address of the inside", async () => {
    const [{ a, gateway }] = tenants;
    expect(await x.vm.ping(gateway, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    const server = await a.vm.listen(8081);
    expect(await x.vm.connectTcp(gateway, 8081, 500)).toBe(false);
    const capture = await a.vm.tcpdump("icmp");
    await x.vm.configure(`route add 10.0.0.0/24 via ${gateway}`);
    await x.vm.ping(a.ip, { count: 3, timeoutMs: 200 });
    await x.vm.configure("route del 10.0.0.0/24");
    expect((await capture.stop()).lines).toEqual([]);
    await server.close();
  });

  test("what does not begin a connection is not let out as it is", async () => {
    const [{ a, inside, project }] = tenants;
    await cloud.update("port", a.port.id, { security_groups: [], port_security_enabled: false }, project);
    await cloud.synced();
    const capture = await x.vm.tcpdump("tcp");
    const hv = cloud.hv(1);
    const router = ((await cloud.call("GET", `/v2.0/ports?network_id=${inside.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] }).ports[0]!;
    // A reset, and an answer, of connections that nobody opened.
    for (const flags of ["04", "12"]) {
      const frame = `${router.mac_address}${a.port.mac_address}0800`.replaceAll(":", "") + rawTcp(a.ip, x.ip, flags);
      await hv.ofctl("packet-out", "br-int", `in_port=${await ofportOf(hv, a)} packet=${frame} actions=table`);
    }
    await sleep(500);
    const { lines } = await capture.stop();
    expect(lines.filter((l) => l.includes("10.0.0."))).toEqual([]);
    await cloud.update("port", a.port.id, { port_security_enabled: true, security_groups: a.port.security_groups }, project);
    await cloud.synced();
  });

  test("switched off, connections end, and nothing is translated; switched on again, they begin anew", async () => {
    const [{ a, router, gateway, project }] = tenants;
    const server = await x.vm.listen(8082);
    const connection = await a.vm.openTcp(x.ip, 8082);
    expect(await connection.echo("before")).toBe(true);
    expect((await connectionsBy(gateway)).length).toBeGreaterThan(0);
    const info = (enable_snat: boolean) => ({ external_gateway_info: { network_id: outside.network.id, enable_snat } });
    await cloud.update("router", router.id, info(false), project);
    await cloud.synced();
    expect(await connectionsBy(gateway)).toEqual([]);
    expect(await connection.echo("after", 1000)).toBe(false);
    await connection.close();
    await x.vm.configure(`route add 10.0.0.0/24 via ${gateway}`);
    await until("an answer without translation", () => a.vm.reaches(x.ip));
    await x.vm.configure("route del 10.0.0.0/24");
    await cloud.update("router", router.id, info(true), project);
    await cloud.synced();
    await until("an answer with translation", () => a.vm.reaches(x.ip));
    await server.close();
  }, 60_000);

  const floatingIp = async (values: Record<string, unknown>, project = "p1"): Promise<Resource> => cloud.create("floatingip", { floating_network_id: outside.network.id, ...values }, project);
  const active = (id: string): Promise<boolean> => until("a floating IP in place", async () => (await cloud.show("floatingip", id)).status === "ACTIVE", { timeoutMs: 10_000 });
  const addressOf = (floating: Resource): string => floating.floating_ip_address as string;

  test("a floating IP leads in and out on the host of its port, in both tenants at once; taken away it ends sessions at once", async () => {
    const floating = await Promise.all(tenants.map(({ a, project }) => floatingIp({ port_id: a.port.id }, project)));
    await Promise.all(floating.map((f) => active(f.id)));
    await cloud.synced();
    for (const f of floating) await until("a first answer", () => x.vm.reaches(addressOf(f)));
    for (const f of floating) expect(await x.vm.ping(addressOf(f), { count: 10, intervalMs: 20 }), addressOf(f)).toMatchObject({ received: 10 });
    const capture = await x.vm.tcpdump("icmp[0] == 8");
    for (const { a } of tenants) expect(await a.vm.ping(x.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    const { lines } = await capture.stop();
    for (const f of floating) expect(lines.filter((l) => l.includes(`${addressOf(f)} > ${x.ip}`))).toHaveLength(5);
    // It is hv1 that translates.
    const [first, ...others] = await Promise.all([1, 3, 4].map((n) => cloud.hv(n).appctl("dpctl/dump-conntrack")));
    expect(first).toContain(addressOf(floating[0]!));
    for (const other of others) expect(other).not.toContain(addressOf(floating[0]!));
    const [one] = tenants;
    const server = await one.a.vm.listen(8090);
    const back = await x.vm.listen(8091);
    const [into, out] = [await x.vm.openTcp(addressOf(floating[0]!), 8090), await one.a.vm.openTcp(x.ip, 8091)];
    expect([await into.echo("in"), await out.echo("out")]).toEqual([true, true]);
    expect([await x.vm.probeUdp(addressOf(floating[0]!), 8090, 2000, 4000), await one.a.vm.probeUdp(x.ip, 8091, 2000, 4000)], "in fragments").toEqual([true, true]);
    const errors = await x.vm.tcpdump("icmp[0] == 3");
    await x.vm.probeUdp(addressOf(floating[0]!), 9998, 500);
    expect((await errors.stop()).lines.some((l) => l.includes(`${addressOf(floating[0]!)} > ${x.ip}`) && l.includes("udp port 9998 unreachable"))).toBe(true);
    const leg = ((await cloud.call("GET", `/v2.0/ports?network_id=${one.inside.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] }).ports[0]!;
    const path = await trace(cloud.hv(1), `in_port=${await ofportOf(cloud.hv(1), one.a)},tcp,dl_src=${one.a.port.mac_address as string},dl_dst=${leg.mac_address as string},nw_src=${one.a.ip},nw_dst=${x.ip},nw_ttl=64,tp_src=40000,tp_dst=80`, "est");
    console.log(`out by a floating IP: ${path.lookups} lookups, ${path.conntrack} conntrack passes`);
    expect([path.lookups <= 13, path.conntrack <= 2], path.text).toEqual([true, true]);
    await cloud.update("floatingip", floating[0]!.id, { port_id: null });
    await cloud.synced();
    expect([await into.echo("in", 1000), await out.echo("out", 1000)]).toEqual([false, false]);
    expect(await connectionsBy(addressOf(floating[0]!))).toEqual([]);
    expect(await x.vm.reaches(addressOf(floating[0]!), { timeoutMs: 300 })).toBe(false);
    expect(await x.vm.reaches(addressOf(floating[1]!))).toBe(true);
    expect((await cloud.show("floatingip", floating[0]!.id)).status).toBe("DOWN");
    for (const c of [into, out, server, back]) await c.close();
    for (const [n, f] of floating.entries()) await cloud.remove("floatingip", f.id, tenants[n]!.project);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  }, 90_000);

  test("hairpin: by a floating IP of the same network, of the same host and of another, of one's own; with and without one oneself", async () => {
    const [{ a, inside, project }] = tenants;
    const group = a.port.security_groups as string[];
    const at = async (n: number): Promise<Instance> => cloud.instance(cloud.hv(n), inside, { project, port: { security_groups: group } });
    const [near, far, gw] = [await at(1), await at(2), await at(3)];
    const floating = await floatingIp({ port_id: a.port.id });
    await active(floating.id);
    await cloud.synced();
    const reach = async (who: string): Promise<void> => {
      for (const [name, from] of Object.entries({ near, far, gw, itself: a })) {
        expect(await from.vm.ping(addressOf(floating), { count: 5, intervalMs: 20 }), `${name}, ${who}`).toMatchObject({ received: 5 });
      }
      const server = await a.vm.listen(8092);
      for (const [name, from] of Object.entries({ near, far, gw, itself: a })) expect(await from.vm.connectTcp(addressOf(floating), 8092), `${name}, ${who}`).toBe(true);
      await server.close();
    };
    await reach("without");
    const more = await Promise.all([near, far, gw].map((i) => floatingIp({ port_id: i.port.id })));
    await Promise.all(more.map((f) => active(f.id)));
    await cloud.synced();
    await reach("with");
    const capture = await a.vm.tcpdump("icmp[0] == 8");
    await far.vm.ping(addressOf(floating), { count: 1 });
    expect((await capture.stop()).lines.some((l) => l.includes(`${addressOf(more[1]!)} > ${a.ip}`))).toBe(true);
    // Moved to another port it leads there.
    await cloud.update("floatingip", floating.id, { port_id: null });
    await cloud.update("floatingip", more[1]!.id, { port_id: a.port.id });
    await active(more[1]!.id);
    await cloud.synced();
    const heard = await a.vm.tcpdump("icmp[0] == 8");
    expect(await x.vm.ping(addressOf(more[1]!), { count: 3 })).toMatchObject({ received: 3 });
    expect((await heard.stop()).lines).toHaveLength(3);
    for (const f of [floating, ...more]) await cloud.remove("floatingip", f.id);
    for (const i of [near, far, gw]) await i.vm.destroy();
    for (const i of [near, far, gw]) await cloud.remove("port", i.port.id);
    await cloud.synced();
  }, 90_000);

  test("a floating IP by a router that is named: the port is behind another router, to which routes lead; without a route it is down", async () => {
    const [{ a, inside, router, project }] = tenants;
    const far = await cloud.network("10.1.0.0/24", {}, project);
    const inner = await cloud.router([far], project);
    const between = await cloud.create("port", { network_id: inside.network.id, fixed_ips: [{ ip_address: "10.0.0.250" }] }, project);
    expect((await cloud.call("PUT", `/v2.0/routers/${inner.id}/add_router_interface`, { port_id: between.id }, project)).status).toBe(200);
    await cloud.update("router", inner.id, { routes: [{ destination: "0.0.0.0/0", nexthop: "10.0.0.1" }] }, project);
    const vms = await Promise.all([1, 2].map((n) => cloud.instance(cloud.hv(n), far, { project, port: { security_groups: a.port.security_groups } })));
    const floating = await Promise.all(vms.map(({ port }) => floatingIp({ port_id: port.id, router_id: router.id })));
    await cloud.synced();
    expect(await x.vm.reaches(addressOf(floating[0]!), { timeoutMs: 300 })).toBe(false);
    expect((await cloud.show("floatingip", floating[0]!.id)).status).toBe("DOWN");
    await cloud.update("router", router.id, { routes: [{ destination: "10.1.0.0/24", nexthop: "10.0.0.250" }] }, project);
    await Promise.all(floating.map((f) => active(f.id)));
    await cloud.synced();
    for (const [n, { vm, ip }] of vms.entries()) {
      const address = addressOf(floating[n]!);
      const [heard, seen] = [await vm.tcpdump("icmp[0] == 8"), await x.vm.tcpdump("icmp[0] == 8")];
      await until("an answer by the routers", () => x.vm.reaches(address));
      expect(await x.vm.ping(address, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
      expect(await vm.ping(x.ip, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
      expect((await heard.stop()).lines.some((l) => l.includes(`${x.ip} > ${ip}`))).toBe(true);
      expect((await seen.stop()).lines.some((l) => l.includes(`${address} > ${x.ip}`))).toBe(true);
      // From inside as well, by the router's other networks.
      expect(await a.vm.ping(address, { count: 5, intervalMs: 20 }), `from inside, ${n}`).toMatchObject({ received: 5 });
    }
    for (const f of floating) await cloud.remove("floatingip", f.id);
    await cloud.update("router", router.id, { routes: [] }, project);
    for (const { vm, port } of vms) {
      await vm.destroy();
      await cloud.remove("port", port.id);
    }
    await cloud.update("router", inner.id, { routes: [] }, project);
    for (const body of [{ subnet_id: far.subnet.id }, { port_id: between.id }]) expect((await cloud.call("PUT", `/v2.0/routers/${inner.id}/remove_router_interface`, body, project)).status).toBe(200);
    await cloud.remove("router", inner.id, project);
    await cloud.remove("network", far.network.id, project);
    await cloud.synced();
    expect(await cloud.differences()).toBe("");
  }, 90_000);

  test("forwarded ports lead to theirs, tcp and udp, single ones and ranges, from outside and inside; others lead nowhere; taken away they end sessions", async () => {
    const [{ a, inside, router, gateway, project }] = tenants;
    const group = a.port.security_groups as string[];
    const near = await cloud.instance(cloud.hv(1), inside, { project, port: { security_groups: group } });
    const floating = await floatingIp({});
    const forward = async (values: Record<string, unknown>): Promise<string> => {
      const answer = await cloud.call("POST", `/v2.0/floatingips/${floating.id}/port_forwardings`, { port_forwarding: { internal_port_id: a.port.id, internal_ip_address: a.ip, protocol: "tcp", ...values } });
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      return (answer.body as unknown as { port_forwarding: Resource }).port_forwarding.id;
    };
    const single = await forward({ external_port: 2222, internal_port: 8100 });
    await forward({ external_port: 5353, internal_port: 8100, protocol: "udp" });
    await forward({ external_port_range: "3000:3009", internal_port_range: "3000:3009", internal_port_id: near.port.id, internal_ip_address: near.ip });
    await forward({ external_port_range: "4000:4002", internal_port_range: "8200:8202" });
    await forward({ external_port_range: "4100:4102", internal_port: 8300 });
    await active(floating.id);
    await cloud.synced();
    const ip = addressOf(floating);
    const servers = await Promise.all([a.vm.listen(8100), a.vm.listen(8202), a.vm.listen(8300), near.vm.listen(3007)]);
    const works = async (): Promise<void> => {
      for (const from of [x, near, a]) {
        for (const port of [2222, 4002, 4101]) expect(await from.vm.connectTcp(ip, port), `${from.ip} to ${port}`).toBe(true);
        expect(await from.vm.probeUdp(ip, 5353), `${from.ip}, udp`).toBe(true);
      }
      for (const from of [x, a]) expect(await from.vm.connectTcp(ip, 3007), `${from.ip} to 3007`).toBe(true);
      for (const port of [8100, 2223, 4001]) expect(await x.vm.connectTcp(ip, port, 300)).toBe(false);
    };
    await works();
    expect(await a.vm.ping(x.ip, { count: 3 })).toMatchObject({ received: 3 });
    const capture = await x.vm.tcpdump("tcp port 2222 and tcp[tcpflags] & tcp-ack != 0");
    const [kept, cut] = [await x.vm.openTcp(ip, 4101), await x.vm.openTcp(ip, 2222)];
    expect([await kept.echo("one"), await cut.echo("two")]).toEqual([true, true]);
    const { lines } = await capture.stop();
    const holder = ((await cloud.call("GET", `/v2.0/ports?device_id=${floating.id}`)).body as unknown as { ports: Resource[] }).ports[0]!;
    expect(lines.some((l) => l.includes(`${holder.mac_address as string} >`) && l.includes(`${ip}.2222 >`)), lines.join("\n")).toBe(true);
    expect((await cloud.call("DELETE", `/v2.0/floatingips/${floating.id}/port_forwardings/${single}`)).status).toBe(204);
    await cloud.synced();
    expect([await kept.echo("one"), await cut.echo("two", 1000)]).toEqual([true, false]);
    for (const c of [kept, cut]) await c.close();
    // Also where sources are not translated.
    await forward({ external_port: 2222, internal_port: 8100 });
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: false } }, project);
    await cloud.synced();
    for (const port of [2222, 4002, 4101, 3007]) expect(await x.vm.connectTcp(ip, port), `without translation of sources, ${port}`).toBe(true);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: outside.network.id, enable_snat: true } }, project);
    for (const server of servers) await server.close();
    for (const { id } of ((await cloud.show("floatingip", floating.id)).port_forwardings as Resource[])) await cloud.call("DELETE", `/v2.0/floatingips/${floating.id}/port_forwardings/${id}`);
    await cloud.remove("floatingip", floating.id);
    await cloud.synced();
    expect(await connectionsBy(ip)).toEqual([]);
    expect(gateway).not.toBe(ip);
    await near.vm.destroy();
    await cloud.remove("port", near.port.id);
    expect(await cloud.differences()).toBe("");
  }, 120_000);

  test("tables passed: out from a host without the gateway, and at the gateway", async () => {
    const [{ a, inside, router }] = tenants;
    const leg = ((await cloud.call("GET", `/v2.0/ports?network_id=${inside.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] }).ports[0]!;
    const out = await trace(cloud.hv(1), `in_port=${await ofportOf(cloud.hv(1), a)},tcp,dl_src=${a.port.mac_address as string},dl_dst=${leg.mac_address as string},nw_src=${a.ip},nw_dst=${x.ip},nw_ttl=64,tp_src=40000,tp_dst=80`, "est");
    console.log(`out by a gateway elsewhere: ${out.lookups} lookups, ${out.conntrack} conntrack passes`);
    const gateway = ((await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body as unknown as { ports: Resource[] }).ports[0]!;
    const vni = out.text.match(/tunnel_id:(0x[0-9a-f]+|\d+)|set_field:(0x[0-9a-f]+|\d+)->tun_id/);
    let passes = 0;
    for (const n of [3, 4]) {
      const port = (await cloud.hv(n).vsctl("get", "Interface", "axion-geneve", "ofport")).trim();
      const there = await trace(cloud.hv(n), `in_port=${port},tun_id=${vni?.[1] ?? vni?.[2] ?? "0"},tun_src=172.31.0.1,tun_dst=172.31.0.${n},tcp,dl_src=02:00:00:00:00:01,dl_dst=${gateway.mac_address as string},nw_src=${a.ip},nw_dst=${x.ip},nw_ttl=64,tp_src=40000,tp_dst=80`, "est");
      console.log(`at gateway ${n}: ${there.lookups} lookups, ${there.conntrack} conntrack passes`);
      expect(there.lookups, there.text).toBeLessThanOrEqual(12);
      expect(there.conntrack, there.text).toBeLessThanOrEqual(1);
      passes += there.conntrack;
      expect(out.lookups + there.lookups).toBeLessThanOrEqual(20);
    }
    // One of both has the gateway.
    expect(passes).toBe(1);
    expect(out.lookups, out.text).toBeLessThanOrEqual(12);
    expect(out.conntrack, out.text).toBeLessThanOrEqual(1);
  });
});

describe.skipIf(Lab.missing().length > 0)("floating IPs on a physical network", () => {
  const UPSTREAM = "203.0.113.1";
  let cloud: Cloud;
  let network: Resource;
  let machine: Guest;
  /** On a host that is mapped to the network, and on one that is not. */
  let here: Instance;
  let there: Instance;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: "nat-flat", hypervisors: 4, physnets: ["ext"], host: (n) => (n >= 3 ? { gateway: true } : n === 2 ? { physnets: [] } : {}), flags: ["--audit-interval", "1"] });
    network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": "ext" });
    await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: UPSTREAM, allocation_pools: [{ start: "203.0.113.10", end: "203.0.113.99" }] });
    const inside = await cloud.network("10.0.0.0/24");
    const router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: network.id } });
    const group = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype: "IPv4" });
    [here, there] = [await cloud.instance(cloud.hv(1), inside, { port: { security_groups: [group.id] } }), await cloud.instance(cloud.hv(2), inside, { port: { security_groups: [group.id] } })];
    machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    await machine.configure(`addr add ${UPSTREAM}/24 dev eth0`, "addr add 192.0.2.1/32 dev lo", "link set lo up");
    await cloud.synced();
    await usable(cloud);
  }, 90_000);
  afterAll(async () => cloud?.destroy());

  const float = async (instance: Instance): Promise<Resource> => {
    const floating = await cloud.create("floatingip", { floating_network_id: network.id, port_id: instance.port.id });
    await until("a floating IP in place", async () => (await cloud.show("floatingip", floating.id)).status === "ACTIVE", { timeoutMs: 10_000 });
    return floating;
  };

  test("sources are translated at the gateway", async () => {
    for (const { vm } of [here, there]) await until("an answer from outside", () => vm.reaches("192.0.2.1"), { timeoutMs: 20_000 });
    for (const { vm } of [here, there]) expect(await vm.ping("192.0.2.1", { count: 10, intervalMs: 20 })).toMatchObject({ received: 10 });
  }, 60_000);

  test("where the host is mapped a floating IP leads out from there with its own MAC, else by the gateway; it is announced, and cut off when it moves", async () => {
    const heard = await machine.tcpdump("arp");
    const floating = [await float(here), await float(there)];
    const macs = await Promise.all(floating.map(async (f) => ((await cloud.call("GET", `/v2.0/ports?device_id=${f.id}`)).body as unknown as { ports: Resource[] }).ports[0]!.mac_address as string));
    for (const [n, f] of floating.entries()) {
      const ip = f.floating_ip_address as string;
      await until("an announcement", () => Promise.resolve(heard.lines.some((l) => l.includes(`${macs[n]!} >`) && l.includes(`who-has ${ip} tell ${ip}`) || l.includes(`${macs[n]!} >`) && l.includes(`Announcement ${ip}`))), { timeoutMs: 10_000 });
      expect(await machine.ping(ip, { count: 10, intervalMs: 20 }), ip).toMatchObject({ received: 10 });
      expect(await machine.arping(ip, { count: 3 })).toEqual([macs[n], macs[n], macs[n]].map((m) => expect.stringMatching(new RegExp(m!, "i")) as string));
      const server = await [here, there][n]!.vm.listen(8080);
      expect(await machine.connectTcp(ip, 8080)).toBe(true);
      await server.close();
    }
    await heard.stop();
    const seen = await machine.tcpdump("icmp[0] == 8");
    for (const { vm } of [here, there]) expect(await vm.ping("192.0.2.1", { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    const { lines } = await seen.stop();
    for (const [n, f] of floating.entries()) expect(lines.filter((l) => l.includes(`${macs[n]!} >`) && l.includes(`${f.floating_ip_address as string} > 192.0.2.1`)), lines.join("\n")).toHaveLength(5);
    const zones = await Promise.all([1, 2, 3, 4].map((n) => cloud.hv(n).appctl("dpctl/dump-conntrack")));
    expect(zones[0]).toContain(floating[0]!.floating_ip_address);
    for (const n of [2, 3]) expect(zones[n]).not.toContain(floating[0]!.floating_ip_address);
    expect(zones[1]).not.toContain(`dst=${floating[1]!.floating_ip_address as string}`);
    // Between both, and to oneself.
    for (const { vm } of [here, there]) for (const { floating_ip_address: ip } of floating) {
      await until("a first answer", () => vm.reaches(ip as string)); // the first packet between two hosts may wait for their addresses
      expect(await vm.ping(ip as string, { count: 5, intervalMs: 20 })).toMatchObject({ received: 5 });
    }
    // Moved from one to the other.
    const server = await here.vm.listen(8081);
    const connection = await machine.openTcp(floating[0]!.floating_ip_address as string, 8081);
    expect(await connection.echo("before")).toBe(true);
    await cloud.remove("floatingip", floating[1]!.id);
    await cloud.update("floatingip", floating[0]!.id, { port_id: there.port.id });
    await cloud.synced();
    expect(await connection.echo("after", 1000)).toBe(false);
    await until("there", () => machine.reaches(floating[0]!.floating_ip_address as string), { timeoutMs: 10_000 });
    const arrived = await there.vm.tcpdump("icmp[0] == 8");
    expect(await machine.ping(floating[0]!.floating_ip_address as string, { count: 3 })).toMatchObject({ received: 3 });
    expect((await arrived.stop()).lines).toHaveLength(3);
    for (const c of [connection, server]) await c.close();
    await cloud.remove("floatingip", floating[0]!.id);
    await cloud.synced();
    expect(await machine.reaches(floating[0]!.floating_ip_address as string, { timeoutMs: 300 })).toBe(false);
    expect(await cloud.differences()).toBe("");
  }, 90_000);
});

/** An IPv4 header and one of TCP, as text, with these flags. */
function rawTcp(src: string, dst: string, flags: string): string {
  const address = (ip: string): string => ip.split(".").map((n) => Number(n).toString(16).padStart(2, "0")).join("");
  const header = (sum: string): string => `450000280001000040 06${sum}${address(src)}${address(dst)}`.replace(" ", "");
  let sum = [...header("0000").matchAll(/..../g)].reduce((n, [word]) => n + parseInt(word, 16), 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return `${header((~sum & 0xffff).toString(16).padStart(4, "0"))}9c40005000000001000000015 0${flags}ffff00000000`.replace(" ", "");
}
