// Machines that are more than one to the network: bridges with others behind them, and pairs of routers that share an address by VRRP (Debian's keepalived).
import { writeFile } from "node:fs/promises";
import { buildGratuitousArp } from "packet-codec";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import { Outside, type Vm } from "../../../lab/vm.ts";
import { Cloud, type Instance, type Net } from "../../support/cloud.ts";
import { sendRaw } from "../../support/api/raw.ts";

/** Beyond what a port may have learned of it. */
const FLOOD = 10_000;
const LEARNED_OF_A_PORT = 256;
/** What machines lose of a neighbour that moves: the least time in which Linux takes news of one, and some. */
const MOVED_MS = 1200;

let cloud: Cloud;
let net: Net;
let open: readonly string[];
/** Secured, on hv1 and hv3; and behind a router, on hv3. */
let near: Instance;
let far: Instance;
let routed: Instance;
/** Without port security, on hv2. */
let noisy: Instance;

beforeAll(async () => {
  cloud = await Cloud.create({ name: "appliances.test", hypervisors: 3 });
  net = await cloud.network("10.0.0.0/24");
  const other = await cloud.network("10.0.9.0/24");
  await cloud.router([net, other]);
  const all = await cloud.create("security_group", { name: "all" });
  for (const ethertype of ["IPv4", "IPv6"]) await cloud.create("security_group_rule", { security_group_id: all.id, direction: "ingress", ethertype });
  open = [all.id];
  [near, far, routed] = [await cloud.instance(cloud.hv(1), net, secured()), await cloud.instance(cloud.hv(3), net, secured()), await cloud.instance(cloud.hv(3), other, secured())];
  noisy = await unsecured(2);
});
afterAll(async () => cloud?.destroy());

const secured = (more: Record<string, unknown> = {}) => ({ port: { security_groups: open, ...more } });

const unsecured = (hv: number): Promise<Instance> => cloud.instance(cloud.hv(hv), net, { configure: false, port: { port_security_enabled: false, security_groups: [] } });
const NOISE = "52:54:00:0c";
/** Frames to all from so many MACs that nobody has. */
const noise = (macs: number): Promise<void> => sendRaw(noisy.vm, Array.from({ length: macs }, (_, n) => Buffer.from(`ffffffffffff${NOISE.replaceAll(":", "")}${n.toString(16).padStart(4, "0")}88b5${"41".repeat(50)}`, "hex")));
const known = async (hv: number, lead: string): Promise<number> => (await cloud.hv(hv).ofctl("dump-flows", "br-int")).split("\n").filter((l) => l.includes("actions=") && l.includes(`dl_dst=${lead}`)).length;

const everybody = (): Instance[] => [near, far, routed];
const reached = (from: Vm, ip: string): Promise<boolean> => until(`an answer of ${ip}`, () => from.reaches(ip), { timeoutMs: 10_000 });

describe("bridges with machines behind them", () => {
  let sides: readonly [Instance, Instance];
  let machines: readonly Outside[];
  const macOf = (n: number): string => `52:54:00:0b:00:0${n}`;
  const ipOf = (n: number): string => `10.0.0.21${n}`;

  /** A machine of its own behind a VM's bridge. */
  async function behind(vm: Vm, name: string, n: number): Promise<Outside> {
    const machine = new Outside(cloud.lab, name);
    await machine.create("br0", vm.netns, `to-${name}`, macOf(n));
    await machine.configure("link set eth0 mtu 1400");
    await machine.setAddress(`${ipOf(n)}/24`, net.subnet.gateway_ip as string);
    return machine;
  }
  beforeAll(async () => {
    sides = [await unsecured(1), await unsecured(2)];
    for (const { vm } of sides) await vm.configure("link add br0 type bridge", "link set br0 up", "link set eth0 master br0");
    machines = [await behind(sides[0].vm, "m1", 1), await behind(sides[0].vm, "m2", 2), await behind(sides[1].vm, "m3", 3), await behind(sides[1].vm, "m4", 4)];
  });

  test("all reach all, also by a router", async () => {
    for (const [i, machine] of machines.entries()) {
      for (const { vm } of everybody()) await reached(vm, ipOf(i + 1));
      for (const to of [...everybody().map((i) => i.ip), ...machines.map((_, n) => ipOf(n + 1)).filter((_, n) => n !== i)]) expect((await machine.ping(to, { count: 2 })).received, `${machine.name} -> ${to}`).toBeGreaterThan(0);
    }
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("a machine that comes to the other bridge, with its MAC and address, is found there", async () => {
    const pings = everybody().map(({ vm }) => vm.pingStart(ipOf(1), { intervalMs: 20 }));
    await until("answers", () => pings.every((p) => p.received > 20));
    await sides[0].vm.configure("link del to-m1");
    const moved = await behind(sides[1].vm, "m1b", 1);
    const before = pings.map((p) => p.received);
    await moved.exec(["arping", "-U", "-c", "1", "-I", "eth0", ipOf(1)], { allowFailure: true });
    await until("answers from there", () => pings.every((p, i) => p.received > before[i]! + 20), { timeoutMs: 10_000 });
    const lost = await Promise.all(pings.map(async (p) => (await p.stop()).longestGapMs));
    expect(Math.max(...lost)).toBeLessThanOrEqual(MOVED_MS);
  }, 60_000);

  test("one that sends from ten thousand MACs fills its own share and nothing else: others lose nothing", async () => {
    const pings = [near.vm.pingStart(far.ip, { intervalMs: 20 }), near.vm.pingStart(ipOf(2), { intervalMs: 20 }), routed.vm.pingStart(near.ip, { intervalMs: 20 })];
    await until("answers", () => pings.every((p) => p.received > 5));
    await noise(FLOOD);
    await until("what is learned of it", async () => (await known(1, NOISE)) > 0 && (await known(2, NOISE)) > 0, { timeoutMs: 5000 });
    for (const hv of [1, 2, 3]) expect(await known(hv, NOISE)).toBeLessThanOrEqual(LEARNED_OF_A_PORT);
    const stats = await Promise.all(pings.map((p) => p.stop()));
    for (const ping of stats) expect(ping.longestGapMs).toBeLessThanOrEqual(MOVED_MS);
    // Known before, and still; and what is no more learned of it is reached all the same.
    for (const { vm } of everybody()) for (const n of [2, 3, 4]) await reached(vm, ipOf(n));
    expect(await cloud.differences()).toBe("");
  }, 60_000);
});

const VIP = "10.0.0.200";
const VMAC = "00:00:5e:00:01:0a";
/** How a pair is configured, and what its ports have to have. By the virtual MAC machines send their advertisements, and say who has the address; Linux answers by the port's own. */
const ways: readonly { readonly name: string; readonly lines: readonly string[]; readonly pairs: (own: string) => Record<string, string>[] }[] = [
  { name: "with the MACs of its ports", lines: [], pairs: () => [{ ip_address: VIP }] },
  { name: "with the virtual MAC", lines: ["use_vmac vrrp10"], pairs: (own) => [{ ip_address: VIP }, { ip_address: VIP, mac_address: VMAC }, { ip_address: own, mac_address: VMAC }] },
];

describe.each(ways)("a pair that shares an address by VRRP, $name", ({ lines, pairs }) => {
  let pair: readonly [Instance, Instance];
  let daemons: Running[] = [];
  let starts = 0;

  async function start({ vm }: Instance, priority: number): Promise<Running> {
    const conf = `${cloud.lab.dir}/${vm.name}.keepalived.${++starts}`;
    await writeFile(conf, [
      "global_defs {", "vrrp_version 3", "}", "vrrp_instance pair {", "state BACKUP", "interface eth0", "virtual_router_id 10", `priority ${priority}`, "advert_int 0.1", ...lines, "virtual_ipaddress {", `${VIP}/24`, "}", "}", "",
    ].join("\n"));
    const run = vm.spawn(["keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp", `--use-file=${conf}`, `--pid=${conf}.pid`, `--vrrp_pid=${conf}.vrrp`]);
    daemons.push(run);
    return run;
  }
  const master = (run: Running): Promise<string> => run.waitFor(/Entering MASTER STATE/, 10_000);
  /** As if its power were cut: it says nothing more. */
  async function kill({ vm }: Instance): Promise<void> {
    await vm.configure("link set eth0 down");
    for (const pid of await vm.pids()) process.kill(pid, "SIGKILL");
  }
  /** What each of them loses at most while something happens, until all are answered again. */
  async function outage(what: () => Promise<unknown>, msMax = MOVED_MS): Promise<void> {
    const pings = everybody().map(({ vm }) => vm.pingStart(VIP, { intervalMs: 20 }));
    await until("answers", () => pings.every((p) => p.received > 20));
    await what();
    const before = pings.map((p) => p.received);
    await until("answers again", () => pings.every((p, i) => p.received > before[i]! + 20), { timeoutMs: 10_000 }).catch(() => undefined);
    const lost = await Promise.all(pings.map(async (p) => (await p.stop()).longestGapMs));
    for (const ms of lost) expect(ms).toBeLessThanOrEqual(msMax);
  }

  beforeAll(async () => {
    const member = async (hv: number): Promise<Instance> => {
      const made = await cloud.instance(cloud.hv(hv), net, secured());
      await cloud.update("port", made.port.id, { allowed_address_pairs: pairs(made.ip) });
      // What the port's own MAC asks for it asks in the name of the port's own address.
      await made.vm.sysctl("net.ipv4.conf.eth0.arp_announce=2");
      return made;
    };
    pair = [await member(1), await member(2)];
    await cloud.synced();
  });
  beforeEach(async () => {
    const first = await start(pair[0], 200);
    await master(first);
    await (await start(pair[1], 100)).waitFor(/BACKUP STATE/, 10_000);
    for (const { vm } of everybody()) await reached(vm, VIP);
  });
  afterEach(async () => {
    for (const run of daemons) await run.stop("SIGKILL");
    daemons = [];
    for (const { vm, ip } of pair) {
      for (const pid of await vm.pids()) process.kill(pid, "SIGKILL");
      await vm.exec(["ip", "link", "del", "vrrp10"], { allowFailure: true });
      await vm.exec(["ip", "addr", "del", `${VIP}/24`, "dev", "eth0"], { allowFailure: true });
      await vm.setAddress(`${ip}/24`, net.subnet.gateway_ip as string);
    }
  });
  afterAll(async () => {
    for (const { port } of pair) await cloud.call("DELETE", `/v2.0/ports/${port.id}`).catch(() => undefined);
  });

  test("is reached at the other within 1.2 s of the master's death, whatever others say", async () => {
    // Advertisements arrive (224.0.0.18, protocol 112): there is one master.
    const [, second] = daemons;
    expect(second!.lines.filter((l) => l.includes("MASTER"))).toEqual([]);
    // Nobody without the pair can say that it has the address, or send from the virtual MAC.
    const own = far.port.mac_address as string;
    const thefts = [VMAC, own].flatMap((mac) => [buildGratuitousArp({ mac, address: VIP, op: "reply" }), buildGratuitousArp({ mac, address: VIP, op: "request" })]);
    const capture = await near.vm.tcpdump(`-Q in (ether src ${VMAC} and ether proto 0x88b5) or (arp and ether src ${own} and arp[14:4] == 0x0a0000c8)`);
    await outage(() => sendRaw(far.vm, [...thefts, Buffer.from(`ffffffffffff${VMAC.replaceAll(":", "")}88b5${"41".repeat(50)}`, "hex")]), 200);
    expect((await capture.stop()).lines).toEqual([]);
    // Whoever sends from more MACs than are learned of the host to which the address goes does not keep it where it was.
    await noise(2 * LEARNED_OF_A_PORT);
    await outage(async () => {
      await kill(pair[0]);
      await master(second!);
    });
  }, 60_000);

  // The last of the file: it leaves no controller.
  if (lines.length > 0) {
    test("moves by what switches learn, without a controller as well", async () => {
      await cloud.controller.stop();
      await outage(async () => {
        await kill(pair[0]);
        await master(daemons[1]!);
      });
    }, 60_000);
  }
});
