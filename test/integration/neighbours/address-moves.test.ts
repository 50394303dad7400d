// Addresses that move to another MAC: the network says so when the model moved them, and VMs say so themselves where they may. Whoever
// talked to the old MAC talks to the new one at once.
import { setTimeout as sleep } from "node:timers/promises";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let open: string;
beforeAll(async () => {
  cloud = await Cloud.create({ hypervisors: 2 });
  open = (await cloud.create("security_group", { name: "open" })).id;
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: open, direction: "ingress", ethertype });
});
afterAll(async () => {
  await cloud.destroy();
});

interface DualNet extends Net {
  readonly six: Resource;
  readonly four: string;
}
/** 10.<n>.0.0/24 and fd00:d<n>::/64. */
async function dual(n: number): Promise<DualNet> {
  const net = await cloud.network(`10.${n}.0.0/24`);
  return { ...net, four: `10.${n}.0`, six: await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: `fd00:d${n}::/64` }) };
}
interface DualInstance extends Instance {
  readonly v4: string;
  readonly v6: string;
}
async function at(hv: number, net: DualNet, port: Record<string, unknown> = {}): Promise<DualInstance> {
  const groups = port.port_security_enabled === false ? [] : [open];
  const instance = await cloud.instance(cloud.hv(hv), net, { configure: false, port: { security_groups: groups, ...port } });
  const ips = (instance.port.fixed_ips as { ip_address: string }[]).map((f) => f.ip_address);
  const [v4, v6] = [ips.find((ip) => !ip.includes(":"))!, ips.find((ip) => ip.includes(":"))!];
  await instance.vm.setAddress(`${v4}/24`, `${net.four}.1`);
  await instance.vm.setAddress(`${v6}/64`, net.six.gateway_ip as string);
  return { ...instance, v4, v6 };
}
const macOf = (i: Instance): string => i.port.mac_address as string;

async function send(vm: Vm, frames: readonly Buffer[]): Promise<void> {
  const program = `import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(("eth0",0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))`;
  await vm.exec(["python3", "-c", program, ...frames.map((f) => f.toString("hex"))]);
}
/** As arping has it: `-U` a request, `-A` an answer, whose target has the sender's MAC too. */
function gratuitous(mac: string, address: string, op: "request" | "reply"): Buffer {
  const frame = buildGratuitousArp({ mac, address, op });
  if (op === "reply") frame.copy(frame, 32, 22, 28);
  return frame;
}
const reaches = (vm: Vm, ip: string): Promise<unknown> => until(`an answer of ${ip}`, () => vm.reaches(ip), { timeoutMs: 10_000 });
/** How long it takes until a ping that repeats every 50 ms is answered. */
async function backWithin(vm: Vm, ip: string, ms: number): Promise<void> {
  const began = performance.now();
  const ping = async (): Promise<number> => (await vm.exec(["timeout", String(Math.ceil(ms / 1000) + 3), "ping", "-n", "-c", "1", "-i", "0.05", "-w", String(Math.ceil(ms / 1000) + 3), ip], { allowFailure: true })).exitCode;
  let exitCode = await ping();
  // It ends at an error of a router as well, which may come while the way there changes.
  while (exitCode === 1 && performance.now() - began < ms) exitCode = await ping();
  expect(exitCode, `${ip} answers at all`).toBe(0);
  expect(performance.now() - began, `${ip} answers`).toBeLessThan(ms);
}

describe("the network announces what the model moved", () => {
  test("interfaces of one router, that another has then", async () => {
    const nets = [await dual(1), await dual(2)] as const;
    const subnets = nets.flatMap((n) => [n.subnet, n.six]);
    const routers = [await cloud.create("router", { name: "one" }), await cloud.create("router", { name: "other" })] as const;
    const change = async (router: Resource, method: string): Promise<void> => {
      for (const { id } of subnets) expect((await cloud.call("PUT", `/v2.0/routers/${router.id}/${method}_router_interface`, { subnet_id: id })).status).toBe(200);
    };
    await change(routers[0], "add");
    const [a, b] = [await at(1, nets[0]), await at(2, nets[1])];
    for (const ip of [b.v4, b.v6]) await reaches(a.vm, ip);
    const pings = [b.v4, b.v6].map((ip) => a.vm.pingStart(ip, { intervalMs: 50 }));
    await sleep(500);
    await change(routers[0], "remove");
    const began = performance.now();
    await change(routers[1], "add");
    await Promise.all([backWithin(a.vm, b.v4, 3000), backWithin(a.vm, b.v6, 3000), backWithin(b.vm, a.v4, 3000), backWithin(b.vm, a.v6, 3000)]);
    expect(performance.now() - began).toBeLessThan(4000);
    for (const ping of pings) expect((await ping.stop()).longestGapMs).toBeLessThan(5000);
  }, 60_000);

  test("a port that was deleted and made again, here or elsewhere; a port with another MAC", async () => {
    const net = await dual(3);
    const [near, far] = [await at(1, net), await at(2, net)];
    let old = await at(1, net);
    for (const hv of [1, 2]) {
      for (const { vm } of [near, far]) for (const ip of [old.v4, old.v6]) await reaches(vm, ip);
      await old.vm.destroy();
      await cloud.remove("port", old.port.id);
      const next = await at(hv, net, { fixed_ips: [{ subnet_id: net.subnet.id, ip_address: old.v4 }, { subnet_id: net.six.id, ip_address: old.v6 }] });
      expect(macOf(next)).not.toBe(macOf(old));
      await Promise.all([near, far].flatMap(({ vm }) => [old.v4, old.v6].map((ip) => backWithin(vm, ip, 2500))));
      old = next;
    }
    for (const { vm } of [near, far]) for (const ip of [old.v4, old.v6]) await reaches(vm, ip);
    const mac = "fa:16:3e:77:77:77";
    await old.vm.unplug();
    await until("the port to be free", async () => (await cloud.show("port", old.port.id)).status === "DOWN");
    await cloud.update("port", old.port.id, { mac_address: mac });
    await old.vm.configure("link set eth0 down", `link set eth0 address ${mac}`, "link set eth0 up", `addr replace ${old.v6}/64 dev eth0 nodad`);
    await old.vm.plug();
    await cloud.active(old.port.id);
    await Promise.all([near, far].flatMap(({ vm }) => [old.v4, old.v6].map((ip) => backWithin(vm, ip, 3000))));
  }, 90_000);

  test("a pair that another port has now", async () => {
    const net = await dual(4);
    const [x4, x6] = ["10.4.0.99", "fd00:d4::99"];
    const pairs = [{ ip_address: x4 }, { ip_address: x6 }];
    const [near, far] = [await at(1, net), await at(2, net)];
    const [a, b] = [await at(1, net, { allowed_address_pairs: pairs }), await at(2, net)];
    for (const { vm } of [a, b]) await vm.configure(`addr add ${x4}/24 dev eth0`, `addr add ${x6}/64 dev eth0 nodad`);
    for (const { vm } of [near, far]) for (const ip of [x4, x6]) await reaches(vm, ip);
    await cloud.update("port", a.port.id, { allowed_address_pairs: [] });
    await cloud.update("port", b.port.id, { allowed_address_pairs: pairs });
    await Promise.all([near, far].flatMap(({ vm }) => [x4, x6].map((ip) => backWithin(vm, ip, 2500))));
    for (const { vm } of [near, far]) expect((await vm.exec(["ip", "neigh", "show", x4])).stdout).toContain(macOf(b));
  }, 60_000);
});

describe("what a VM announces", () => {
  test("of its own arrives everywhere in its network, as a request and as an answer, and is not answered", async () => {
    const net = await dual(5);
    const [a, near, far] = [await at(1, net), await at(1, net), await at(2, net)];
    const free = await at(2, net, { port_security_enabled: false });
    await cloud.synced();
    for (const from of [a, free]) {
      const frames = [
        gratuitous(macOf(from), from.v4, "request"), gratuitous(macOf(from), from.v4, "reply"),
        buildUnsolicitedNeighbourAdvertisement({ mac: macOf(from), address: from.v6 }),
      ];
      const back = await from.vm.tcpdump("-Q in arp or (icmp6 and ip6[40] == 136)");
      const captures = await Promise.all([near, far].map(({ vm }) => vm.tcpdump(`-Q in ether src ${macOf(from)} and (arp or (icmp6 and ip6[40] == 136))`)));
      await send(from.vm, frames);
      await until("all three everywhere", () => Promise.resolve(captures.every((c) => c.lines.length >= 3)), { timeoutMs: 5000 });
      await sleep(200);
      for (const capture of captures) {
        const { lines } = await capture.stop();
        expect(lines.filter((l) => l.includes("Request who-has")), lines.join("\n")).toHaveLength(1);
        expect(lines.filter((l) => l.includes("Reply"))).toHaveLength(1);
        expect(lines.filter((l) => l.includes("neighbor advertisement"))).toHaveLength(1);
      }
      expect((await back.stop()).lines.filter((l) => l.includes(`tell ${from.v4}`) || l.includes(`Reply ${from.v4}`))).toEqual([]);
    }
  }, 60_000);

  test("of another's does not, if it may not", async () => {
    const net = await dual(6);
    const [a, near, far] = [await at(1, net), await at(1, net), await at(2, net)];
    for (const { vm } of [near, far]) await reaches(vm, a.v4);
    const captures = await Promise.all([near, far].map(({ vm }) => vm.tcpdump(`-Q in ether src ${macOf(a)}`)));
    await send(a.vm, [
      buildGratuitousArp({ mac: macOf(a), address: near.v4 }), buildGratuitousArp({ mac: macOf(a), address: near.v4, op: "reply" }), buildUnsolicitedNeighbourAdvertisement({ mac: macOf(a), address: near.v6 }),
      buildGratuitousArp({ mac: macOf(a), address: `${net.four}.1`, op: "reply" }), buildGratuitousArp({ mac: macOf(a), address: a.v4 }),
    ]);
    await until("its own", () => Promise.resolve(captures.every((c) => c.lines.some((l) => l.includes(`who-has ${a.v4}`)))), { timeoutMs: 5000 });
    for (const capture of captures) expect((await capture.stop()).lines.filter((l) => !l.includes(`who-has ${a.v4}`) && !l.includes("neighbor solicitation"))).toEqual([]);
  }, 60_000);
});

/** Who may take an address over: a port with it as a pair, with a prefix that has it, or without port security. */
const takers: readonly [string, number, boolean, (v4: string, v6: string, net: DualNet) => Record<string, unknown>, Record<string, unknown>?][] = [
  ["a pair of an address whose port has no port security", 40, true, (v4, v6) => ({ allowed_address_pairs: [{ ip_address: v4 }, { ip_address: v6 }] }), { port_security_enabled: false }],
  ["a pair", 10, true, (v4, v6) => ({ allowed_address_pairs: [{ ip_address: v4 }, { ip_address: v6 }] })],
  ["a prefix", 20, false, (_v4, _v6, net) => ({ allowed_address_pairs: [{ ip_address: net.subnet.cidr as string }, { ip_address: net.six.cidr as string }] })],
  ["no port security", 30, false, () => ({ port_security_enabled: false })],
];
for (const [who, n, follows, rights, owned = {}] of takers) describe(`an address that another port takes over: ${who}`, who === "a pair" ? {} : { tags: "long" }, () => {
  test("whoever announces it has it within 1.2 s, and who asks for it hears of none but that one; and back", async () => {
    const net = await dual(n);
    const [near, far] = [await at(1, net), await at(2, net)];
    const owner = await at(1, net, owned);
    const other = await at(2, net, rights(owner.v4, owner.v6, net));
    // Behind a router too, from hosts that hear no broadcast of this network for being on it: routers follow pairs that name the address.
    const behind = await dual(n + 1);
    await cloud.router([net, { ...net, subnet: net.six }, behind, { ...behind, subnet: behind.six }]);
    const routed = follows ? [await at(1, behind), await at(2, behind)] : [];
    await cloud.synced();
    const take = async (to: DualInstance, from: DualInstance): Promise<void> => {
      // The default route goes with the last address.
      await from.vm.configure(`addr del ${owner.v4}/24 dev eth0`, `addr del ${owner.v6}/64 dev eth0`);
      await to.vm.configure(`addr replace ${owner.v4}/24 dev eth0`, `addr replace ${owner.v6}/64 dev eth0 nodad`, `route replace default via ${net.four}.1 dev eth0`, `route replace default via ${net.six.gateway_ip as string} dev eth0`);
    };
    for (const { vm } of [near, far, ...routed]) for (const ip of [owner.v4, owner.v6]) await reaches(vm, ip);
    for (const [to, from, op] of [[other, owner, "request"], [owner, other, "reply"], [other, owner, "reply"], [owner, other, "request"]] as const) {
      await sleep(1100); // Linux believes nobody else within a second (locktime of arp(7))
      await take(to, from);
      await send(to.vm, [gratuitous(macOf(to), owner.v4, op), buildUnsolicitedNeighbourAdvertisement({ mac: macOf(to), address: owner.v6 })]);
      await Promise.all([near, far, ...routed].flatMap(({ vm }) => [owner.v4, owner.v6].map((ip) => backWithin(vm, ip, 1200))));
      for (const { vm } of [near, far]) {
        expect(await vm.arping(owner.v4)).toEqual([macOf(to)]);
        await vm.exec(["ip", "neigh", "flush", "dev", "eth0"]);
        for (const ip of [owner.v4, owner.v6]) await reaches(vm, ip);
        expect((await vm.exec(["ip", "neigh", "show", owner.v6])).stdout).toContain(macOf(to));
      }
    }
  }, 120_000);
});
