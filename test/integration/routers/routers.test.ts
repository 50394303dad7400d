// Routers with real packets, where they meet what is not theirs: networks of others, routes that lead back, several routers on one
// subnet, one that is down, packets for many, an address that moves between VMs.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Response } from "../../../lab/controller.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
/** Lets everything in. */
let open: Resource;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "routers.test" });
  open = await cloud.create("security_group", { name: "open" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype });
});
afterAll(async () => cloud?.destroy());

const on = (hv: number, net: Net, port: Record<string, unknown> = {}, configure = true): Promise<Instance> =>
  cloud.instance(cloud.hv(hv), net, { configure, port: { security_groups: [open.id], ...port } });

describe("a shared network of an administrator", () => {
  const asMember = <T = Record<string, Resource>>(method: string, url: string, body?: unknown, project = "guest"): Promise<Response<T>> =>
    cloud.controller.api(method, url, body, { "x-project-id": project, "x-roles": "member" });
  const made = async (collection: string, kind: string, values: Record<string, unknown>, project = "guest"): Promise<Resource> => {
    const { status, body } = await asMember("POST", `/v2.0/${collection}`, { [kind]: values }, project);
    expect(status, JSON.stringify(body)).toBe(201);
    return body[kind]!;
  };

  test("a member's router does not become its gateway, and hears nothing that is not sent to it; the administrator's does", { tags: "long", timeout: 60_000 }, async () => {
    const network = await cloud.create("network", { shared: true });
    const subnet = await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.88.0.0/24" });
    const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd88::/64", gateway_ip: "fd88::1", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const shared = { network, subnet };
    // Another tenant's VM, on the host where the member's is, and one elsewhere: both send to the internet.
    const tenants = [await on(1, shared), await on(2, shared)];

    // The member's router, with a route for everything to his VM: connected to his own network, and by a port of his to the shared one.
    const router = await made("routers", "router", {});
    for (const s of [subnet, six]) {
      expect(await asMember("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: s.id })).toMatchObject({ status: 400, body: { NeutronError: { type: "BadRequest" } } });
    }
    const own = await made("networks", "network", {});
    const mine = { network: own, subnet: await made("subnets", "subnet", { network_id: own.id, ip_version: 4, cidr: "10.89.0.0/24" }) };
    expect((await asMember("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: mine.subnet.id })).status).toBe(200);
    const port = await made("ports", "port", { network_id: network.id });
    expect((await asMember("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { port_id: port.id })).status).toBe(200);
    const group = await made("security-groups", "security_group", { name: "open" });
    await made("security-group-rules", "security_group_rule", { security_group_id: group.id, direction: "ingress" });
    const hears = await made("ports", "port", { network_id: own.id, security_groups: [group.id] });
    const listener = await cloud.lab.addVm({ name: "listener", hypervisor: cloud.hv(1), portId: hears.id, mac: hears.mac_address as string });
    const hop = (hears.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    await listener.setAddress(`${hop}/24`, "10.89.0.1");
    await cloud.active(hears.id);
    expect((await asMember("PUT", `/v2.0/routers/${router.id}`, { router: { routes: [{ destination: "0.0.0.0/0", nexthop: hop }] } })).status).toBe(200);
    await cloud.synced();

    const capture = await listener.tcpdump("icmp and dst host 8.8.8.8");
    for (const { vm } of tenants) {
      expect(await vm.arping("10.88.0.1"), "nobody is the gateway").toEqual([]);
      expect(await vm.reaches("8.8.8.8", { timeoutMs: 500 })).toBe(false);
    }
    expect(capture.lines).toEqual([]);
    // It works for those who want it: what is sent to it by name goes by it.
    const guest = (port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
    await tenants[1]!.vm.configure(`route add 8.8.8.8 via ${guest}`);
    await tenants[1]!.vm.reaches("8.8.8.8", { timeoutMs: 500 });
    await until("the packet that was sent to it", () => Promise.resolve(capture.lines.length > 0));
    await capture.stop();

    // The member's router says nothing of itself, though the subnet is one that routers advertise; the owner's does.
    const defaults = async (vm: Vm): Promise<string> => (await vm.exec(["ip", "-6", "route", "show", "default"])).stdout;
    const heard = await tenants[0]!.vm.tcpdump("icmp6 and ip6[40] == 134");
    await tenants[0]!.vm.configure("link set eth0 down", "link set eth0 up");
    await sleep(4000);
    expect(heard.lines).toEqual([]);
    const its = await cloud.create("router", {});
    for (const s of [subnet, six]) expect((await cloud.call("PUT", `/v2.0/routers/${its.id}/add_router_interface`, { subnet_id: s.id })).status).toBe(200);
    await until("the administrator's router as gateway", async () => (await defaults(tenants[0]!.vm)).includes("default via fe80::"), { timeoutMs: 16_000 });
    await heard.stop();
    const [gateway] = (await cloud.call("GET", "/v2.0/ports?fixed_ips=ip_address=10.88.0.1")).body.ports as unknown as Resource[];
    expect(gateway!.device_id).toBe(its.id);
    for (const { vm } of tenants) expect(await vm.arping("10.88.0.1")).toEqual([gateway!.mac_address]);
  });
});

describe("routes", () => {
  test("that lead back into the network where the packet came from: by a VM there, on the same host, on another, and to the sender itself", async () => {
    const net = await cloud.network("10.1.0.0/24");
    const router = await cloud.router([net]);
    const [a, b, c] = [await on(1, net), await on(1, net), await on(2, net)];
    for (const [hop, prefix] of [[b, "10.201.0"], [c, "10.202.0"], [a, "10.203.0"]] as const) {
      await hop.vm.configure(`addr add ${prefix}.1/32 dev lo`, "link set lo up");
      await cloud.update("port", hop.port.id, { allowed_address_pairs: [{ ip_address: `${prefix}.0/24` }] });
    }
    await cloud.update("router", router.id, { routes: [["10.201.0.0/24", b.ip], ["10.202.0.0/24", c.ip], ["10.203.0.0/24", a.ip]].map(([destination, nexthop]) => ({ destination, nexthop })) });
    await cloud.synced();
    for (const target of ["10.201.0.1", "10.202.0.1"]) await until(`an answer of ${target}`, () => a.vm.reaches(target));
    // The address is behind the sender: from its host and from another's it comes there, and a packet of its own comes back to it.
    for (const { vm } of [b, c]) await until("an answer of what is behind the first", () => vm.reaches("10.203.0.1"));
    const capture = await a.vm.tcpdump("-Q in icmp and dst host 10.203.0.9");
    await a.vm.reaches("10.203.0.9", { timeoutMs: 700 });
    await capture.stop();
    expect(capture.lines.length, "what the sender sent by the router to a prefix behind itself").toBeGreaterThan(0);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("that lead back, of IPv6: by a VM there, on the same host, on another, and to the sender itself", async () => {
    const network = await cloud.create("network", {});
    const net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd01::/64", gateway_ip: "fd01::1" }) };
    const router = await cloud.router([net]);
    const [a, b, c] = [await on(1, net), await on(1, net), await on(2, net)];
    for (const [hop, prefix] of [[b, "fd0b"], [c, "fd0c"], [a, "fd0a"]] as const) {
      await hop.vm.configure(`addr add ${prefix}::1/128 dev lo`);
      await cloud.update("port", hop.port.id, { allowed_address_pairs: [{ ip_address: `${prefix}::/64` }] });
    }
    await cloud.update("router", router.id, { routes: [["fd0b::/64", b.ip], ["fd0c::/64", c.ip], ["fd0a::/64", a.ip]].map(([destination, nexthop]) => ({ destination, nexthop })) });
    await cloud.synced();
    for (const target of ["fd0b::1", "fd0c::1"]) await until(`an answer of ${target}`, () => a.vm.reaches(target));
    for (const { vm } of [b, c]) await until("an answer of what is behind the first", () => vm.reaches("fd0a::1"));
    const capture = await a.vm.tcpdump("-Q in icmp6 and dst host fd0a::9");
    await a.vm.reaches("fd0a::9", { timeoutMs: 700 });
    await capture.stop();
    expect(capture.lines.length).toBeGreaterThan(0);
  }, 60_000);

  test("one subnet on two routers: each leads to its own networks, and from one of them to the other", async () => {
    const middle = await cloud.network("10.2.0.0/24");
    const [left, right] = [await cloud.network("10.3.0.0/24"), await cloud.network("10.4.0.0/24")];
    const first = await cloud.router([middle, left]);
    const second = await cloud.router([right]);
    const at = await cloud.create("port", { network_id: middle.network.id, fixed_ips: [{ ip_address: "10.2.0.2" }] });
    expect((await cloud.call("PUT", `/v2.0/routers/${second.id}/add_router_interface`, { port_id: at.id })).status).toBe(200);
    const [m, l, r] = [await on(1, middle), await on(2, left), await on(1, right)];
    await until("the first", () => m.vm.reaches(l.ip));
    expect(await m.vm.reaches(r.ip, { timeoutMs: 500 }), "by the first router there is no way to the second's network").toBe(false);
    // By the VM's own choice of router...
    await m.vm.configure("route add 10.4.0.0/24 via 10.2.0.2");
    await until("the second", () => m.vm.reaches(r.ip));
    // ...and by routes of the routers to each other.
    await cloud.update("router", first.id, { routes: [{ destination: "10.4.0.0/24", nexthop: "10.2.0.2" }] });
    await cloud.update("router", second.id, { routes: [{ destination: "10.3.0.0/24", nexthop: "10.2.0.1" }] });
    await until("from one to the other", () => l.vm.reaches(r.ip));
    await until("and back", () => r.vm.reaches(l.ip));
    await cloud.update("router", first.id, { routes: [] });
    await cloud.synced();
    expect(await l.vm.reaches(r.ip, { timeoutMs: 500 })).toBe(false);
    // Taken off one, the other goes on.
    await cloud.update("router", second.id, { routes: [] });
    expect((await cloud.call("PUT", `/v2.0/routers/${second.id}/remove_router_interface`, { port_id: at.id })).status).toBe(200);
    await cloud.synced();
    expect(await m.vm.reaches(r.ip, { timeoutMs: 500 })).toBe(false);
    expect(await m.vm.reaches(l.ip)).toBe(true);
  }, 60_000);

  test("a router that is down forwards nothing and does not answer, of either family; up again it does", async () => {
    const [a, b] = [await cloud.network("10.5.0.0/24"), await cloud.network("10.6.0.0/24")];
    const six: Resource[] = [];
    for (const [net, cidr] of [[a, "fd05::/64"], [b, "fd06::/64"]] as const) six.push(await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr, gateway_ip: cidr.replace("/64", "1") }));
    const router = await cloud.router([a, b]);
    for (const s of six) expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: s.id })).status).toBe(200);
    const [x, y, z] = [await on(1, a), await on(2, b), await on(1, b)];
    const v6 = (i: Instance): string => (i.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
    for (const i of [x, y, z]) await i.vm.setAddress(`${v6(i)}/64`, i === x ? "fd05::1" : "fd06::1");
    const targets = [y.ip, z.ip, "10.5.0.1", v6(y), v6(z), "fd05::1"];
    const reached = (): Promise<boolean[]> => Promise.all(targets.map((ip) => x.vm.reaches(ip, { timeoutMs: 700 })));
    for (const ip of targets) await until(`an answer of ${ip}`, () => x.vm.reaches(ip));
    const neighbour = z.vm.pingStart(y.ip);
    await cloud.update("router", router.id, { admin_state_up: false });
    await cloud.synced();
    expect(await reached()).toEqual(targets.map(() => false));
    await cloud.update("router", router.id, { admin_state_up: true });
    await cloud.synced();
    expect(await reached()).toEqual(targets.map(() => true));
    expect((await neighbour.stop()).gaps, "within the network nothing was lost").toEqual([]);
  }, 60_000);

  test("what goes to many stays in its network, and is there on every host, once", async () => {
    const [a, b] = [await cloud.network("10.7.0.0/24"), await cloud.network("10.8.0.0/24")];
    await cloud.router([a, b]);
    const [sender, near, far, beyond] = [await on(1, a), await on(1, a), await on(2, a), await on(2, b)];
    const six = await cloud.create("subnet", { network_id: a.network.id, ip_version: 6, cidr: "fd07::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
    const source = (i: Instance): Promise<string> => cloud.show("port", i.port.id).then((p) => (p.fixed_ips as { subnet_id: string; ip_address: string }[]).find((f) => f.subnet_id === six.id)!.ip_address);
    await sender.vm.setAddress(`${await source(sender)}/64`);
    await cloud.synced();
    const captures = await Promise.all([near, far, beyond].map((i) => i.vm.tcpdump("-Q in udp port 5353")));
    const program = `import socket
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP,socket.IP_MULTICAST_TTL,4)
s.setsockopt(socket.SOL_SOCKET,socket.SO_BROADCAST,1)
s.bind(("${sender.ip}",5353))
for to in ("239.1.2.3","224.0.0.251","255.255.255.255","10.7.0.255"): s.sendto(to.encode(),(to,5353))
s=socket.socket(socket.AF_INET6,socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,4)
s.bind(("${await source(sender)}",5353))
for to in ("ff02::fb","ff05::1:3"): s.sendto(to.encode(),(to,5353,0,socket.if_nametoindex("eth0")))`;
    await sender.vm.exec(["python3", "-c", program]);
    await until("the last of them", () => Promise.resolve(captures[0]!.lines.length >= 6 && captures[1]!.lines.length >= 6));
    await sleep(300);
    for (const capture of captures) await capture.stop();
    const to = (lines: readonly string[]): string[] => lines.map((line) => /> ([\da-f.:]+)\.5353/.exec(line)?.[1] ?? line).sort();
    const all = ["10.7.0.255", "224.0.0.251", "239.1.2.3", "255.255.255.255", "ff02::fb", "ff05::1:3"];
    expect(captures.map((c) => to(c.lines))).toEqual([all, all, []]);
  }, 60_000);
});

test("an address that two VMs share moves from one to the other within its network, whatever its peers remember", async () => {
  const net = await cloud.network("10.9.0.0/24");
  const shared = "10.9.0.200";
  const pairs = { allowed_address_pairs: [{ ip_address: shared }] };
  const [first, second, near, far] = [await on(1, net, pairs), await on(2, net, pairs), await on(1, net), await on(2, net)];
  const announce = ({ vm }: Instance): Promise<unknown> => vm.exec(["arping", "-A", "-c", "1", "-w", "1", "-I", "eth0", shared], { allowFailure: true });
  await first.vm.configure(`addr add ${shared}/24 dev eth0`);
  for (const { vm } of [near, far]) await until("the first", () => vm.reaches(shared));
  // Peers keep what they were told for half a minute and more: only what the new holder announces moves it.
  for (const [from, to] of [[first, second], [second, first]] as const) {
    const pings = [near, far].map(({ vm }) => vm.pingStart(shared, { intervalMs: 20 }));
    await until("answers", () => pings.every((p) => p.received > 5));
    await from.vm.configure(`addr del ${shared}/24 dev eth0`);
    await to.vm.configure(`addr add ${shared}/24 dev eth0`);
    await announce(to);
    const at = pings.map((p) => p.received);
    await until("answers of the new holder", () => pings.every((p, i) => p.received > at[i]! + 5), { timeoutMs: 5000 });
    for (const ping of pings) expect((await ping.stop()).longestGapMs).toBeLessThan(4000);
    for (const { vm } of [near, far]) expect((await vm.exec(["ip", "neigh", "show", shared])).stdout).toContain(to.port.mac_address as string);
  }
}, 60_000);
