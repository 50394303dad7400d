// Private VLANs on real switches, on one host and two: who is kept apart hears nothing of the other whatever that one sends, by ARP, neighbour discovery, broadcast, multicast, with neighbours that are set by
// hand, MACs that are forged and by way of the router; what the network itself serves stays reachable.
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildGratuitousArp, buildUnsolicitedNeighbourAdvertisement } from "packet-codec";
import { until } from "../../../lab/exec.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";
import { frames, sendRaw, udp } from "../../support/api/raw.ts";

const SERVICE = "169.254.169.253";
/** By name: on which host, and what it is. `b` is beside `a`, `c` elsewhere. */
const PORTS = {
  a: [1, { pvlan_type: "isolated" }], b: [1, { pvlan_type: "isolated" }], c: [2, { pvlan_type: "isolated" }],
  x: [1, { pvlan_type: "community", pvlan_community: "x" }], x2: [2, { pvlan_type: "community", pvlan_community: "x" }], y: [2, { pvlan_type: "community", pvlan_community: "y" }],
  open: [2, { pvlan_type: "promiscuous" }], plain: [1, {}],
} as const;
type Name = keyof typeof PORTS;
const NAMES = Object.keys(PORTS) as Name[];
/** Said here once more, as the words have it. */
const mayReach = (from: Name, to: Name): boolean => {
  const [f, t] = [PORTS[from][1], PORTS[to][1]] as readonly { pvlan_type?: string; pvlan_community?: string }[];
  const isOpen = (p: typeof f): boolean => p!.pvlan_type === undefined || p!.pvlan_type === "promiscuous";
  return isOpen(f) || isOpen(t) || (f!.pvlan_type === "community" && f!.pvlan_community === t!.pvlan_community);
};
const APART = NAMES.flatMap((from) => NAMES.filter((to) => from !== to && !mayReach(from, to)).map((to) => [from, to] as const));

let cloud: Cloud;
let net: Net;
let router: Resource;
const at = {} as Record<Name, Instance>;
const macOf = (name: Name): string => at[name].port.mac_address as string;
const v4 = (name: Name): string => (at[name].port.fixed_ips as { ip_address: string }[]).find((f) => !f.ip_address.includes(":"))!.ip_address;
const v6 = (name: Name): string => (at[name].port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "pvlan", flags: ["--audit-interval", "1"] });
  const network = await cloud.create("network", { pvlan: true });
  net = { network, subnet: await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" }) };
  const six = await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "fd00:1::/64", gateway_ip: "fd00:1::1" });
  router = await cloud.router([net, { network, subnet: six }]);
  const group = await cloud.create("security_group", { name: "open" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: group.id, direction: "ingress", ethertype });
  for (const [name, [hv, values]] of Object.entries(PORTS)) {
    const instance = (at[name as Name] = await cloud.instance(cloud.hv(hv), net, { port: { ...values, security_groups: [group.id], fixed_ips: [{ subnet_id: net.subnet.id }, { subnet_id: six.id }] }, configure: false }));
    await instance.vm.setAddress(`${v4(name as Name)}/24`, "10.0.0.1");
    await instance.vm.configure(`addr add ${v6(name as Name)}/64 dev eth0 nodad`);
  }
  await cloud.synced();
  await until("an answer", () => at.plain.vm.reaches(v4("open")), { timeoutMs: 20_000 });
}, 120_000);
afterAll(async () => cloud?.destroy());

test("each reaches whom it may, by both families, and nobody else", async () => {
  for (const of of [v4, v6]) {
    const reached = (await Promise.all(NAMES.map(async (from) => (await Promise.all(NAMES.filter((to) => to !== from).map(async (to) => ((await at[from].vm.reaches(of(to), { timeoutMs: 2000 })) ? [`${from} ${to}`] : [])))).flat()))).flat();
    expect(reached.sort()).toEqual(NAMES.flatMap((from) => NAMES.filter((to) => to !== from && mayReach(from, to)).map((to) => `${from} ${to}`)).sort());
  }
}, 60_000);

test("of those that are kept apart nothing comes to the other, whatever it sends; whoever may hear it does", async () => {
  const routers = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}`)).body.ports as unknown as Resource[];
  const macs = routers.map((p) => p.mac_address as string);
  // Incoming, of a MAC or address of the sender: a router would send with its own.
  const captures = await Promise.all(NAMES.map(async (name) => [name, await at[name].vm.tcpdump("-Q in")] as const));
  const senders: readonly Name[] = ["a", "c", "x", "y"];
  await Promise.all(senders.map(async (from) => {
    const vm = at[from].vm;
    const list: Buffer[] = [buildGratuitousArp({ mac: macOf(from), address: v4(from) }), buildGratuitousArp({ mac: macOf(from), address: v4(from), op: "reply" }), buildUnsolicitedNeighbourAdvertisement({ mac: macOf(from), address: v6(from) })];
    const strangers = NAMES.filter((n) => n !== from && !mayReach(from, n));
    await Promise.all(strangers.map(async (to) => {
      await vm.exec(["arping", "-I", "eth0", "-c", "1", "-w", "1", v4(to)], { allowFailure: true });
      // Its own MAC, that of somebody who may be reached, everybody's, and the router's: with the address of whom it is for.
      for (const dstMac of [macOf(to), macOf("open"), "ff:ff:ff:ff:ff:ff", "33:33:00:00:00:01", "01:00:5e:00:00:01", ...macs]) {
        for (const [src, dst] of [[v4(from), v4(to)], [v6(from), v6(to)]] as const) {
          const ends = { srcMac: macOf(from), dstMac, src, dst };
          list.push(...frames(ends, udp(ends, 4000, 4444)));
        }
      }
      // And an address that is nobody's, to its MAC.
      for (const [src, dst] of [[v4(from), "10.0.0.250"], [v4(from), "224.0.0.251"], [v6(from), "fd00:1::fa"], [v6(from), "ff02::fb"]] as const) {
        const ends = { srcMac: macOf(from), dstMac: macOf(to), src, dst };
        list.push(...frames(ends, udp(ends, 4000, 4445)));
      }
      await vm.configure(`neigh replace ${v4(to)} lladdr ${macOf(to)} dev eth0 nud permanent`, `neigh replace ${v6(to)} lladdr ${macOf(to)} dev eth0 nud permanent`);
      for (const ip of [v4(to), v6(to)]) expect((await vm.ping(ip, { count: 1, timeoutMs: 100 })).received, `${from} to ${to}`).toBe(0);
    }));
    await sendRaw(vm, list);
    // What it says to all of its link is the last of it, and heard where it may be.
    for (const dst of ["10.0.0.255", "224.0.0.1", "ff02::1"]) {
      const ends = { srcMac: macOf(from), dstMac: dst.includes(":") ? "33:33:00:00:00:01" : dst === "10.0.0.255" ? "ff:ff:ff:ff:ff:ff" : "01:00:5e:00:00:01", src: dst.includes(":") ? v6(from) : v4(from), dst };
      await sendRaw(vm, frames(ends, udp(ends, 4000, 4446)));
    }
    const ends = { srcMac: macOf(from), dstMac: "ff:ff:ff:ff:ff:ff", src: v4(from), dst: "10.0.0.255" };
    await sendRaw(vm, frames(ends, udp(ends, 4000, 4447)));
    for (const [name, capture] of captures) {
      if (name === from || !mayReach(from, name)) continue;
      await until(`what ${from} says to all at ${name}`, () => Promise.resolve(capture.lines.some((line) => line.includes(macOf(from)) && line.includes(".4447"))), { timeoutMs: 5000 });
    }
  }));
  for (const [name, capture] of captures) {
    await capture.stop();
    for (const from of senders) {
      if (from === name || mayReach(from, name)) continue;
      const heard = capture.lines.filter((line) => line.includes(`${macOf(from)} >`) || line.includes(` ${v4(from)}.`) || line.includes(` ${v4(from)} >`) || line.includes(`tell ${v4(from)}`) || line.includes(`${v6(from)}.`) || line.includes(` ${v6(from)} >`));
      expect(heard, `${name} of ${from}`).toEqual([]);
    }
  }
}, 120_000);

test("nobody is told the MAC of whom he may not reach; what the network serves is there, and the router", async () => {
  await Promise.all(APART.filter(([from]) => from === "a" || from === "x").map(async ([from, to]) => expect(await at[from].vm.arping(v4(to)), `${from} ${to}`).toEqual([])));
  expect(await at.a.vm.arping(v4("open"))).toEqual([macOf("open")]);
  await Promise.all((["a", "c", "x"] as const).map(async (name) => {
    expect((await at[name].vm.dhcp()).ip).toBe(v4(name));
    for (const ip of ["10.0.0.1", "fd00:1::1"]) expect(await at[name].vm.reaches(ip, { timeoutMs: 3000 }), `${name} ${ip}`).toBe(true);
    expect((await at[name].vm.exec(["dig", `@${SERVICE}`, "+short", "+tries=2", "+time=3", "-x", v4("open")])).stdout.trim(), name).not.toBe("");
  }));
}, 60_000);

test("a trace says why", async () => {
  const trace = async (from: Name, to: Name): Promise<{ verdict: string; cause: { reason: string; text: string } | null }> => (await cloud.controller.ops("POST", "/trace", { from: at[from].port.id, to: at[to].port.id, protocol: "icmp" })).body as never;
  for (const [from, to] of [["a", "b"], ["a", "c"], ["x", "y"], ["c", "x"]] as const) {
    const { verdict, cause } = await trace(from, to);
    expect([verdict, cause?.reason], `${from} ${to}`).toEqual(["dropped", "pvlan"]);
    expect(cause!.text).toContain(at[from].port.id);
  }
  expect((await trace("x", "x2")).verdict).toBe("delivered");
  expect((await trace("a", "open")).verdict).toBe("delivered");
});

test("a port that is another from now on reaches others at once, and not before", async () => {
  await at.a.vm.configure("neigh flush all nud permanent");
  await cloud.update("port", at.b.port.id, { pvlan_type: null });
  await cloud.renewed();
  await until("the one beside", () => at.a.vm.reaches(v4("b")), { timeoutMs: 5000 });
  await cloud.update("port", at.b.port.id, { pvlan_type: "isolated" });
  await cloud.renewed();
  expect(await at.a.vm.reaches(v4("b"), { timeoutMs: 500 })).toBe(false);
});
