// A gateway's host is drained for maintenance and had again, on a physical network: what goes by it does not notice.
// @module-tag long
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { until } from "../../../lab/exec.ts";
import type { Guest, PingRunStats } from "../../../lab/guest.ts";
import { Lab } from "../../../lab/lab.ts";
import { Cloud, type Instance, type Net, type Resource } from "../../support/cloud.ts";

const UPSTREAM = "203.0.113.1";
const BEYOND = "192.0.2.1";
const DOWNLOADS = fileURLToPath(new URL("downloads.py", import.meta.url));
const PORT = 8000;
const NIGHTLY = process.env.AXION_NIGHTLY === "1";
const ROUNDS = NIGHTLY ? 5 : 1;
const KINDS = [["flat", true], ["vlan", false], ...(NIGHTLY ? ([["flat", false], ["vlan", true]] as const) : [])] as const;
/** What a download may stand still: a retransmission or two, and a machine that is busy. */
const STANDS_MS = 2000;

/** Of who watches the gateway's host, all but itself: each takes it for gone, or for back, when the host says so. */
const WATCHERS = 3;
/** How often a round is measured on a machine that stalls: what such loses, of BFD or unread, is not the hand-over's. */
const TRIES = 3;

/** Pings, 10 ms apart, that are lost at most when a host comes to a gateway's list or goes from it: hosts do not change their groups at once. */
const STRUCK_OFF = 100;

/** Pings that were not answered, but for those that were on their way when it was stopped. */
const lostOf = ({ gaps, sent, received }: PingRunStats): number => received === 0 ? sent : gaps.filter((g) => g.firstSeq + g.count <= sent).reduce((sum, g) => sum + g.count, 0);

interface Download {
  readonly chunks: number;
  readonly longestMs: number;
  readonly error: string | null;
}

async function serve(guest: Guest): Promise<void> {
  await guest.spawn(["python3", DOWNLOADS, "serve", String(PORT)]).waitFor(/listening/);
}

async function download(guest: Guest, ip: string): Promise<() => Promise<Download>> {
  const running = guest.spawn(["python3", DOWNLOADS, "fetch", ip, String(PORT)]);
  await running.waitFor(/connected/);
  return async () => {
    await running.stop("SIGINT");
    return JSON.parse(running.lines.at(-1)!) as Download;
  };
}

describe.skipIf(Lab.missing().length > 0).each(KINDS)("a gateway on a %s network, with SNAT %s", (type, snat) => {
  let cloud: Cloud;
  let inside: Net;
  let open: Resource;
  /** On hosts that are not on the physical network. The first has a floating IP. */
  let users: [Instance, Instance];
  /** It has a floating IP, and says nothing by itself. */
  let silent: Instance;
  /** On the host that has the gateway. */
  let local: Instance;
  let machine: Guest;
  let router: Resource;
  let gateway: string;
  let floating: string;
  let silentFloating: string;
  let first: number;

  beforeAll(async () => {
    cloud = await Cloud.create({ name: `drain-${type}-${snat ? "snat" : "routed"}`, hypervisors: 4, physnets: ["ext"], host: (n) => (n >= 3 ? { gateway: true } : { physnets: [] }), flags: ["--audit-interval", "1"] });
    const made = await cloud.create("network", { "router:external": true, "provider:network_type": type, "provider:physical_network": "ext", ...(type === "vlan" && { "provider:segmentation_id": 100 }) });
    await cloud.create("subnet", { network_id: made.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: UPSTREAM, allocation_pools: [{ start: "203.0.113.10", end: "203.0.113.99" }] });
    inside = await cloud.network("10.0.0.0/24");
    router = await cloud.router([inside]);
    await cloud.update("router", router.id, { external_gateway_info: { network_id: made.id, enable_snat: snat } });
    const [port] = (await cloud.call("GET", `/v2.0/ports?device_id=${router.id}&device_owner=network:router_gateway`)).body.ports as unknown as [Resource];
    gateway = (port.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    open = await cloud.create("security_group", { name: "open" });
    await cloud.create("security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4" });
    users = [await instance(1), await instance(2)];
    silent = await instance(2);
    if (type === "flat") machine = await cloud.lab.addOutside({ name: "machine", physnet: "ext" });
    else {
      const sw = await cloud.lab.addHypervisor({ name: "sw", physnets: ["ext"] });
      const vm = await cloud.lab.addVm({ name: "machine", hypervisor: sw, bridge: "br-ext", portId: "machine", mac: "02:00:00:00:00:01" });
      await sw.vsctl("set", "Port", vm.nic.tap, "tag=100");
      machine = vm;
    }
    await machine.configure(`addr add ${UPSTREAM}/24 dev eth0`, `route add 10.0.0.0/24 via ${gateway} dev eth0`, `addr add ${BEYOND}/32 dev lo`, "link set lo up");
    const floatingOf = async ({ port: { id } }: Instance): Promise<string> => String((await cloud.create("floatingip", { floating_network_id: made.id, port_id: id })).floating_ip_address);
    [floating, silentFloating] = [await floatingOf(users[0]), await floatingOf(silent)];
    await cloud.synced();
    await settled();
    first = await preferred();
    local = await instance(first);
    await cloud.synced();
    for (const guest of [machine, silent.vm, users[1].vm]) await serve(guest);
    for (const { vm } of [...users, local]) await until("an answer from outside", () => vm.reaches(BEYOND), { timeoutMs: 20_000 });
    for (const to of [gateway, floating, silentFloating]) await until(`${to} from outside`, () => machine.reaches(to), { timeoutMs: 20_000 });
    await sleep(2000);
  }, 120_000);
  afterAll(async () => cloud?.destroy());

  const instance = (hv: number): Promise<Instance> => cloud.instance(cloud.hv(hv), inside, { port: { security_groups: [open.id] } });

  /** All who watch each other see each other alive. */
  const settled = (): Promise<boolean> =>
    until("gateways in use", async () => {
      const seen = await Promise.all(cloud.hypervisors.slice(0, 4).map((hv) => hv.vsctl("--bare", "--columns=bfd_status", "find", "Interface", "bfd:enable=true")));
      return seen.every((text) => text.split("\n").filter((l) => l !== "").every((l) => l.includes("forwarding=true")));
    }, { timeoutMs: 20_000 });

  /** Number of the hypervisor that has the gateway while all live. */
  const preferred = async (): Promise<number> => {
    const { flows } = (await cloud.controller.ops("GET", "/flows?switch=hv3&table=gateway_out&format=json")).body as { flows: { priority: number; actions: string }[] };
    return flows.some((f) => f.priority === 110 && !f.actions.includes("group")) ? 3 : 4;
  };

  const hosts = async (): Promise<{ active: string | null; hosts: { host: string }[] }> =>
    ((await cloud.call("GET", `/v2.0/routers/${router.id}?fields=axion:gateway_hosts`)).body.router as unknown as { "axion:gateway_hosts": [{ active: string | null; hosts: { host: string }[] }] })["axion:gateway_hosts"][0];
  const active = async (): Promise<string | null> => (await hosts()).active;

  /** Who pings whom. */
  const pinged = (): [name: string, from: Guest, to: string][] => [
    ["out, by a floating IP", users[0].vm, BEYOND],
    ["out, by the gateway", users[1].vm, BEYOND],
    ["out, from the host itself", local.vm, BEYOND],
    ["the gateway", machine, gateway],
    ["a floating IP", machine, floating],
    ["a silent floating IP", machine, silentFloating],
    // Who is not translated would be answered without the gateway.
    ["a floating IP from inside", users[snat ? 1 : 0].vm, silentFloating],
    ...(snat ? [] : ([["inside", machine, users[1].ip], ["inside, at the host itself", machine, local.ip]] as [string, Guest, string][])),
  ];
  const downloaded = (): [name: string, from: Guest, to: string][] => [
    ["out, by the gateway", users[1].vm, BEYOND],
    ["out, by a floating IP", users[0].vm, BEYOND],
    ["out, from the host itself", local.vm, BEYOND],
    ["from a floating IP", machine, silentFloating],
    ...(snat ? [] : ([["from inside", machine, users[1].ip]] as [string, Guest, string][])),
  ];

  const started = (): Promise<(readonly [what: string, stop: () => Promise<Download>])[]> => Promise.all(downloaded().map(async ([what, from, ip]) => [what, await download(from, ip)] as const));

  /** How long each stood, or why it ended, as text; and of whom somebody noticed. */
  async function ended(downloads: Awaited<ReturnType<typeof started>>): Promise<{ readonly text: string; readonly faults: string[] }> {
    const said: (string | number)[] = [];
    const faults: string[] = [];
    for (const [what, stop] of downloads) {
      const { error, longestMs } = await stop();
      said.push(error ?? longestMs);
      if (error !== null || longestMs >= STANDS_MS) faults.push(`download ${what}: ${error ?? `stood ${longestMs} ms`}`);
    }
    return { text: `downloads stood ${said.join(" ")} ms`, faults };
  }

  /**
   * Changes what the host says of itself while much goes on, until another has the gateway: what was lost, but for so many pings of each; and whether the
   * machine stalled, where it may be that.
   */
  async function during(value: string, to: string | null, most = 0): Promise<{ readonly faults: string[]; readonly stalled: boolean }> {
    const name = `${type}, SNAT ${String(snat)}, ${value === "" ? "no key" : value}`;
    const before = await cloud.stalls();
    const downloads = await started();
    const running = pinged().map(([what, from, ip]) => [what, from.pingStart(ip, { intervalMs: 10 })] as const);
    await sleep(500);
    if (value === "") await cloud.hv(first).vsctl("remove", "Open_vSwitch", ".", "external_ids", "axion-gateway");
    else await cloud.hv(first).vsctl("set", "Open_vSwitch", ".", `external_ids:axion-gateway=${value}`);
    await until("the last step", async () => (await active()) === to, { timeoutMs: 30_000 });
    if (value === "true") await settled();
    // The last step but one is when it is active elsewhere; the last follows, as do announcements.
    await sleep(4000);
    const lost: Record<string, number> = {};
    for (const [what, run] of running) lost[what] = lostOf(await run.stop());
    const { text, faults } = await ended(downloads);
    const after = await cloud.stalls();
    const [unread, flaps] = [after.unread - before.unread, after.flaps - before.flaps];
    console.log(`${name}: lost ${Object.values(lost).join(" ")}; ${text}; ${unread} packets not read in time, BFD changed its mind ${flaps} times`);
    return {
      faults: [...Object.entries(lost).filter(([, count]) => count > most).map(([what, count]) => `pings, ${what}: ${count} lost`), ...faults].map((fault) => `${name}: ${fault}`),
      stalled: unread > 0 || flaps > WATCHERS,
    };
  }

  test(`${ROUNDS} times drained, and had again: nothing is lost`, async () => {
    const [one, two] = (await hosts()).hosts.map((h) => h.host) as [string, string];
    // What the host remembers of these when it has the gateway again is long past: conntrack takes what they are at by then for no part of them.
    const outlasting = await started();
    const round = async (tries: number): Promise<string[]> => {
      const [there, back] = [await during("drain", two), await during("true", one)];
      const faults = [...there.faults, ...back.faults];
      if (faults.length === 0 || tries === 1 || !(there.stalled || back.stalled)) return faults;
      console.log(`once more, as the machine stalled: ${faults.join("; ")}`);
      return round(tries - 1);
    };
    for (let n = 0; n < ROUNDS; n++) expect.soft(await round(TRIES)).toEqual([]);
    const { text, faults } = await ended(outlasting);
    console.log(`${type}, SNAT ${String(snat)}, drained and had again: ${text}`);
    expect(faults).toEqual([]);
  }, 60_000 + ROUNDS * TRIES * 30_000);

  test("what VMs of a host that is drained send leaves by another", async () => {
    const [one, two] = (await hosts()).hosts.map((h) => h.host) as [string, string];
    const leaving = async (): Promise<number> => {
      const seen = cloud.hv(first).spawn(["tcpdump", "-l", "-n", "--immediate-mode", "-Q", "out", "-i", "p-ext", ...(type === "vlan" ? ["vlan", "100", "and"] : []), "icmp", "and", "dst", BEYOND]);
      await seen.waitFor(/listening on/);
      await local.vm.ping(BEYOND, { count: 5 });
      await seen.stop("SIGINT");
      return seen.lines.filter((line) => line.includes(BEYOND)).length;
    };
    expect(await leaving()).toBeGreaterThan(0);
    await cloud.hv(first).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=drain");
    await until("the last step", async () => (await active()) === two, { timeoutMs: 30_000 });
    await cloud.quiet();
    expect(await leaving()).toBe(0);
    await cloud.hv(first).vsctl("set", "Open_vSwitch", ".", "external_ids:axion-gateway=true");
    await until("the last step", async () => (await active()) === one, { timeoutMs: 30_000 });
    await settled();
    await cloud.quiet();
    expect(await leaving()).toBeGreaterThan(0);
  }, 120_000);

  test("the key taken away is a drain as well, but for a moment when the host is struck off; and set again", async () => {
    const [one, two] = (await hosts()).hosts.map((h) => h.host) as [string, string];
    const outlasting = await started();
    expect.soft((await during("", two, STRUCK_OFF)).faults).toEqual([]);
    await until("the host to be none of the gateway", async () => (await hosts()).hosts.length === 1, { timeoutMs: 30_000 });
    expect.soft((await during("true", one, STRUCK_OFF)).faults).toEqual([]);
    const { text, faults } = await ended(outlasting);
    console.log(`${type}, SNAT ${String(snat)}, struck off and set again: ${text}`);
    expect(faults).toEqual([]);
  }, 120_000);
});
