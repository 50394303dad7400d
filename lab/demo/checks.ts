// What the demo proves, each a function that makes real packets and tells what came of them.
//
// Over 400 lines: one check after the other, in the order in which the demo shows them.

import { readFile } from "node:fs/promises";
import type { Controller } from "../controller.ts";
import { exec, until } from "../exec.ts";
import type { Capture } from "../guest.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import type { DemoOptions } from "./options.ts";
import { type Outcome, messageOf, Surprise } from "./report.ts";
import type { Guest, Tenant } from "./tenants.ts";

const PINGS = 3;
/** Once others have answered, ping waits for its last answer no longer than this (or twice the longest round trip): a busy machine needs that. */
const PING_INTERVAL_MS = 200;
const IP_AND_ICMP_HEADER_BYTES = 28;
/** What several lines of findings are cut to. */
const MOST_SHOWN = 4;

export interface World {
  readonly lab: Lab;
  readonly controller: Controller;
  readonly options: DemoOptions;
  readonly hypervisors: readonly Hypervisor[];
  readonly red: Tenant;
  readonly blue: Tenant;
}

const guestsOf = ({ red, blue }: World): Guest[] => [...red.guests, ...blue.guests];
const fronts = (tenant: Tenant): Guest[] => tenant.guests.slice(0, 3);
const backOf = (tenant: Tenant): Guest => tenant.guests[3]!;
const some = (found: readonly string[]): string =>
  found.slice(0, MOST_SHOWN).join("; ") + (found.length > MOST_SHOWN ? `; and ${found.length - MOST_SHOWN} more` : "");

// ---- addresses ----

/** Every VM by the real client, and what it was told against what the API says. */
export async function dhcp(world: World): Promise<Outcome> {
  const wrong: string[] = [];
  await Promise.all(
    guestsOf(world).map(async ({ name, vm, ip, gateway, network }) => {
      try {
        const lease = await vm.dhcp({ timeoutMs: 8000 });
        const { stdout } = await vm.exec(["cat", `/sys/class/net/${vm.device}/mtu`]);
        const expect = (what: string, expected: unknown, seen: unknown): void => {
          if (String(expected) !== String(seen)) wrong.push(`${name} ${what}: expected ${String(expected)}, seen ${String(seen)}`);
        };
        expect("address", `${ip}/24`, `${lease.ip}/${lease.prefixLength}`);
        expect("router", gateway, lease.routers.join());
        expect("MTU in the lease", network.mtu, lease.mtu);
        expect("MTU of its interface", network.mtu, stdout.trim());
      } catch (error) {
        wrong.push(`${name}: ${messageOf(error)}`);
      }
    }),
  );
  const all = guestsOf(world);
  return {
    held: wrong.length === 0,
    figure: `${all.length} VMs have the API's fixed_ips, MTU ${[...new Set(all.map((guest) => guest.network.mtu))].join(", ")}`,
    ...(wrong.length > 0 && { expected: "the address, router and MTU of the API", seen: some(wrong) }),
  };
}

export async function slaac(world: World): Promise<Outcome> {
  const guests = guestsOf(world).filter((guest) => guest.ip6 !== undefined);
  const wrong: string[] = [];
  await Promise.all(
    guests.map(async ({ name, vm, ip6 }) => {
      await until(`${name} has ${ip6!}`, async () => (await vm.addresses()).includes(`${ip6!}/64`), { timeoutMs: 15_000, intervalMs: 100 }).catch(async () => {
        wrong.push(`${name} has ${(await vm.addresses()).join(", ") || "none"}, not ${ip6!}`);
      });
    }),
  );
  return {
    held: wrong.length === 0 && guests.length === 3,
    figure: `${guests.length} VMs made the API's address from the router's advertisement`,
    ...(wrong.length > 0 && { expected: "the API's addresses", seen: some(wrong) }),
  };
}

// ---- reach ----

type Pair = readonly [from: Guest, to: string];

/** Pings all pairs side by side. */
async function pings(pairs: readonly Pair[], options: { sizeBytes?: number; dontFragment?: boolean } = {}): Promise<Outcome> {
  let sent = 0;
  const rtts: number[] = [];
  const lost: string[] = [];
  await Promise.all(
    pairs.map(async ([from, to]) => {
      const { received, rttMs } = await from.vm.ping(to, { count: PINGS, intervalMs: PING_INTERVAL_MS, ...options });
      sent += PINGS;
      rtts.push(...rttMs);
      if (received < PINGS) lost.push(`${from.name} (${from.hypervisor.name}) to ${to}: ${received} of ${PINGS}`);
    }),
  );
  rtts.sort((a, b) => a - b);
  const median = rtts[Math.floor(rtts.length / 2)]?.toFixed(1) ?? "-";
  return {
    held: lost.length === 0 && pairs.length > 0,
    figure: `${pairs.length} ways, ${rtts.length} of ${sent} answered, median ${median} ms`,
    ...(lost.length > 0 && { expected: "every one answered", seen: some(lost) }),
  };
}

const pairsOf = (from: readonly Guest[], to: readonly Guest[], address: (guest: Guest) => string | undefined): Pair[] =>
  from.flatMap((one) => to.filter((other) => other !== one).flatMap((other): Pair[] => (address(other) === undefined ? [] : [[one, address(other)!]])));

export const allPairs = (tenant: Tenant): Promise<Outcome> => pings(pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip));

export const allPairs6 = (tenant: Tenant): Promise<Outcome> => pings(pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip6));

export const throughRouter = (tenant: Tenant): Promise<Outcome> =>
  pings([
    ...pairsOf(fronts(tenant), [backOf(tenant)], (guest) => guest.ip),
    ...pairsOf([backOf(tenant)], fronts(tenant), (guest) => guest.ip),
  ]);

export const routerItself = (world: World): Promise<Outcome> =>
  pings([
    ...guestsOf(world).map((guest): Pair => [guest, guest.gateway]),
    ...guestsOf(world).flatMap((guest): Pair[] => (guest.ip6 === undefined ? [] : [[guest, world.red.slaacSubnet!.gateway_ip]])),
  ]);

/** As large as the network's MTU allows, unfragmented, across hosts and through the router. */
export function fullSize(world: World): Promise<Outcome> {
  const sizeBytes = world.red.front.mtu - IP_AND_ICMP_HEADER_BYTES;
  return pings(
    [world.red, world.blue].flatMap((tenant) => [...pairsOf(fronts(tenant), fronts(tenant), (guest) => guest.ip), ...pairsOf(fronts(tenant), [backOf(tenant)], (guest) => guest.ip)]),
    { sizeBytes, dontFragment: true },
  );
}

/** The router is the first hop and says so; one hop more and the packet is there. */
export async function timeExceeded(world: World): Promise<Outcome> {
  const wrong: string[] = [];
  let ways = 0;
  const hop = async (from: Guest, to: Guest, ttl: number, expected: RegExp): Promise<void> => {
    ways++;
    const { stdout } = await from.vm.exec(["ping", "-n", "-c", "1", "-W", "2", "-t", String(ttl), to.ip], { allowFailure: true });
    if (!expected.test(stdout)) wrong.push(`${from.name} to ${to.ip} with TTL ${ttl}: ${stdout.trim().split("\n").slice(1, 2).join("") || "nothing"}`);
  };
  await Promise.all(
    [world.red, world.blue].map(async (tenant) => {
      const [near, far] = [fronts(tenant)[0]!, backOf(tenant)];
      await hop(near, far, 1, new RegExp(`From ${near.gateway.replaceAll(".", "\\.")}\\D.*[Tt]ime to live exceeded`));
      await hop(near, far, 2, new RegExp(`bytes from ${far.ip.replaceAll(".", "\\.")}:`));
      await hop(far, near, 1, new RegExp(`From ${far.gateway.replaceAll(".", "\\.")}\\D.*[Tt]ime to live exceeded`));
    }),
  );
  return {
    held: wrong.length === 0,
    figure: `TTL 1 ends at the router, TTL 2 arrives (${ways - wrong.length} of ${ways})`,
    ...(wrong.length > 0 && { expected: "time to live exceeded from the gateway, then an answer", seen: some(wrong) }),
  };
}

// ---- isolation ----

export interface Noise {
  /** What each VM's interface saw. */
  readonly seen: ReadonlyMap<Guest, readonly string[]>;
}

/** Both tenants at once, as loud as they can be: unicast, ARP, broadcast, multicast; captured at every VM. */
export async function noise(world: World, waiting: (awaited: string) => void): Promise<Noise> {
  const captures = new Map<Guest, Capture>();
  await Promise.all(guestsOf(world).map(async (guest) => captures.set(guest, await guest.vm.tcpdump())));
  waiting("pings, ARP, broadcasts of both tenants");
  await Promise.all(
    [world.red, world.blue].flatMap((tenant) =>
      fronts(tenant).map(async (guest) => {
        const run = (...argv: string[]): Promise<unknown> => guest.vm.exec(argv, { allowFailure: true, timeoutMs: 10_000 });
        await run("ping", "-n", "-b", "-c", "3", "-i", "0.1", "-W", "0.3", "10.0.0.255");
        await run("ping", "-n", "-c", "3", "-i", "0.1", "-W", "0.3", `ff02::1%${guest.vm.device}`);
        await guest.vm.arping("10.0.0.250"); // nobody's
        await Promise.all([...fronts(world.red), ...fronts(world.blue)].map((other) => guest.vm.ping(other.ip, { count: 2, intervalMs: 50, timeoutMs: 300 })));
      }),
    ),
  );
  const seen = new Map<Guest, readonly string[]>();
  await Promise.all([...captures].map(async ([guest, capture]) => seen.set(guest, (await capture.stop()).lines)));
  return { seen };
}

/** That none of `watched`'s VMs saw a packet of `loud`, though they saw each other's broadcasts. */
export function isolation({ seen }: Noise, watched: Tenant, loud: Tenant): Outcome {
  const foreign: string[] = [];
  let packets = 0;
  for (const guest of watched.guests) {
    for (const line of seen.get(guest) ?? []) {
      packets++;
      if (loud.macs.some((mac) => line.includes(mac))) foreign.push(`${guest.name}: ${line}`);
    }
  }
  const deaf: string[] = [];
  for (const guest of fronts(watched)) {
    for (const other of fronts(watched)) {
      if (other === guest) continue;
      if (!seen.get(guest)!.some((line) => line.includes(`${other.port.mac_address} >`) && line.includes("10.0.0.255: ICMP echo request"))) deaf.push(`${guest.name} not ${other.name}'s`);
    }
  }
  return {
    held: foreign.length === 0 && deaf.length === 0 && packets > 0,
    figure: `${foreign.length} of ${packets} packets seen by ${watched.name}'s VMs are ${loud.name}'s; broadcasts of its own all arrived`,
    ...(foreign.length > 0
      ? { expected: `no packet with one of ${loud.name}'s MACs`, seen: some(foreign) }
      : deaf.length > 0 && { expected: "every VM sees the broadcasts of its own network", seen: `missing: ${some(deaf)}` }),
  };
}

/** An address that only blue has: red's packets for it find nobody, blue's do. */
export async function foreignAddress({ red, blue }: World): Promise<Outcome> {
  const target = blue.plan.ownAddress!;
  const [red1, blue1] = [red.guests[0]!, blue.guests[0]!];
  const [ping, arp, own] = await Promise.all([
    red1.vm.ping(target, { count: 3, intervalMs: 100, timeoutMs: 500 }),
    red1.vm.arping(target),
    blue1.vm.ping(target, { count: 3, intervalMs: PING_INTERVAL_MS }),
  ]);
  return {
    held: ping.received === 0 && arp.length === 0 && own.received === 3,
    figure: `${target} from red: ${ping.received} of 3 answered, ${arp.length} ARP answers; from blue: ${own.received} of 3`,
    expected: "none from red, all from blue",
  };
}

/** The API shows a project nothing of another's. */
export async function foreignResources({ red, blue }: World): Promise<Outcome> {
  const [one, list] = await Promise.all([
    red.raw("GET", `/v2.0/ports/${blue.guests[0]!.port.id}`),
    red.call<{ networks: { project_id: string }[] }>("GET", "/v2.0/networks", undefined, 200),
  ]);
  const foreign = list.networks.filter((network) => network.project_id !== red.name).length;
  return {
    held: one.status === 404 && foreign === 0 && list.networks.length === 2,
    figure: `red sees ${list.networks.length} networks, ${foreign} foreign; blue's port is ${one.status} to it`,
    expected: "2 networks, none foreign, 404",
  };
}

// ---- security groups ----

export async function sshAndRemoteGroup({ red }: World): Promise<Outcome> {
  const [red1, red2] = [red.guests[0]!, red.guests[1]!];
  const web = backOf(red);
  const servers = await Promise.all([red2.vm.listen(22), red2.vm.listen(8080)]);
  const [ssh, member, stranger] = await Promise.all([
    web.vm.connectTcp(red2.ip, 22, 2000),
    red1.vm.connectTcp(red2.ip, 8080, 2000),
    web.vm.connectTcp(red2.ip, 8080, 1000),
  ]);
  await Promise.all(servers.map((server) => server.close()));
  const say = (open: boolean): string => (open ? "open" : "closed");
  return {
    held: ssh && member && !stranger,
    figure: `tcp/22 from a stranger ${say(ssh)}, tcp/8080 from a member ${say(member)}, from a stranger ${say(stranger)}`,
    expected: "open, open, closed",
  };
}

/** A rule comes and goes: new connections follow it, and so does one that was established meanwhile. */
export async function ruleOpensAndCloses({ red }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const client = red.guests[0]!;
  const server = backOf(red);
  const listening = await server.vm.listen(80);
  const open = (timeoutMs: number): Promise<boolean> => client.vm.connectTcp(server.ip, 80, timeoutMs);
  if (await open(700)) throw new Surprise("tcp/80 closed before there is a rule", "it opens");
  const rule = await red.addRule(red.groups.web, { protocol: "tcp", port_range_min: 80, port_range_max: 80, remote_ip_prefix: "10.0.0.0/24" });
  const added = performance.now();
  waiting("tcp/80 open once there is a rule");
  await until("tcp/80 open once there is a rule", () => open(300), { timeoutMs: 5000, intervalMs: 10 });
  const openMs = Math.round(performance.now() - added);
  const connection = await client.vm.openTcp(server.ip, 80);
  if (!(await connection.echo("hello"))) throw new Surprise("an established connection carries data", "no echo");
  await red.call("DELETE", `/v2.0/security-group-rules/${rule}`, undefined, 204);
  const removed = performance.now();
  waiting("an established connection stops when its rule goes");
  let lastEcho = removed;
  while (await connection.echo("still there?", 700)) {
    lastEcho = performance.now();
    if (lastEcho - removed > 5000) throw new Surprise("an established connection stops when its rule goes", "its data is echoed 5 s later");
  }
  if (await open(700)) throw new Surprise("tcp/80 closed after its rule is gone", "it opens");
  if (await connection.echo("and now?", 700)) throw new Surprise("the established connection stays cut", "its data is echoed");
  await Promise.all([connection.close(), listening.close()]);
  const last = lastEcho === removed ? "with it" : `${Math.round(lastEcho - removed)} ms after it`;
  return { held: true, figure: `tcp/80 closed; open ${openMs} ms after the rule came; closed when it went, the established connection ${last}` };
}

// ---- the overlay and the flows ----

const FILTER = { geneve: "udp port 6081", vxlan: "udp port 4789", gre: "ip proto 47 or ip6 proto 47" } as const;

/** The first line of a packet in tcpdump's output. */
const PACKET = /^\d+\.\d+ IP/;

/** Counts the packets between hosts while `body` runs. Only the wanted encapsulation carries VMs' traffic. */
export async function underlay(world: World, body: () => Promise<void>): Promise<Outcome> {
  const { lab, options } = world;
  let count = 0;
  const other: string[] = [];
  const running = lab.node.spawn(
    ["tcpdump", "-l", "-n", "-q", "-tt", "--immediate-mode", "-i", "bru", ...FILTER[options.encap].split(" ")],
    {
      onLine: (line) => {
        if (PACKET.test(line)) count++;
      },
    },
  );
  const foreign = lab.node.spawn(
    ["tcpdump", "-l", "-n", "-q", "-tt", "--immediate-mode", "-i", "bru", "net", "10.0.0.0/16"],
    {
      onLine: (line) => {
        if (PACKET.test(line)) other.push(line);
      },
    },
  );
  await Promise.all([running.waitFor(/listening on/), foreign.waitFor(/listening on/)]);
  await body();
  await Promise.all([running.stop("SIGINT"), foreign.stop("SIGINT")]);
  const rows = await Promise.all(
    world.hypervisors.map(async (hypervisor) => (await hypervisor.vsctl("--bare", "--columns=name", "find", "Interface", `type=${options.encap}`)).split("\n").filter(Boolean).length),
  );
  return {
    held: count > 0 && other.length === 0 && rows.every((number) => number > 0),
    figure: `${count} ${options.encap} packets between hosts over ${options.underlay}, ${other.length} outside of a tunnel`,
    expected: `${options.encap} packets, none outside, a tunnel port on each host`,
    ...(other.length > 0 ? { seen: some(other) } : { seen: `${count} packets, tunnel ports: ${rows.join(", ")}` }),
  };
}

interface DumpedFlow {
  readonly switch: string;
  readonly table: string;
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly match: string;
  readonly state: string;
  readonly resources: readonly { readonly id: string }[];
}

/** Every flow names its origin, and the dump is what the switches have. */
export async function flowDump(world: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const { controller, hypervisors } = world;
  const get = async (query: string): Promise<DumpedFlow[]> => {
    const answer = await controller.ops<{ flows: DumpedFlow[] }>("GET", `/flows?${query}`);
    if (answer.status !== 200) throw new Surprise(`GET /flows?${query}: 200`, `${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body.flows;
  };
  waiting("switches equal to what is desired");
  await until("an empty difference", async () => (await get("state=diff")).length === 0, { timeoutMs: 5000, intervalMs: 100 }).catch(async () => {
    throw new Surprise("no difference between desired and installed", some((await get("state=diff")).map((flow) => `${flow.switch} ${flow.table} ${flow.match} [${flow.state}]`)));
  });
  const flows = await get("state=installed");
  const nameless = flows.filter((flow) => [flow.app, flow.table, flow.rule, flow.about].some((name) => typeof name !== "string" || name === ""));
  if (nameless.length > 0) throw new Surprise("every flow names its app, table and rule", some(nameless.map((flow) => JSON.stringify(flow))));
  const counts = await Promise.all(
    hypervisors.map(async (hypervisor) => {
      const real = Number(/flow_count=(\d+)/.exec(await hypervisor.ofctl("dump-aggregate", "br-int"))?.[1]);
      return { name: hypervisor.systemId, real, dumped: flows.filter((flow) => flow.switch === hypervisor.systemId).length };
    }),
  );
  const port = world.red.guests[0]!.port.id;
  const caused = await get(`resource=${port}`);
  return {
    held: flows.length > 0 && counts.every(({ real, dumped }) => real === dumped) && caused.length > 0,
    figure: `${flows.length} flows of ${new Set(flows.map((flow) => flow.app)).size} apps in ${new Set(flows.map((flow) => flow.table)).size} tables, all named, as many as ovs-ofctl counts; port ${world.red.guests[0]!.name} caused ${caused.length}`,
    expected: "as many flows in the dump as on the switches, some of them caused by the port",
    seen: `${counts.map(({ name, real, dumped }) => `${name}: ${dumped} dumped, ${real} on the switch`).join("; ")}; of the port ${caused.length}`,
  };
}

// ---- the controller ----

/** Killed and started anew on what it stored, while VMs of two hosts ping: they notice nothing, nor do the switches. */
export async function killed({ controller, hypervisors, red }: World, waiting: (awaited: string) => void): Promise<Outcome> {
  const [red1, red2] = [red.guests[0]!, red.guests[1]!];
  const run = red1.vm.pingStart(red2.ip, { intervalMs: 10 });
  const began = performance.now();
  await controller.kill9();
  waiting("the controller on its old store");
  await controller.start();
  waiting("every switch compared with what is desired");
  await until("every switch in order", async () => (await switchStates(controller)).filter(({ state }) => state === "connected").length === hypervisors.length, { timeoutMs: 20_000 });
  const seconds = ((performance.now() - began) / 1000).toFixed(1);
  const { sent, received } = await run.stop();
  const metrics = String((await controller.ops("GET", "/metrics")).body);
  const flowMods = [...metrics.matchAll(/^axion_flow_mods_sent_total(?:\{.*\})? (\d+)/gm)].reduce((sum, match) => sum + Number(match[1]), 0);
  return {
    held: sent > 0 && received === sent && flowMods === 0,
    figure: `kill -9, in order again after ${seconds} s: ${received} of ${sent} pings answered meanwhile, ${flowMods} flow-mods sent`,
    expected: "every ping answered, no flow-mod",
  };
}

export async function switchStates(controller: Controller): Promise<{ id: string; state: string }[]> {
  return (await controller.ops<{ switches: { id: string; state: string }[] }>("GET", "/switches")).body.switches;
}

const PINO_ERROR = 50;

export async function noErrors(controller: Controller): Promise<Outcome> {
  const lines = (await readFile(controller.logFile, "utf8")).split("\n").filter(Boolean);
  const errors = lines.filter((line) => {
    try {
      return ((JSON.parse(line) as { level?: number }).level ?? 0) >= PINO_ERROR;
    } catch {
      return true; // the log is JSON: anything else came from a crash
    }
  });
  return { held: errors.length === 0, figure: `${errors.length} of ${lines.length} lines`, expected: "none", seen: some(errors) };
}

/** Whether the commands that checks run are there; those of the lab itself `Lab.missing` knows. */
export async function missingCommands(): Promise<string[]> {
  const found = await Promise.all(
    ["tcpdump", "arping", "udhcpc", "timeout"].map(async (command) => ((await exec(["sh", "-c", 'command -v "$0"', command], { allowFailure: true })).exitCode === 0 ? [] : [command])),
  );
  return found.flat();
}
