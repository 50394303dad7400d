// Addresses behind a router that the model does not list: of pairs, as single addresses, prefixes, or of several holders; of what is behind a port
// without port security. Routers ask for them, on hosts with the network and without, and keep to who said last to have them.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { buildEthernet, buildIcmpv6, buildIpv6, buildNeighbourAdvertisement, buildUnsolicitedNeighbourAdvertisement, ethertypes, ipProtocols } from "packet-codec";
import { until } from "../../../lab/exec.ts";
import type { Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

let cloud: Cloud;
let nets: readonly [Net, Net];
let router: Resource;
let open: readonly string[];
/** In the first network, on each host. What is looked for is in the second. */
let senders: readonly Instance[];

const V6 = ["fd00:a::", "fd00:b::"] as const;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "neighbours.test" });
  nets = [await cloud.network("10.0.0.0/24"), await cloud.network("10.0.1.0/24")];
  router = await cloud.router(nets);
  for (const [i, net] of nets.entries()) {
    const subnet = await cloud.create("subnet", { network_id: net.network.id, ip_version: 6, cidr: `${V6[i]}/64`, gateway_ip: `${V6[i]}1` });
    const answer = await cloud.call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id });
    expect(answer.status).toBe(200);
  }
  const all = await cloud.create("security_group", { name: "all" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
  open = [all.id];
  senders = [await instance(1, 0), await instance(2, 0)];
  await cloud.synced();
});
afterAll(async () => cloud?.destroy());

async function instance(host: 1 | 2, net: 0 | 1, port: Record<string, unknown> = {}): Promise<Instance> {
  const made = await cloud.instance(cloud.hv(host), nets[net], { port: { security_groups: open, ...port } });
  const v6 = (made.port.fixed_ips as { ip_address: string }[]).find((f) => f.ip_address.includes(":"))!.ip_address;
  await made.vm.setAddress(`${v6}/64`, `${V6[net]}1`);
  return made;
}
const add = (vm: Vm, ...addresses: string[]): Promise<unknown> => vm.configure(...addresses.map((a) => `addr add ${a} dev eth0${a.includes(":") ? " nodad" : ""}`));
const unsecured = { port_security_enabled: false, security_groups: [] };

const bytes = (text: string): Buffer => Buffer.from(text.replaceAll(":", ""), "hex");
/** A gratuitous ARP: as a request (1) or an answer (2). */
const announcement = (from: string, sha: string, op: number, ip: string): Buffer => {
  const address = Buffer.from(ip.split(".").map(Number));
  return Buffer.concat([bytes("ffffffffffff"), bytes(from), bytes("080600010800060400"), Buffer.from([op]), bytes(sha), address, bytes("ffffffffffff"), address]);
};
const sendRaw = (vm: Vm, frames: readonly Buffer[]): Promise<unknown> =>
  vm.exec(["python3", "-c", "import socket,sys\ns=socket.socket(socket.AF_PACKET,socket.SOCK_RAW)\ns.bind(('eth0',0))\nfor h in sys.argv[1:]: s.send(bytes.fromhex(h))", ...frames.map((f) => f.toString("hex"))]);

/** Another MAC behind the VM's interface, in a namespace's place: its addresses answer by it alone, and send by it alone. */
async function macvlan(vm: Vm, name: string, mac: string, v4: string, v6: string): Promise<void> {
  await vm.configure(`link add link eth0 name ${name} address ${mac} type macvlan mode bridge`);
  await vm.sysctl("net.ipv4.conf.all.arp_ignore=1", "net.ipv4.conf.all.arp_announce=2", "net.ipv4.conf.all.rp_filter=0", `net.ipv4.conf.${name}.rp_filter=0`);
  await vm.configure(`link set ${name} up`, `addr add ${v4}/24 dev ${name}`, `addr add ${v6}/64 dev ${name} nodad`);
  for (const [family, ip, prefix, gateway] of [["-4", v4, "10.0.1.0/24", "10.0.1.1"], ["-6", v6, `${V6[1]}/64`, `${V6[1]}1`]] as const) {
    await vm.exec(["ip", family, "rule", "add", "from", ip, "table", "200"]);
    await vm.exec(["ip", family, "route", "replace", prefix, "dev", name, "table", "200"]);
    await vm.exec(["ip", family, "route", "replace", "default", "via", gateway, "dev", name, "table", "200"]);
  }
}

/** The first packet is not lost either. */
async function answeredByAll(ip: string): Promise<void> {
  for (const [i, { vm }] of senders.entries()) expect((await vm.ping(ip, { count: 3, timeoutMs: 2000 })).received, `from hv${i + 1} to ${ip}`).toBe(3);
}
/** Until tunnels and gateways are known both ways: that the underlay looks for its own neighbours is no matter here. */
async function warm(...to: Instance[]): Promise<void> {
  for (const { vm } of senders) for (const ip of [`${V6[0]}1`, ...to.map((i) => i.ip)]) await until(`an answer of ${ip}`, () => vm.reaches(ip));
}

describe("an allowed pair", () => {
  test("as a prefix of full length is a single address", async () => {
    const holder = await instance(1, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.61/32" }, { ip_address: `${V6[1]}61/128` }, { ip_address: "10.0.1.62" }] });
    await add(holder.vm, "10.0.1.61/24", "10.0.1.62/24", `${V6[1]}61/64`);
    await cloud.synced();
    await warm(holder);
    for (const ip of ["10.0.1.61", "10.0.1.62", `${V6[1]}61`]) await answeredByAll(ip);
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("as a prefix: whichever of its addresses the port has", async () => {
    const holder = await instance(1, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.64/28" }, { ip_address: `${V6[1]}40/124` }] });
    await add(holder.vm, "10.0.1.66/24", "10.0.1.79/24", `${V6[1]}45/64`);
    await cloud.synced();
    await warm(holder);
    for (const ip of ["10.0.1.66", "10.0.1.79", `${V6[1]}45`]) await answeredByAll(ip);
    // None that it may not have, though it does.
    await add(holder.vm, "10.0.1.80/24");
    expect(await senders[0]!.vm.reaches("10.0.1.80", { timeoutMs: 500 })).toBe(false);
    expect(await cloud.differences()).toBe("");
    const learned = (await cloud.controller.ops<{ flows: { state: string; table: string }[] }>("GET", "/flows?switch=hv2&state=installed")).body.flows.filter((f) => f.state === "learned" && f.table === "neighbour_learned");
    expect(learned).toHaveLength(3);
    // Without the pair it is nobody's.
    await cloud.update("port", holder.port.id, { allowed_address_pairs: [] });
    await cloud.synced();
    await until("its end", async () => !(await senders[1]!.vm.reaches("10.0.1.66", { timeoutMs: 500 })), { timeoutMs: 3000 });
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test.each([["its own MAC", undefined], ["a MAC of the pair's", "00:00:5e:00:01:07"]] as const)("of several holders, with %s: the one that said so last, at once", async (_, mac_address) => {
    const pairs = { allowed_address_pairs: [{ ip_address: "10.0.1.50", ...(mac_address === undefined ? {} : { mac_address }) }, ...(mac_address === undefined ? [] : [{ ip_address: `${V6[1]}50`, mac_address }])] };
    const holders = [await instance(1, 1, pairs), await instance(2, 1, pairs)] as const;
    await cloud.synced();
    await warm(...holders);
    const device = mac_address === undefined ? "eth0" : "vrrp0";
    const take = async ({ vm }: Instance): Promise<void> => {
      if (mac_address === undefined) await add(vm, "10.0.1.50/24");
      else await macvlan(vm, device, mac_address, "10.0.1.50", `${V6[1]}50`);
      await vm.exec(["arping", "-U", "-c", "1", "-I", device, "10.0.1.50"], { allowFailure: true });
    };
    await take(holders[0]);
    await answeredByAll("10.0.1.50");
    for (const [from, to] of [[holders[0], holders[1]], [holders[1], holders[0]]] as const) {
      const pings = senders.map(({ vm }) => vm.pingStart("10.0.1.50", { intervalMs: 50 }));
      await until("answers", () => pings.every((p) => p.received > 3));
      await from.vm.configure(mac_address === undefined ? "addr del 10.0.1.50/24 dev eth0" : "link del vrrp0");
      await take(to);
      const before = pings.map((p) => p.received);
      await until("answers of the other", () => pings.every((p, i) => p.received > before[i]! + 3), { timeoutMs: 1500 });
      for (const ping of pings) await ping.stop();
    }
    // Whoever has no pair for it takes nothing, whatever it says: in its own name, in the holders', by either MAC.
    const thief = await instance(1, 1);
    const own = thief.port.mac_address as string;
    const virtual = mac_address ?? (holders[0].port.mac_address as string);
    const capture = await thief.vm.tcpdump("-Q in icmp");
    const pings = senders.map(({ vm }) => vm.pingStart("10.0.1.50", { intervalMs: 50 }));
    await sendRaw(thief.vm, [own, virtual].flatMap((mac) => [own, virtual].flatMap((sha) => [1, 2].map((op) => announcement(mac, sha, op, "10.0.1.50")))));
    await sendRaw(thief.vm, [Buffer.concat([bytes("ffffffffffff"), bytes(virtual), bytes("88b5"), Buffer.alloc(50)])]);
    await sleep(700);
    for (const ping of pings) expect((await ping.stop()).gaps).toEqual([]);
    expect((await capture.stop()).lines.filter((l) => l.includes("10.0.1.50"))).toEqual([]);
    for (const { port } of [...holders, thief]) await cloud.remove("port", port.id);
  }, 60_000);

  test("as the next hop of a static route", async () => {
    const holder = await instance(1, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.224/28" }, { ip_address: "198.51.100.0/24" }] });
    await add(holder.vm, "10.0.1.230/24", "198.51.100.7/32");
    await cloud.update("router", router.id, { routes: [{ destination: "198.51.100.0/24", nexthop: "10.0.1.230" }] });
    await cloud.synced();
    await warm(holder);
    await answeredByAll("198.51.100.7");
    await cloud.update("router", router.id, { routes: [] });
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("over IPv6 an unsolicited advertisement moves it, from one that has it as an address to one that has it in a prefix", async () => {
    const address = `${V6[1]}52`;
    const holders = [await instance(1, 1, { allowed_address_pairs: [{ ip_address: address }] }), await instance(2, 1, { allowed_address_pairs: [{ ip_address: `${V6[1]}50/124` }] })] as const;
    await cloud.synced();
    await warm(...holders);
    await add(holders[0].vm, `${address}/64`);
    await answeredByAll(address);
    for (const [from, to] of [[holders[0], holders[1]], [holders[1], holders[0]]] as const) {
      await from.vm.configure(`addr del ${address}/64 dev eth0`);
      await add(to.vm, `${address}/64`);
      const frame = buildUnsolicitedNeighbourAdvertisement({ mac: to.port.mac_address as string, address });
      await sendRaw(to.vm, [frame]);
      const pings = senders.map(({ vm }) => vm.pingStart(address, { intervalMs: 50 }));
      await until("answers of the other", () => pings.every((p) => p.received > 3), { timeoutMs: 1500 });
      for (const ping of pings) await ping.stop();
    }
    for (const { port } of holders) await cloud.remove("port", port.id);
  }, 60_000);

  test("with a MAC of its own, as one address and as a prefix", async () => {
    const mac_address = "00:00:5e:00:01:09";
    const holder = await instance(1, 1, { allowed_address_pairs: ["10.0.1.57/32", `${V6[1]}57`, "10.0.1.32/28"].map((ip_address) => ({ ip_address, mac_address })) });
    await macvlan(holder.vm, "vrrp0", mac_address, "10.0.1.57", `${V6[1]}57`);
    await holder.vm.configure("addr add 10.0.1.33/24 dev vrrp0");
    await holder.vm.exec(["ip", "rule", "add", "from", "10.0.1.33", "table", "200"]);
    await cloud.synced();
    await warm(holder);
    for (const ip of ["10.0.1.57", `${V6[1]}57`, "10.0.1.33"]) await answeredByAll(ip);
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("at a virtual MAC and at the port's own", async () => {
    const mac_address = "00:00:5e:00:01:0b";
    const holder = await instance(2, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.58", mac_address }, { ip_address: "10.0.1.58" }, { ip_address: "10.0.1.59/32" }, { ip_address: "10.0.1.59" }] });
    await add(holder.vm, "10.0.1.58/24", "10.0.1.59/24");
    await cloud.synced();
    await warm(holder);
    for (const ip of ["10.0.1.58", "10.0.1.59"]) await answeredByAll(ip);
    await holder.vm.configure("addr del 10.0.1.58/24 dev eth0");
    await macvlan(holder.vm, "vrrp0", mac_address, "10.0.1.58", `${V6[1]}5b`);
    await holder.vm.exec(["arping", "-U", "-c", "1", "-I", "vrrp0", "10.0.1.58"], { allowFailure: true });
    for (const { vm } of senders) await until("an answer by the other MAC", () => vm.reaches("10.0.1.58"), { timeoutMs: 1500 });
    await cloud.remove("port", holder.port.id);
  }, 60_000);

  test("that moves after the controller was started anew", async () => {
    const pairs = { allowed_address_pairs: [{ ip_address: "10.0.1.51" }, { ip_address: `${V6[1]}51` }] };
    const holders = [await instance(1, 1, pairs), await instance(2, 1, pairs)] as const;
    await add(holders[0].vm, "10.0.1.51/24");
    await cloud.synced();
    await warm(...holders);
    await answeredByAll("10.0.1.51");
    await cloud.controller.restart();
    await cloud.synced();
    await answeredByAll("10.0.1.51");
    await holders[0].vm.configure("addr del 10.0.1.51/24 dev eth0");
    await add(holders[1].vm, "10.0.1.51/24");
    await holders[1].vm.exec(["arping", "-U", "-c", "1", "-I", "eth0", "10.0.1.51"], { allowFailure: true });
    for (const { vm } of senders) await until("an answer of the other", () => vm.reaches("10.0.1.51"), { timeoutMs: 2000 });
    for (const { port } of holders) await cloud.remove("port", port.id);
  }, 60_000);

  test("that another port's address is a row for, which nobody plugs, as a virtual address is reserved", async () => {
    const reserved = await cloud.create("port", { network_id: nets[1].network.id, fixed_ips: [{ subnet_id: nets[1].subnet.id, ip_address: "10.0.1.55" }] });
    const holder = await instance(2, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.55" }] });
    await add(holder.vm, "10.0.1.55/24");
    await cloud.synced();
    await warm(holder);
    await answeredByAll("10.0.1.55");
    for (const port of [holder.port, reserved] as Resource[]) await cloud.remove("port", port.id);
  }, 60_000);
});

describe("behind a port without port security", () => {
  test("a second address, at its MAC and at another, is reached through the router", async () => {
    const host = await instance(1, 1, unsecured);
    await add(host.vm, "10.0.1.71/24", `${V6[1]}71/64`);
    await macvlan(host.vm, "nested1", "52:54:00:00:00:71", "10.0.1.72", `${V6[1]}72`);
    await cloud.synced();
    await warm(host);
    for (const ip of ["10.0.1.71", `${V6[1]}71`, "10.0.1.72", `${V6[1]}72`]) await answeredByAll(ip);
    // And from there.
    for (const to of senders) expect((await host.vm.exec(["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", "-I", "10.0.1.72", to.ip], { allowFailure: true })).exitCode).toBe(0);
    await cloud.remove("port", host.port.id);
  }, 60_000);

  test("what a switch was told of is for its routers: frames for it that come by a tunnel go to the ports here that may have it, and leave by none", async () => {
    const [host, member] = [await instance(2, 1, unsecured), await instance(1, 1, unsecured)];
    const mac = "52:54:00:00:00:73";
    await macvlan(host.vm, "nested3", mac, "10.0.1.73", `${V6[1]}73`);
    await cloud.synced();
    await warm(host);
    await answeredByAll("10.0.1.73");
    const hv = cloud.hv(1);
    const learned = async (): Promise<string[]> => (await hv.ofctl("dump-flows", "br-int")).split("\n").filter((l) => l.includes(`dl_dst=${mac}`));
    await until("hv1 to be told", async () => (await learned()).some((l) => l.includes("priority=50,")), { timeoutMs: 5000 });
    // As a minute after it spoke last.
    await host.vm.configure("link set nested3 down");
    await until("what was heard to be forgotten", async () => {
      const heard = (await learned()).filter((l) => l.includes("priority=100,"));
      for (const line of heard) {
        const [, table, reg] = /table=(\d+),.*priority=100,(reg0=\w+)/.exec(line)!;
        await hv.ofctl("--strict", "del-flows", "br-int", `table=${table},priority=100,${reg},dl_dst=${mac}`);
      }
      return heard.length === 0;
    }, { timeoutMs: 5000 });
    const key = /reg0=(\w+)/.exec((await learned())[0]!)![1]!;
    const from = `in_port=65101,tun_id=${key},tun_src=${cloud.hv(2).encapIp},tun_dst=${hv.encapIp},dl_src=fa:16:3e:00:00:99,dl_dst=${mac},dl_type=0x88b5`;
    const trace = await hv.appctl("ofproto/trace", "br-int", from);
    expect(trace).toContain("conj_id=1, priority 50");
    expect(/Datapath actions: (.*)/.exec(trace)![1], trace).toMatch(/^\d+$/);
    for (const { port } of [host, member]) await cloud.remove("port", port.id);
  }, 60_000);

  test("of one port switches are told so much and no more; what they are not told of is reached all the same, and others lose nothing by it", async () => {
    const greedy = await instance(1, 1, unsecured);
    const honest = await instance(2, 1, { allowed_address_pairs: [{ ip_address: "10.0.1.240/28" }] });
    await add(honest.vm, "10.0.1.241/24");
    await greedy.vm.configure(...Array.from({ length: 90 }, (_, n) => `addr add 10.0.1.${100 + n}/24 dev eth0`));
    await cloud.synced();
    await warm(greedy, honest);
    const asked = await Promise.all(Array.from({ length: 9 }, async (_, part) => {
      let received = 0;
      for (let n = 0; n < 10; n++) received += (await senders[0]!.vm.ping(`10.0.1.${100 + 10 * part + n}`, { count: 1, timeoutMs: 1000 })).received;
      return received;
    }));
    const reached = asked.reduce((a, b) => a + b, 0);
    expect(reached).toBeGreaterThan(80);
    const learned = (await cloud.controller.ops<{ flows: { state: string; table: string; match: string }[] }>("GET", "/flows?switch=hv1&state=installed")).body.flows.filter((f) => f.state === "learned" && f.table === "neighbour_learned");
    const ofPort = learned.filter((f) => /10\.0\.1\.1[0-8]\d|0x0*a0001(6[4-9a-f]|[7-9ab][0-9a-f])/.test(JSON.stringify(f)));
    expect(ofPort.length).toBe(64);
    await answeredByAll("10.0.1.241");
    for (const { port } of [greedy, honest]) await cloud.remove("port", port.id);
  }, 60_000);

  test("what no host would believe is not believed by routers: they keep to who said it as it has to be said", { tags: "long", timeout: 90_000 }, async () => {
    const [honest, liar] = [await instance(2, 1, unsecured), await instance(1, 1, unsecured)];
    const [v4, v6] = ["10.0.1.75", `${V6[1]}75`];
    for (const { vm } of [honest, liar]) {
      await add(vm, `${v4}/24`, `${V6[1]}75/64`);
      // The other one answers nobody's question, it only speaks.
      if (vm === liar.vm) await vm.configure("link set eth0 arp off", `addr del ${v4}/24 dev eth0`, `addr del ${V6[1]}75/64 dev eth0`);
    }
    await cloud.synced();
    await warm(honest);
    for (const ip of [v4, v6]) await answeredByAll(ip);
    const { mac } = liar.vm;
    const legs = (await cloud.call("GET", `/v2.0/ports?network_id=${nets[1].network.id}&device_owner=network:router_interface`)).body as unknown as { ports: Resource[] };
    const gateway = legs.ports[0]!.mac_address as string;
    const stranger = "52:54:00:00:00:75";
    const option = (address: string, length = 1): Buffer => Buffer.concat([Buffer.from([2, length]), bytes(address)]);
    const said = ({ src = mac, hop = 255, code = 0, flags = 0x20, rest = [option(src)] }: { src?: string; hop?: number; code?: number; flags?: number; rest?: Buffer[] }): Buffer => {
      const ends = { src: v6, dst: "ff02::1" };
      const body = Buffer.concat([buildNeighbourAdvertisement({ target: v6 }), ...rest]);
      body[0] = flags;
      return buildEthernet({ dst: "33:33:00:00:00:01", src, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6, hop_limit: hop }, buildIcmpv6({ type: 136, code }, body, ends)));
    };
    const damaged = said({});
    damaged[damaged.length - 1]! ^= 1;
    const foreign = announcement(mac, mac, 1, v4);
    foreign.writeUInt16BE(6, 14);
    for (const [what, ip, frame] of [
      ["of another's MAC", v4, announcement(mac, stranger, 2, v4)],
      ["as the router", v4, announcement(gateway, gateway, 2, v4)],
      ["as the other VM, which has a port", v4, announcement(liar.vm.mac, honest.vm.mac, 2, v4)],
      ["to no MAC", v4, announcement(mac, "00:00:00:00:00:00", 2, v4)],
      ["to all", v4, announcement(mac, "ff:ff:ff:ff:ff:ff", 2, v4)],
      ["as neither question nor answer", v4, announcement(mac, mac, 4, v4)],
      ["of another hardware", v4, foreign],
      ["from beyond a router", v6, said({ hop: 64 })],
      ["of another code", v6, said({ code: 1 })],
      ["damaged", v6, damaged],
      ["to all, as if they had asked", v6, said({ flags: 0x60 })],
      ["of another's MAC", v6, said({ rest: [option(stranger)] })],
      ["of two", v6, said({ rest: [option(mac), option(stranger)] })],
      ["of one of another length", v6, said({ rest: [option(mac, 2), Buffer.alloc(8)] })],
      ["of one of no length", v6, said({ rest: [option(mac, 0)] })],
      ["as the router", v6, said({ src: gateway })],
      ["to all", v6, said({ rest: [option("33:33:00:00:00:01")] })],
    ] as const) {
      await sendRaw(liar.vm, [frame]);
      // Longer than routers keep to what they were told last.
      await sleep(700);
      expect((await senders[0]!.vm.ping(ip, { count: 2, timeoutMs: 1000 })).received, `${ip}: ${what}`).toBe(2);
    }
    // As it has to be, it is.
    await sendRaw(liar.vm, [announcement(mac, mac, 2, v4), said({})]);
    const heard = await liar.vm.tcpdump("-Q in icmp or icmp6");
    for (const ip of [v4, v6]) await until(`packets to ${ip}`, async () => {
      await senders[0]!.vm.ping(ip, { count: 1, timeoutMs: 300 });
      return heard.lines.some((line) => line.includes(`> ${ip}:`) && line.includes("echo request"));
    });
    await heard.stop();
    for (const { port } of [honest, liar]) await cloud.remove("port", port.id);
  });
});
