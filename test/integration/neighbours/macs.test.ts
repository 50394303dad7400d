// MACs that the model does not list as a port's own: those of allowed address pairs, of VMs nested in a VM, behind a bridge. Each is reached
// wherever it may legally be, on the same host and from another, and nobody else may speak for it.
import { buildUnsolicitedNeighbourAdvertisement, linkLocal } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type InstanceOptions, type Net } from "../../support/cloud.ts";

let cloud: Cloud;
let net: Net;
let open: readonly string[];
/** Secured, on hv1 and on hv2. */
let near: Instance;
let far: Instance;

const V6 = "fd00:6::";

beforeAll(async () => {
  cloud = await Cloud.create({ name: "macs.test" });
  net = await cloud.network("10.0.0.0/24");
  await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: `${V6}/64` });
  const all = await cloud.create("security_group", { name: "all" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
  open = [all.id];
  near = await instance(1);
  far = await instance(2);
});
afterAll(async () => cloud?.destroy());

/** A VM with an address of each family. */
async function instance(host: 1 | 2, options: InstanceOptions = {}): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(host), net, { ...options, port: { security_groups: open, ...options.port } });
  const v6 = (made.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
  await made.vm.setAddress(`${v6}/64`);
  return made;
}
const unsecured = (host: 1 | 2): Promise<Instance> => instance(host, { port: { port_security_enabled: false, security_groups: [] } });

/** Another MAC on the VM's interface with addresses of its own, which answers by it: a namespace of its own, as a nested VM would be. */
async function macvlan(vm: Vm, name: string, mac: string, addresses: readonly string[]): Promise<void> {
  await vm.configure(`link add link eth0 name ${name} address ${mac} type macvlan mode bridge`);
  // One table for each, so that answers leave by the interface that was asked.
  await vm.sysctl("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2", "net.ipv4.conf.all.rp_filter=0", `net.ipv4.conf.${name}.rp_filter=0`);
  await vm.configure(`link set ${name} up`, ...addresses.map((a) => `addr add ${a} dev ${name}${a.includes(":") ? " nodad" : ""}`));
  const table = String(100 + Number.parseInt(mac.slice(-2), 16));
  for (const a of addresses) {
    const [ip, length] = a.split("/") as [string, string];
    const family = ip.includes(":") ? "-6" : "-4";
    await vm.exec(["ip", family, "rule", "add", "from", ip, "table", table]);
    await vm.exec(["ip", family, "route", "replace", ip.includes(":") ? `${V6}/${length}` : "10.0.0.0/24", "dev", name, "table", table]);
  }
}

const answered = async (from: Vm, to: string): Promise<number> => (await from.ping(to, { count: 3, timeoutMs: 1000 })).received;
const asked = (from: Vm, to: string): Promise<boolean> => until(`an answer of ${to}`, () => from.reaches(to), { timeoutMs: 5000 });

const tableId = async (name: string): Promise<number> =>
  (await cloud.controller.ops<{ flows: { table: string; table_id: number }[] }>("GET", "/flows?switch=hv1&state=installed")).body.flows.find((f) => f.table === name)!.table_id;

describe("an allowed pair with a MAC of its own", () => {
  const VMAC = "00:00:5e:00:01:0a";
  const VIP = ["10.0.0.200", `${V6}200`] as const;
  const pairs = { allowed_address_pairs: VIP.map((ip_address) => ({ ip_address, mac_address: VMAC })) };

  test("is reached on the same host and from another, over IPv4 and IPv6, and reaches both", async () => {
    const holder = await instance(1, { port: pairs });
    await macvlan(holder.vm, "vrrp0", VMAC, [`${VIP[0]}/24`, `${VIP[1]}/64`]);
    await cloud.synced();
    for (const ip of VIP) {
      for (const { vm } of [near, far]) {
        await asked(vm, ip);
        expect(await answered(vm, ip)).toBe(3);
      }
    }
    for (const to of [near.ip, far.ip]) expect((await holder.vm.exec(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", VIP[0], to], { allowFailure: true })).exitCode).toBe(0);
    // Without the pair it is nobody's.
    await cloud.update("port", holder.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
    for (const { vm } of [near, far]) expect(await vm.reaches(VIP[0], { timeoutMs: 500 })).toBe(false);
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("of two holders it is the one that spoke last, and a move takes effect in the switches", async () => {
    const first = await instance(1, { port: pairs });
    const second = await instance(2, { port: pairs });
    await cloud.synced();
    await macvlan(first.vm, "vrrp0", VMAC, [`${VIP[0]}/24`]);
    for (const { vm } of [near, far]) {
      await asked(vm, VIP[0]);
      expect(await answered(vm, VIP[0])).toBe(3);
    }
    // Whoever was silent for long is reached too: nobody has heard of it.
    const learned = await tableId("mac_learned");
    for (const hv of cloud.hypervisors) await hv.ofctl("del-flows", "br-int", `table=${learned}`);
    for (const { vm } of [near, far]) await vm.configure(`neigh replace ${VIP[0]} lladdr ${VMAC} dev eth0 nud permanent`);
    for (const { vm } of [far, near]) await asked(vm, VIP[0]);
    for (const { vm } of [near, far]) await vm.configure(`neigh del ${VIP[0]} dev eth0`);
    const pings = [near, far].map(({ vm }) => vm.pingStart(VIP[0], { intervalMs: 50 }));
    await first.vm.configure("link del vrrp0");
    await macvlan(second.vm, "vrrp0", VMAC, [`${VIP[0]}/24`]);
    await second.vm.exec(["arping", "-U", "-c", "1", "-I", "vrrp0", VIP[0]], { allowFailure: true });
    const moved = pings.map((p) => p.received);
    await until("answers of the other", () => pings.every((p, i) => p.received > moved[i]! + 5), { timeoutMs: 3000 });
    for (const ping of pings) await ping.stop();
    for (const { vm } of [near, far]) expect(await answered(vm, VIP[0])).toBe(3);
    await cloud.remove("port", first.port.id);
    await cloud.remove("port", second.port.id);
  }, 60_000);

  test("that is the gateway's MAC, or another port's, takes nothing from them", async () => {
    const other = await cloud.network("10.0.9.0/24");
    const router = await cloud.router([net, other]);
    const distant = await cloud.instance(cloud.hv(2), other, { port: { security_groups: open } });
    await asked(near.vm, distant.ip);
    const gateway = (await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string }[] };
    const thief = await instance(1, { port: { allowed_address_pairs: [gateway.ports[0]!.mac_address, far.port.mac_address as string].map((mac_address) => ({ ip_address: "10.0.0.201", mac_address })) } });
    await cloud.synced();
    expect(await answered(near.vm, distant.ip)).toBe(3);
    expect(await answered(near.vm, far.ip)).toBe(3);
    await cloud.remove("port", thief.port.id);
    await cloud.remove("port", distant.port.id);
    for (const { subnet } of [net, other]) await cloud.call("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { subnet_id: subnet.id });
    await cloud.remove("router", router.id);
  }, 60_000);
});

test("an allowed pair with the router's MAC, or its link-local address, changes nothing that is said of the router or sent to it", async () => {
  const router = await cloud.create("router", { name: "router" });
  const subnets = (await cloud.call("GET", `/v2.0/subnets?network_id=${net.network.id}`)).body as unknown as { subnets: { id: string }[] };
  for (const { id } of subnets.subnets) expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: id })).status).toBe(200);
  const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${net.network.id}&device_owner=network:router_interface`)).body as unknown as { ports: { mac_address: string; fixed_ips: { ip_address: string }[] }[] };
  const leg = legs.ports.find((p) => p.fixed_ips.some((f) => f.ip_address.includes(":")))!;
  const ofLink = linkLocal(leg.mac_address);
  const said = async (vm: Vm): Promise<string> => {
    await vm.exec(["ip", "-6", "neigh", "flush", "dev", "eth0"]);
    await vm.exec(["ping", "-6", "-n", "-c", "1", "-W", "2", `${ofLink}%eth0`], { allowFailure: true });
    return (await vm.exec(["ip", "-6", "neigh", "show", ofLink, "dev", "eth0"])).stdout.trim().replace(/(STALE|DELAY|REACHABLE) *$/, "").trim();
  };
  await cloud.synced();
  const before = await Promise.all([near, far].map(({ vm }) => said(vm)));
  for (const line of before) expect(line).toBe(`${ofLink} lladdr ${leg.mac_address} router`);
  const pairs = [{ ip_address: "10.0.0.201", mac_address: leg.mac_address }, { ip_address: `${V6}201`, mac_address: leg.mac_address }, { ip_address: ofLink }];
  const thief = await instance(1, { port: { allowed_address_pairs: pairs } });
  await cloud.synced();
  expect(await Promise.all([near, far].map(({ vm }) => said(vm)))).toEqual(before);
  // In the router's name it says nothing.
  const captures = await Promise.all([near, far].map(({ vm }) => vm.tcpdump(`-Q in icmp6 and ip6[40] == 136 and ether src ${leg.mac_address}`)));
  const lie = buildUnsolicitedNeighbourAdvertisement({ mac: leg.mac_address, address: ofLink });
  await thief.vm.exec(["python3", "-c", `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`, lie.toString("hex")]);
  await near.vm.ping(far.ip, { count: 2 });
  expect((await Promise.all(captures.map((c) => c.stop()))).flatMap((c) => c.lines.filter((l) => l.includes("advertisement")))).toEqual([]);
  expect(await cloud.differences()).toBe("");
  await cloud.remove("port", thief.port.id);
  for (const { id } of subnets.subnets) await cloud.call("PUT", `/v2.0/routers/${router.id}/remove_router_interface`, { subnet_id: id });
  await cloud.remove("router", router.id);
}, 60_000);

describe("behind a port without port security", () => {
  let host: Instance;
  const nested = (n: number): string => `52:54:00:00:00:${(0x10 + n).toString(16)}`;

  beforeAll(async () => {
    host = await unsecured(1);
  });

  test("a second MAC is reached on the same host and from another, and reaches both", async () => {
    await macvlan(host.vm, "nested1", nested(1), ["10.0.0.211/24", `${V6}211/64`]);
    for (const ip of ["10.0.0.211", `${V6}211`]) {
      for (const { vm } of [near, far]) {
        await asked(vm, ip);
        expect(await answered(vm, ip)).toBe(3);
      }
    }
    for (const to of [near.ip, far.ip]) expect((await host.vm.exec(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.0.0.211", to], { allowFailure: true })).exitCode).toBe(0);
  }, 60_000);

  test("two of them behind ports on different hosts reach each other", async () => {
    const other = await unsecured(2);
    await macvlan(other.vm, "nested2", nested(2), ["10.0.0.212/24"]);
    await until("an answer", async () => (await host.vm.exec(["ping", "-n", "-c", "1", "-W", "1", "-I", "10.0.0.211", "10.0.0.212"], { allowFailure: true })).exitCode === 0, { timeoutMs: 5000 });
    expect((await host.vm.exec(["ping", "-n", "-c", "3", "-i", "0.2", "-W", "1", "-I", "10.0.0.211", "10.0.0.212"], { allowFailure: true })).stdout).toContain("3 received");
    await cloud.remove("port", other.port.id);
  }, 60_000);

  test("what nobody was heard of goes to ports without port security alone; what was heard of goes to its port alone", async () => {
    const second = await unsecured(2);
    const frame = (dst: string, src: string): string => `${dst.replaceAll(":", "")}${src.replaceAll(":", "")}88b5${"41".repeat(50)}`;
    const send = (vm: Vm, ...frames: string[]): Promise<unknown> =>
      vm.exec(["python3", "-c", `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`, ...frames]);
    const captures = await Promise.all([second, near, far].map(({ vm }) => vm.tcpdump("-Q in ether proto 0x88b5")));
    await send(host.vm, frame("52:54:00:99:99:99", nested(3)));
    await until("the frame", () => captures[0]!.lines.length > 0, { timeoutMs: 3000 });
    await send(second.vm, frame(nested(3), nested(4)));
    await near.vm.ping(far.ip, { count: 2 });
    const lines = await Promise.all(captures.map(async (c) => (await c.stop()).lines.filter((l) => l.includes("0x88b5"))));
    expect(lines.slice(1)).toEqual([[], []]);
    expect(lines[0]).toHaveLength(1);
    await cloud.remove("port", second.port.id);
  }, 60_000);

  test("what is learned is bounded for each port, shows as learned, is no difference, and goes with the port", async () => {
    const noisy = await unsecured(1);
    const frames = Array.from({ length: 400 }, (_, n) => `ffffffffffff5254000a${n.toString(16).padStart(4, "0")}88b5${"41".repeat(50)}`);
    await noisy.vm.exec(["python3", "-c", `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`, ...frames]);
    const learned = async (hv: number): Promise<number> =>
      (await cloud.controller.ops<{ flows: { state: string; table: string; match: string }[] }>("GET", `/flows?switch=hv${hv}&state=installed`)).body.flows.filter((f) => f.state === "learned" && f.match.includes("525400:0a") || f.match.includes("52:54:00:0a")).length;
    await until("learned", async () => (await learned(1)) > 0, { timeoutMs: 5000 });
    expect(await learned(1)).toBeLessThanOrEqual(256);
    expect(await learned(2)).toBeLessThanOrEqual(256);
    // Of each at most so long after it spoke.
    const dump = (await cloud.hv(1).ofctl("dump-flows", "br-int")).split("\n").filter((l) => l.includes("dl_dst=52:54:00:0a"));
    expect(dump.length).toBeGreaterThan(0);
    expect(dump.filter((l) => !l.includes("hard_timeout=60"))).toEqual([]);
    // Whoever takes all that is his takes nothing from others.
    expect(await answered(far.vm, "10.0.0.211")).toBe(3);
    expect(await cloud.differences()).toBe("");
    await cloud.remove("port", noisy.port.id);
    await cloud.synced();
    await until("their end", async () => (await learned(1)) === 0, { timeoutMs: 5000 });
  }, 60_000);

  test("it cannot take the traffic of a MAC that is known", async () => {
    await host.vm.exec(["python3", "-c", `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`,
      `ffffffffffff${(far.port.mac_address as string).replaceAll(":", "")}88b5${"41".repeat(50)}`]);
    expect(await answered(near.vm, far.ip)).toBe(3);
  });
});
