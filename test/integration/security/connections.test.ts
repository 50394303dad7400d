// What of a connection lives on when everything around it changes: addresses that are used again, errors about it, rules that overlap,
// ports of the client that are used again, groups that let nothing out, port security and addresses that change.
// @module-tag long
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
/** Its rules are the test's; the server, on hv1, is in it. */
let serverGroup: Resource;
/** Without ingress rules. The client, on hv2, is in the first, the neighbour, on hv1, in the second. */
let closed: Resource;
let other: Resource;
let server: Instance;
let client: Instance;
let near: Instance;
const PORTS = [80, 81, 90];
const undo: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  cloud = await Cloud.create({ name: "connections.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: "fd00:5::/64", ipv6_ra_mode: "slaac", ipv6_address_mode: "slaac" });
  [serverGroup, closed, other] = await Promise.all(["server", "closed", "other"].map((name) => cloud.create("security_group", { name }))) as [Resource, Resource, Resource];
  server = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [serverGroup.id] } });
  client = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [closed.id] } });
  near = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [other.id] } });
  for (const { vm, port } of [server, client, near]) await vm.setAddress(`${v6(port)}/64`);
  for (const port of PORTS) await server.vm.listen(port);
  await cloud.synced();
  // The first packet to a tunnel's other end is lost while Open vSwitch asks for its MAC on the underlay.
  await Promise.all([client.vm.reaches(v4(server.port), { timeoutMs: 500 }), server.vm.reaches(v4(client.port), { timeoutMs: 500 })]);
});
afterAll(async () => cloud?.destroy());

afterEach(async () => {
  for (const back of undo.splice(0).reverse()) await back();
  await cloud.synced();
  expect(await cloud.differences()).toBe("");
});

const addressOf = (port: Resource, six: boolean): string => (port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":") === six)!.ip_address;
const v4 = (port: Resource): string => addressOf(port, false);
const v6 = (port: Resource): string => addressOf(port, true);

/** Rules of a group (the server's by default) until the end of the test, on the switches. */
async function allow(values: Record<string, unknown>, group = serverGroup): Promise<Resource> {
  const rule = await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ...values });
  undo.push(() => cloud.call("DELETE", `/v2.0/security-group-rules/${rule.id}`));
  await cloud.synced();
  return rule;
}
const forbid = async (rule: Resource): Promise<void> => {
  await cloud.remove("security_group_rule", rule.id);
  await cloud.synced();
};
const groupOf = async (name: string): Promise<Resource> => {
  const group = await cloud.create("security_group", { name });
  undo.push(() => cloud.call("DELETE", `/v2.0/security-groups/${group.id}`));
  return group;
};
/** Changes the port until the end of the test, on the switches. */
async function change(port: Resource, values: Record<string, unknown>, back: Record<string, unknown>): Promise<void> {
  undo.push(() => cloud.update("port", port.id, back));
  await cloud.update("port", port.id, values);
  await cloud.synced();
}
async function openTo(vm: Vm, ip: string): Promise<number[]> {
  const open = await Promise.all(PORTS.map(async (port) => ((await vm.connectTcp(ip, port, 700)) ? [port] : [])));
  return open.flat();
}
const python = async (vm: Vm, program: string, ...args: string[]): Promise<string> => (await vm.exec(["python3", "-c", program, ...args])).stdout.trim();

/** One datagram from a certain port; "answer", "refused" (an ICMP error came), or "nothing". */
const UDP = `import socket,sys
to,port,own,wait=sys.argv[1],int(sys.argv[2]),int(sys.argv[3]),float(sys.argv[4])
s=socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET,socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)
s.bind(("::" if ":" in to else "0.0.0.0",own)); s.connect((to,port)); s.settimeout(wait)
try:
    s.send(b"x"); s.recv(10); print("answer")
except ConnectionRefusedError: print("refused")
except socket.timeout: print("nothing")`;
const udp = (vm: Vm, to: string, port: number, own: number, waitS = 0.7): Promise<string> => python(vm, UDP, to, String(port), String(own), String(waitS));

describe("an address and MAC that are used again", () => {
  /** Another port with the address and the MAC of the server's, in other groups; the VM behind it stays, so only policy may tell them apart. */
  async function replaced(groups: readonly string[], plugged: boolean): Promise<Instance> {
    const { vm, port } = server;
    if (!plugged) await vm.unplug();
    await cloud.remove("port", port.id);
    const next = await cloud.create("port", {
      network_id: net.network.id, mac_address: port.mac_address, security_groups: groups, fixed_ips: (port.fixed_ips as { subnet_id: string; ip_address: string }[]).filter((f) => !f.ip_address.includes(":")),
    });
    await vm.hypervisor.plug(vm.nic.tap, { "iface-id": next.id, "attached-mac": vm.mac, "iface-status": "active", "vm-id": vm.name });
    await cloud.active(next.id);
    await cloud.synced();
    server = { vm, port: next, ip: v4(next) };
    return server;
  }

  test.each([["unplugged in between", false], ["renamed under the plugged interface", true]])("connections to the one before do not lead to the next: %s", async (_, plugged) => {
    const rules = [await allow({ protocol: "udp" }), await allow({ protocol: "tcp" })];
    await until("an answer", async () => (await udp(client.vm, v4(server.port), 80, 40_000)) === "answer");
    const [far, here] = [await client.vm.openTcp(v4(server.port), 81), await near.vm.openTcp(v4(server.port), 81)];
    for (const connection of [far, here]) expect(await connection.echo("before")).toBe(true);
    // The rules stay as they are: it is the port that is another's now.
    await replaced([closed.id], plugged);
    expect(await udp(client.vm, v4(server.port), 80, 40_000), "a datagram of the same five numbers").toBe("nothing");
    for (const connection of [far, here]) expect(await connection.echo("after", 1200)).toBe(false);
    for (const connection of [far, here]) await connection.close();
    expect(await openTo(client.vm, v4(server.port))).toEqual([]);
    await replaced([serverGroup.id], plugged);
    expect(await openTo(client.vm, v4(server.port))).toEqual(PORTS);
    for (const rule of rules) await forbid(rule);
  }, 60_000);

  test.each([["unplugged in between", false], ["renamed under the plugged interface", true]])("nor does the next go on with what the one before was let in for as a member of a group: %s", async (_, plugged) => {
    const friends = await groupOf("friends");
    await allow({ protocol: "udp", remote_group_id: friends.id });
    await allow({ protocol: "tcp", remote_group_id: friends.id });
    const guest = await cloud.create("port", { network_id: net.network.id, security_groups: [closed.id, friends.id] });
    const vm = await cloud.lab.addVm({ name: `guest${plugged ? 1 : 2}`, hypervisor: cloud.hv(plugged ? 1 : 2), portId: guest.id, mac: guest.mac_address as string, mtu: net.network.mtu as number });
    await vm.setAddress(`${v4(guest)}/24`);
    await cloud.active(guest.id);
    await until("an answer", async () => (await udp(vm, v4(server.port), 80, 44_000)) === "answer");
    const connection = await vm.openTcp(v4(server.port), 81);
    expect(await connection.echo("as a member")).toBe(true);
    if (!plugged) await vm.unplug();
    await cloud.remove("port", guest.id);
    const next = await cloud.create("port", { network_id: net.network.id, mac_address: guest.mac_address, security_groups: [closed.id], fixed_ips: [{ ip_address: v4(guest) }] });
    await vm.hypervisor.plug(vm.nic.tap, { "iface-id": next.id, "attached-mac": vm.mac, "iface-status": "active", "vm-id": vm.name });
    await cloud.active(next.id);
    await cloud.synced();
    expect(await vm.arping(v4(server.port)), "it is there").toEqual([server.port.mac_address]);
    const capture = await server.vm.tcpdump(`-Q in host ${v4(guest)} and not arp`);
    expect(await udp(vm, v4(server.port), 80, 44_000)).toBe("nothing");
    expect(await connection.echo("as nobody", 1200)).toBe(false);
    expect(capture.lines).toEqual([]);
    await capture.stop();
    await connection.close();
    await vm.destroy();
    await cloud.remove("port", next.id);
  }, 60_000);
});

describe("errors about a connection", () => {
  /** A VM that forwards, on the server's host: towards nothing, and by a link with a small MTU. */
  let appliance: Instance;
  beforeAll(async () => {
    const all = await cloud.create("security_group", { name: "all" });
    for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
    appliance = await cloud.instance(cloud.hv(1), net, { port: { security_groups: [all.id], allowed_address_pairs: [{ ip_address: "192.0.2.0/24" }, { ip_address: "2001:db8::/64" }] } });
    const { vm } = appliance;
    await vm.setAddress(`${v6(appliance.port)}/64`);
    await vm.sysctl("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv4.icmp_ratelimit=0", "net.ipv6.icmp.ratelimit=0");
    await vm.configure("link add thin mtu 1300 type veth peer name thick", "link set thin up", "link set thick up", "route add 192.0.2.0/24 dev thin", "route add 2001:db8::/64 dev thin");
    for (const { vm: sender } of [client, near]) await sender.configure(`route add 192.0.2.0/24 via ${v4(appliance.port)}`, `route add 2001:db8::/64 via ${v6(appliance.port)}`);
  });
  const pinged = async (vm: Vm, ...args: string[]): Promise<string> => (await vm.exec(["ping", "-n", "-c", "1", "-W", "1", ...args], { allowFailure: true })).stdout;

  test.each([["on another host", () => client], ["on the same host", () => near]] as const)("pass to a VM whose groups let nothing in: port unreachable, time exceeded, too big; %s", async (_, who) => {
    const { vm } = who();
    expect(await udp(vm, v4(appliance.port), 9, 41_000, 2)).toBe("refused");
    expect(await udp(vm, v6(appliance.port), 9, 41_000, 2)).toBe("refused");
    expect(await pinged(vm, "-t", "1", "192.0.2.9")).toContain("Time to live exceeded");
    expect(await pinged(vm, "-6", "-t", "1", "2001:db8::9")).toMatch(/Time exceeded: Hop limit/);
    expect(await pinged(vm, "-M", "do", "-s", "1350", "192.0.2.9")).toMatch(/Frag needed and DF set \(mtu = 1300\)/);
    expect(await pinged(vm, "-6", "-M", "do", "-s", "1350", "2001:db8::9")).toMatch(/Packet too big: mtu=1300/);
    // What they are about is allowed, nothing else is: no error makes a way in.
    expect(await appliance.vm.reaches(v4(who().port), { timeoutMs: 500 })).toBe(false);
    expect(await appliance.vm.reaches(v6(who().port), { timeoutMs: 500 })).toBe(false);
  });

  test("pass through a router, of either family, on the same host and from another", async () => {
    const network = await cloud.create("network", {});
    const away = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.1.0.0/24" }) };
    const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:6::/64", gateway_ip: "fd00:6::1" });
    const router = await cloud.router([away, net]);
    const home = ((await cloud.call("GET", `/v2.0/subnets?network_id=${net.network.id}&ip_version=6`)).body.subnets as unknown as Resource[])[0]!;
    for (const { id } of [six, home]) expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: id })).status).toBe(200);
    await appliance.vm.configure("route add 10.1.0.0/24 via 10.0.0.1", `route add fd00:6::/64 via ${home.gateway_ip as string}`);
    for (const hv of [1, 2]) {
      const { vm, port } = await cloud.instance(cloud.hv(hv), away, { port: { security_groups: [closed.id] } });
      await vm.setAddress(`${v6(port)}/64`, "fd00:6::1");
      await until("a refusal", async () => (await udp(vm, v4(appliance.port), 9, 41_000, 1)) === "refused");
      await until("a refusal", async () => (await udp(vm, v6(appliance.port), 9, 41_000, 1)) === "refused");
      expect(await pinged(vm, "-t", "1", "192.0.2.9"), "the router itself").toContain("From 10.1.0.1 icmp_seq=1 Time to live exceeded");
      expect(await appliance.vm.reaches(v4(port), { timeoutMs: 500 })).toBe(false);
      expect(await appliance.vm.reaches(v6(port), { timeoutMs: 500 })).toBe(false);
    }
  }, 60_000);

  test("about connections that there are not do not pass", async () => {
    const send = `import socket,struct,sys
src,dst=sys.argv[1],sys.argv[2]
a=socket.inet_aton
def ck(b):
    t=sum(struct.unpack("!%dH"%(len(b)//2),b)); t=(t>>16)+(t&65535); return ~(t+(t>>16))&65535
inner=struct.pack("!BBHHHBBH4s4s",0x45,0,28,1,0,64,17,0,a(dst),a(src)); inner=inner[:10]+struct.pack("!H",ck(inner))+inner[12:]
inner+=struct.pack("!HHHH",42000,9,8,0)
for kind,code,rest in ((3,3,0),(11,0,0),(3,4,600)):
    m=struct.pack("!BBHHH",kind,code,0,0,rest)+inner
    m=m[:2]+struct.pack("!H",ck(m))+m[4:]
    s=socket.socket(socket.AF_INET,socket.SOCK_RAW,socket.IPPROTO_ICMP); s.sendto(m,(dst,0))`;
    const capture = await client.vm.tcpdump("-Q in icmp");
    await python(appliance.vm, send, v4(appliance.port), v4(client.port));
    expect(await udp(client.vm, v4(appliance.port), 9, 42_001, 2), "an error that belongs to one").toBe("refused");
    expect(capture.lines.filter((line) => !line.includes("udp port 9 unreachable"))).toEqual([]);
    await capture.stop();
    // The same three, about what the client did send.
    expect(await udp(client.vm, v4(appliance.port), 9, 42_000, 2)).toBe("refused");
    const related = await client.vm.tcpdump("-Q in icmp");
    await python(appliance.vm, send, v4(appliance.port), v4(client.port));
    await until("all of them", () => related.lines.length >= 3);
    await related.stop();
  });
});

describe("rules that overlap", () => {
  test("two remote groups, one of them inside the other's ports: what goes leaves what the other allows", async () => {
    const [one, two] = [await groupOf("one"), await groupOf("two")];
    const ip = v4(server.port);
    await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 81, remote_group_id: one.id });
    const second = await allow({ protocol: "tcp", port_range_min: 81, port_range_max: 90, remote_group_id: two.id });
    await change(client.port, { security_groups: [closed.id, one.id, two.id] }, { security_groups: [closed.id] });
    expect(await openTo(client.vm, ip)).toEqual([80, 81, 90]);
    const connection = await client.vm.openTcp(ip, 81);
    expect(await connection.echo("both")).toBe(true);
    await change(client.port, { security_groups: [closed.id, two.id] }, { security_groups: [closed.id] });
    expect(await openTo(client.vm, ip)).toEqual([81, 90]);
    expect(await connection.echo("the second allows it too", 3000)).toBe(true);
    await forbid(second);
    expect(await openTo(client.vm, ip)).toEqual([]);
    expect(await connection.echo("nobody allows it", 1200)).toBe(false);
    await connection.close();
  }, 60_000);

  test("ranges, prefixes with host bits, and equal rules of two groups: each stands for itself", async () => {
    const ip = v4(server.port);
    const wide = await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 90, remote_ip_prefix: "10.0.0.77/24" });
    const narrow = await allow({ protocol: "tcp", port_range_min: 81, port_range_max: 81, remote_ip_prefix: `${v4(client.port)}/32` });
    expect(wide).toMatchObject({ remote_ip_prefix: "10.0.0.77/24", normalized_cidr: "10.0.0.0/24" });
    expect(await openTo(client.vm, ip)).toEqual(PORTS);
    await forbid(wide);
    expect([await openTo(client.vm, ip), await openTo(near.vm, ip)]).toEqual([[81], []]);
    await forbid(narrow);
    // The same content again is refused, in its group; in another of the port's groups it is another rule.
    const body = { security_group_id: serverGroup.id, direction: "ingress", protocol: "tcp", port_range_min: 90, port_range_max: 90 };
    const first = await allow(body);
    expect(await cloud.call("POST", "/v2.0/security-group-rules", { security_group_rule: { ...body, protocol: "6" } })).toMatchObject({ status: 409, body: { NeutronError: { type: "SecurityGroupRuleExists" } } });
    const twin = await groupOf("twin");
    const second = await allow({ ...body, security_group_id: twin.id }, twin);
    await change(server.port, { security_groups: [serverGroup.id, twin.id] }, { security_groups: [serverGroup.id] });
    const connection = await client.vm.openTcp(ip, 90);
    await forbid(first);
    expect(await connection.echo("the other is there", 3000)).toBe(true);
    expect(await openTo(client.vm, ip)).toEqual([90]);
    await forbid(second);
    expect(await connection.echo("none is", 1200)).toBe(false);
    await connection.close();
    expect(await openTo(client.vm, ip)).toEqual([]);
  }, 60_000);
});

test("a client that uses its port again is let in again: after a reset, after an end, and to another server", async () => {
  await allow({ protocol: "tcp" });
  const again = `import socket,struct,sys
out=[]
for i in range(8):
    s=socket.socket(); s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1); s.settimeout(2)
    # Every other one ends with a reset; those between wait for the server to end first, so that the port is free at once.
    if i%2==0: s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack("ii",1,0))
    s.bind(("",43000)); s.connect((sys.argv[1],80 + i%2)); s.sendall(b"hello"); out.append(s.recv(10).decode())
    if i%2: s.setsockopt(socket.SOL_SOCKET,socket.SO_LINGER,struct.pack("ii",1,0))
    s.close()
print(" ".join(out))`;
  for (const { vm } of [client, near]) expect(await python(vm, again, v4(server.port))).toBe(Array(8).fill("hello").join(" "));
  const udpRule = await allow({ protocol: "udp" });
  for (let i = 0; i < 3; i++) expect(await udp(client.vm, v4(server.port), 80 + (i % 2), 43_001)).toBe("answer");
  await forbid(udpRule);
  expect(await udp(client.vm, v4(server.port), 80, 43_001)).toBe("nothing");
});

test("groups without egress: nothing begins, what comes in is answered, and the network itself is there", async () => {
  const mute = await groupOf("mute");
  for (const { id } of (mute.security_group_rules as Resource[])) await cloud.remove("security_group_rule", id);
  await allow({ protocol: "tcp", remote_ip_prefix: "10.0.0.0/24" }, mute);
  await allow({}, closed);
  await change(server.port, { security_groups: [mute.id] }, { security_groups: [serverGroup.id] });
  expect(await openTo(client.vm, v4(server.port))).toEqual(PORTS);
  const connection = await client.vm.openTcp(v4(server.port), 80);
  expect(await connection.echo("an answer")).toBe(true);
  await connection.close();
  const listening = await client.vm.listen(82);
  expect(await server.vm.reaches(v4(client.port), { timeoutMs: 500 })).toBe(false);
  expect(await server.vm.reaches(v6(client.port), { timeoutMs: 500 })).toBe(false);
  expect(await server.vm.connectTcp(v4(client.port), 82, 700)).toBe(false);
  expect(await server.vm.probeUdp(v4(client.port), 82, 500)).toBe(false);
  expect(await near.vm.connectTcp(v4(client.port), 82), "others reach it").toBe(true);
  await listening.close();
  expect(await server.vm.arping(v4(client.port))).toEqual([client.port.mac_address]);
  expect(await server.vm.dhcp()).toMatchObject({ ip: v4(server.port) });
}, 60_000);

test("port security off and on again: groups go with it and come back, addresses are free and bound again", async () => {
  const rule = await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 80 });
  expect(await openTo(client.vm, v4(server.port))).toEqual([80]);
  await server.vm.configure("addr add 10.0.0.250/24 dev eth0");
  // Who hears it is open, so that only where it comes from decides.
  await allow({}, closed);
  const spoof = async (): Promise<boolean> => (await server.vm.exec(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.0.0.250", v4(client.port)], { allowFailure: true })).exitCode === 0;
  expect(await spoof()).toBe(false);
  expect(await cloud.call("PUT", `/v2.0/ports/${server.port.id}`, { port: { port_security_enabled: false } })).toMatchObject({ status: 409, body: { NeutronError: { type: "PortSecurityPortHasSecurityGroup" } } });
  await change(server.port, { port_security_enabled: false, security_groups: [] }, { port_security_enabled: true, security_groups: [serverGroup.id] });
  expect(await openTo(client.vm, v4(server.port))).toEqual(PORTS);
  const connection = await client.vm.openTcp(v4(server.port), 81);
  expect(await connection.echo("without")).toBe(true);
  await until("an address of its own choice", spoof);
  await cloud.update("port", server.port.id, { port_security_enabled: true, security_groups: [serverGroup.id] });
  await cloud.synced();
  expect(await openTo(client.vm, v4(server.port))).toEqual([80]);
  expect(await connection.echo("with", 1200)).toBe(false);
  await connection.close();
  expect(await spoof()).toBe(false);
  await server.vm.configure("addr del 10.0.0.250/24 dev eth0");
  await forbid(rule);
}, 60_000);

test("a fixed address that is changed: the old one is nobody's, then another's; the group knows the new one alone", async () => {
  const ip = v4(server.port);
  const old = v4(client.port);
  const friends = await groupOf("friends");
  await allow({ protocol: "tcp", port_range_min: 80, port_range_max: 80, remote_group_id: friends.id });
  await change(client.port, { security_groups: [closed.id, friends.id] }, { security_groups: [closed.id] });
  const connection = await client.vm.openTcp(ip, 80);
  expect(await connection.echo("before")).toBe(true);
  const fixed = (address: string): Record<string, unknown> => ({ fixed_ips: [{ subnet_id: net.subnet.id, ip_address: address }] });
  undo.push(async () => {
    await client.vm.configure(`addr replace ${old}/24 dev eth0`);
    await cloud.update("port", client.port.id, fixed(old));
  });
  await cloud.update("port", client.port.id, fixed("10.0.0.180"));
  await cloud.synced();
  expect(await connection.echo("the old one is not its own", 1200)).toBe(false);
  await connection.close();
  expect(await openTo(client.vm, ip), "it still speaks with the old one").toEqual([]);
  await client.vm.configure(`addr del ${old}/24 dev eth0`, "addr add 10.0.0.180/24 dev eth0");
  await until("the new one", async () => (await openTo(client.vm, ip)).includes(80));
  // Somebody else has the old one, and is not in the group.
  const heir = await cloud.instance(cloud.hv(2), net, { port: { security_groups: [other.id], ...fixed(old) } });
  expect(heir.ip).toBe(old);
  expect(await openTo(heir.vm, ip)).toEqual([]);
  await until("the heir, at the old address", () => heir.vm.arping(v4(server.port)).then((macs) => macs.length > 0));
  await heir.vm.destroy();
  await cloud.remove("port", heir.port.id);
}, 60_000);
