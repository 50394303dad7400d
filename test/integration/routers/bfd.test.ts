// A router that speaks BFD with its next hops on two external networks. These are real ones: BIRD, which routes nothing here, and may die while all else of its machine
// goes on answering. One host has VMs alone, two may have gateways.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until, type Running } from "../../../lab/exec.ts";
import type { Guest } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

/** Reached by either next hop. */
const FAR = "192.0.2.9";

interface Provider {
  readonly name: string;
  readonly network: Resource;
  /** Its addresses, and the router's gateways there. */
  readonly hops: readonly string[];
  readonly machine: Guest;
  own: readonly string[];
  bird: Running | undefined;
}

describe.skipIf(Lab.missing().length > 0)("a router that speaks BFD", () => {
  let cloud: Cloud;
  let folder: string;
  let router: Resource;
  let inside: Net;
  let a: Instance;
  let providers: readonly [Provider, Provider];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "axion-bfd-"));
    cloud = await Cloud.create({ name: "bfd", hypervisors: 3, physnets: ["one", "two"], host: (n) => (n >= 2 ? { gateway: true } : { physnets: [] }), flags: ["--audit-interval", "1"] });
    inside = await cloud.network("10.0.0.0/24");
    router = await cloud.router([inside]);
    providers = [await provider("one", "203.0.113", "2001:db8:f::1"), await provider("two", "198.51.100")];
    const answer = await cloud.call("PUT", `/v2.0/routers/${router.id}/add_external_gateways`, { router: { external_gateways: providers.map((p) => ({ network_id: p.network.id })) } });
    expect(answer.status, JSON.stringify(answer.body)).toBe(200);
    const infos = (answer.body as unknown as { router: { external_gateways: { external_fixed_ips: { ip_address: string }[] }[] } }).router.external_gateways;
    for (const [n, p] of providers.entries()) p.own = infos[n]!.external_fixed_ips.map((f) => f.ip_address);
    a = await cloud.instance(cloud.hv(1), inside);
    await cloud.synced();
    await cloud.gatewaysUsable();
    await until("an answer from outside", () => a.vm.reaches(FAR));
  }, 120_000);
  afterAll(async () => {
    await cloud?.destroy();
    await rm(folder, { recursive: true, force: true });
  });

  async function provider(name: string, prefix: string, six?: string): Promise<Provider> {
    const hops = [`${prefix}.1`, ...(six === undefined ? [] : [six])];
    const network = await cloud.create("network", { "router:external": true, "provider:network_type": "flat", "provider:physical_network": name });
    await cloud.create("subnet", { network_id: network.id, ip_version: 4, cidr: `${prefix}.0/24`, gateway_ip: hops[0], allocation_pools: [{ start: `${prefix}.10`, end: `${prefix}.99` }] });
    if (six !== undefined) await cloud.create("subnet", { network_id: network.id, ip_version: 6, cidr: "2001:db8:f::/64", gateway_ip: six });
    const machine = await cloud.lab.addOutside({ name: `provider-${name}`, physnet: name });
    await machine.configure(`addr add ${hops[0]}/24 dev eth0`, ...(six === undefined ? [] : [`addr add ${six}/64 dev eth0 nodad`]), `addr add ${FAR}/32 dev lo`, "link set lo up");
    await machine.listen(8080);
    return { name, network, hops, machine, own: [], bird: undefined };
  }

  async function startBird(p: Provider): Promise<void> {
    const pairs = p.own.map((own) => ({ own, hop: p.hops.find((hop) => hop.includes(":") === own.includes(":"))! }));
    await writeFile(join(folder, `${p.name}.conf`), [
      "log stderr all;", "router id 192.0.2.1;", "protocol device { scan time 1; }", "protocol bfd spoken { debug { states, events };",
      'interface "eth0" { min rx interval 1 s; min tx interval 1 s; idle tx interval 1 s; multiplier 3; };', ...pairs.map(({ own, hop }) => `neighbor ${own} dev "eth0" local ${hop};`), "}", "",
    ].join("\n"));
    p.bird = p.machine.spawn(["bird", "-f", "-c", join(folder, `${p.name}.conf`), "-s", join(folder, `${p.name}.ctl`), "-P", join(folder, `${p.name}.pid`)]);
  }
  async function killBird(p: Provider): Promise<void> {
    p.bird!.child.kill("SIGKILL");
    await p.bird!.exited;
    p.bird = undefined;
  }
  const birdc = async (p: Provider, ...words: string[]): Promise<string> => (await p.machine.exec(["birdc", "-s", join(folder, `${p.name}.ctl`), ...words], { allowFailure: true })).stdout;
  /** States of a next hop's sessions, by the router's address. */
  const states = async (p: Provider): Promise<Record<string, string>> => Object.fromEntries((await birdc(p, "show", "bfd", "sessions")).split("\n").filter((line) => line.includes("eth0")).map((line) => line.trim().split(/\s+/)).map(([ip, , state]) => [ip!, state!]));
  const areUp = async (p: Provider): Promise<boolean> => {
    const seen = await states(p);
    return p.own.every((own) => seen[own] === "Up");
  };
  /** All next hops speak, whatever was tried before. */
  async function speaking(): Promise<void> {
    await cloud.update("router", router.id, { enable_default_route_bfd: true });
    await cloud.synced();
    for (const p of providers) if (p.bird === undefined) await startBird(p);
    await until("all sessions to be up", async () => (await Promise.all(providers.map((p) => areUp(p)))).every(Boolean), { timeoutMs: 30_000 });
    await until("the first way", async () => (await way()) === "one", { timeoutMs: 20_000 });
  }
  /** By which provider a connection left; undefined: it was not answered. */
  async function way(): Promise<string | undefined> {
    const captures = await Promise.all(providers.map((p) => p.machine.tcpdump(`tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-ack == 0 and dst host ${FAR}`)));
    const answered = await a.vm.connectTcp(FAR, 8080, 1500);
    await sleep(100);
    const seen = await Promise.all(captures.map((c) => c.stop()));
    return answered ? providers[seen.findIndex((s) => s.count > 0)]?.name : undefined;
  }
  const problems = async (): Promise<string[]> => (await cloud.controller.ops<{ kind: string }[]>("GET", "/problems")).body.map((p) => p.kind).filter((kind) => kind === "bfd.session_down");

  test("comes up with next hops that speak, by IPv4 and IPv6; of one that does not nothing is held", async () => {
    const [first, second] = providers;
    await startBird(first);
    await cloud.update("router", router.id, { enable_default_route_bfd: true });
    await cloud.synced();
    expect(first.own).toHaveLength(2);
    await until("sessions to come up", () => areUp(first), { timeoutMs: 20_000 });
    expect(await way()).toBe("one");
    expect(await problems()).toEqual([]);
    await startBird(second);
    await until("sessions to come up", () => areUp(second), { timeoutMs: 20_000 });
    // They say so to each other from one second on.
    await sleep(2000);
    expect(await cloud.differences()).toBe("");
  }, 60_000);

  test("a next hop whose BFD dies, and nothing else, is left within seconds, and had again when it is back", async () => {
    const [first] = providers;
    await killBird(first);
    const since = Date.now();
    await until("another way", async () => (await way()) === "two", { timeoutMs: 15_000 });
    console.log(`left by the other, as connections saw it, within ${Date.now() - since} ms`);
    // Each family has a session of its own, and hears in its own time that the other is gone.
    await until("both sessions to be told of", async () => (await problems()).length === 2, { timeoutMs: 10_000 });
    for (let n = 0; n < 3; n++) expect(await way()).toBe("two");
    await startBird(first);
    const back = Date.now();
    await until("the first way again", async () => (await way()) === "one", { timeoutMs: 20_000 });
    console.log(`had again within ${Date.now() - back} ms`);
    expect(await problems()).toEqual([]);
  }, 90_000);

  test("is told when a next hop is taken out of use", async () => {
    const [first] = providers;
    await birdc(first, "disable", "spoken");
    await until("another way", async () => (await way()) === "two", { timeoutMs: 15_000 });
    await birdc(first, "enable", "spoken");
    await until("the first way again", async () => (await way()) === "one", { timeoutMs: 30_000 });
  }, 90_000);

  test("of equal routes those by a next hop that is lost are left out", async () => {
    await cloud.update("router", router.id, { enable_default_route_ecmp: true });
    await cloud.synced();
    const ways = async (count: number): Promise<Set<string | undefined>> => {
      const seen = new Set<string | undefined>();
      for (let n = 0; n < count && seen.size < 2; n++) seen.add(await way());
      return seen;
    };
    expect(await ways(24)).toEqual(new Set(["one", "two"]));
    await killBird(providers[1]);
    // Of two ways one is taken twelve times in a row once in 2,000 times.
    await until("one way alone", async () => (await ways(12)).size === 1, { timeoutMs: 30_000 });
    expect(await ways(8)).toEqual(new Set(["one"]));
    await startBird(providers[1]);
    await until("both ways again", async () => (await ways(6)).size === 2, { timeoutMs: 60_000 });
    await cloud.update("router", router.id, { enable_default_route_ecmp: false });
    await cloud.synced();
  }, 180_000);

  test("a controller that starts again within ten seconds goes on with all sessions; while there is none routes stay as they are", { tags: "long", timeout: 120_000 }, async () => {
    const [first, second] = providers;
    await speaking();
    await sleep(2500);
    const said = (): number => [first, second].flatMap((p) => p.bird!.lines).filter((line) => line.includes("changed state")).length;
    const before = said();
    await cloud.controller.stop();
    expect(await way()).toBe("one");
    await cloud.controller.start();
    await cloud.synced();
    await sleep(5000);
    expect(said()).toBe(before);
    expect(await areUp(first)).toBe(true);
    expect(await problems()).toEqual([]);
    // One that dies meanwhile is lost as soon as there is a controller.
    await cloud.controller.stop();
    await killBird(first);
    await sleep(4000);
    expect(await way()).toBe("one");
    await cloud.controller.start();
    await until("another way", async () => (await way()) === "two", { timeoutMs: 20_000 });
    await startBird(first);
    await until("the first way again", async () => (await way()) === "one", { timeoutMs: 60_000 });
  });

  test("what VMs say in the name of a next hop, and floods in the name of one, end no session of another", async () => {
    const [first, second] = providers;
    await until("all sessions to be up", async () => (await areUp(first)) && (await areUp(second)), { timeoutMs: 30_000 });
    const before = [first, second].map((p) => p.bird!.lines.length);
    // BFD in state Down, from who is no next hop.
    const liar = await cloud.instance(cloud.hv(1), inside, { port: { port_security_enabled: false, security_groups: [] } });
    const near = await cloud.instance(cloud.hv(2), inside, { port: { port_security_enabled: false, security_groups: [] } });
    const down = "20400318" + "00000fff" + "00000000" + "000f4240" + "000f4240" + "00000000";
    const lie = (guest: Guest, src: string, dst: string, count: number): Promise<unknown> =>
      guest.exec(["python3", "-c", LIE, src, dst, down, String(count)], { timeoutMs: 60_000 });
    for (const { vm } of [liar, near]) for (const p of [first, second]) await lie(vm, p.hops[0]!, p.own.find((own) => !own.includes(":"))!, 200);
    await sleep(4000);
    expect([first, second].map((p) => p.bird!.lines.length)).toEqual(before);
    // From the next hop's own machine: that is its own session's matter.
    await lie(second.machine, second.hops[0]!, second.own[0]!, 20_000);
    expect(first.bird!.lines.length).toBe(before[0]);
    expect(await areUp(first)).toBe(true);
    expect(await way()).toBe("one");
    await until("the session of the other to come up again", () => areUp(second), { timeoutMs: 60_000 });
    expect(await cloud.differences()).toBe("");
  }, 180_000);

  test("another host has the gateways: sessions go on", { tags: "long", timeout: 90_000 }, async () => {
    const [first] = providers;
    await speaking();
    await sleep(2500);
    const before = first.bird!.lines.length;
    for (const n of [2, 3]) {
      await cloud.hv(n).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=drain");
      await sleep(6000);
      await cloud.hv(n).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=true");
      await sleep(6000);
    }
    expect(first.bird!.lines.slice(before)).toEqual([]);
    expect(await areUp(first)).toBe(true);
    expect(await way()).toBe("one");
  });

  test("switched off, next hops are told that it is over, and nothing is held against those that are down", async () => {
    const [first] = providers;
    await killBird(first);
    await until("another way", async () => (await way()) === "two", { timeoutMs: 20_000 });
    await cloud.update("router", router.id, { enable_default_route_bfd: false });
    await cloud.synced();
    expect(await way()).toBe("one");
    expect(await problems()).toEqual([]);
    await until("the other to have heard", async () => !(await areUp(providers[1])), { timeoutMs: 5000 });
    expect(await cloud.differences()).toBe("");
  }, 60_000);
});

/** Sends UDP to port 3784 with TTL 255 in the name of somebody: source, destination, payload in hex, how many. */
const LIE = `
import socket, struct, sys
src, dst, data, count = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3]), int(sys.argv[4])
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
s.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
udp = struct.pack("!HHHH", 49152, 3784, 8 + len(data), 0) + data
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0xc0, 20 + len(udp), 0, 0, 255, 17, 0, socket.inet_aton(src), socket.inet_aton(dst))
for n in range(count):
    try:
        s.sendto(ip + udp, (dst, 0))
    except OSError:
        pass
`;
