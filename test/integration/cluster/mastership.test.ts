// Two controllers over one etcd share two hosts: each host has one master, whoever goes is replaced, and no flow and no packet is lost by it.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { haveEtcd } from "etcd-v3-client/testing";
import { startController, type Controller } from "../../../lab/controller.ts";
import { until } from "../../../lab/exec.ts";
import { Lab, type LabNode } from "../../../lab/lab.ts";
import type { Hypervisor } from "../../../lab/hypervisor.ts";
import type { PingRunStats } from "../../../lab/guest.ts";
import type { Vm } from "../../../lab/vm.ts";
import { actorFor, keyOfChassis } from "../../../src/cluster/mastership.ts";
import { SimulatedHosts, type SimulatedState } from "../../../lab/simulated/simulated.ts";
import { metricOf, nightly, UNLIMITED } from "../../support/process.ts";

interface SwitchShown {
  readonly id: string;
  readonly state: string;
  readonly role: string;
  readonly master: string | null;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number };
}

/** What of a resource is looked at here. */
interface Made {
  readonly id: string;
  readonly mtu: number;
  readonly cidr: string;
  readonly status: string;
  readonly mac_address: string;
  readonly fixed_ips: readonly { readonly ip_address: string }[];
}

/** Beside the two that are real. */
const SIMULATED = nightly ? 1000 : 30;

const ADMIN = { "x-project-id": "p1", "x-roles": "admin" };
/** A name for which the hosts are shared with `a`. */
const nameBeside = (a: string): string => {
  for (let n = 1; ; n++) {
    const pair = [a, `b${n}`];
    if (actorFor(pair, keyOfChassis("hv1")) === a && actorFor(pair, keyOfChassis("hv2")) !== a) return `b${n}`;
  }
};

let lab: Lab;
let a: Controller;
let b: Controller;
let hosts: Hypervisor[];
let start: (name: string, at: LabNode, auditS?: number) => Promise<Controller>;
let network: Made;
let subnet: Made;
const vms: { vm: Vm; ip: string; id: string }[] = [];

const switches = async (of: Controller): Promise<SwitchShown[]> => (await of.ops<{ switches: SwitchShown[] }>("GET", "/switches")).body.switches;
const metric = async (of: Controller, name: string, labels = {}): Promise<number> => metricOf((await of.ops<string>("GET", "/metrics")).body, name, labels);
/** Until `of` is the master of these, which have all that they should, and slave of the others. */
async function masters(of: Controller, ...ids: string[]): Promise<void> {
  let last: SwitchShown[] = [];
  await until(`${of.name} to be the master of ${ids.join(" and ") || "none"}`, async () => {
    last = await switches(of);
    return last.length === hosts.length && last.every((s) => (ids.includes(s.id) ? s.role === "master" && s.state === "connected" && s.flows.pending === 0 && s.flows.installed === s.flows.desired : s.role === "slave" && s.state === "standby"));
  }, { timeoutMs: 30_000 }).catch(async (error: unknown) => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(last, undefined, 1)}\n${a.lines.slice(-30).join("\n")}\n--\n${b.lines.slice(-30).join("\n")}\n${await hosts[0]!.vsctl("show")}`);
  });
}
/** But for what switches learn of machines by themselves, which ages: whenever one speaks there is more of it. */
const dumps = (): Promise<string[][]> => Promise.all(hosts.map(async (hv) => (await hv.ofctl("--no-stats", "dump-flows", "br-int")).split("\n").filter((line) => !/ hard_timeout=\d+, priority/.test(line))));
/** Until Open vSwitch itself says so, which it does every few seconds. */
const shared = (hv: Hypervisor): Promise<boolean> => until(`one master of ${hv.name}`, async () => (await hv.vsctl("--bare", "--columns=role", "list", "Controller")).split("\n").filter((l) => l !== "").sort().join() === "master,slave", { timeoutMs: 20_000 });

async function create(of: Controller, resource: string, values: object): Promise<Made> {
  const answer = await of.api<Record<string, Made>>("POST", `/v2.0/${resource}s`, { [resource]: values }, ADMIN);
  expect(answer.status, JSON.stringify(answer.body)).toBe(201);
  return answer.body[resource]!;
}
async function plug(of: Controller, hv: Hypervisor): Promise<(typeof vms)[number]> {
  const port = await create(of, "port", { network_id: network.id });
  const vm = await lab.addVm({ name: `vm${vms.length + 1}`, hypervisor: hv, portId: port.id, mac: port.mac_address, mtu: network.mtu });
  const ip = port.fixed_ips[0]!.ip_address;
  await vm.setAddress(`${ip}/24`);
  await until(`${port.id} ACTIVE`, async () => (await of.api<{ port: Made }>("GET", `/v2.0/ports/${port.id}`, undefined, ADMIN)).body.port.status === "ACTIVE", { timeoutMs: 20_000 }).catch(async (error: unknown) => {
    throw new Error(`${(error as Error).message}: ${JSON.stringify(await switches(of))}\n${of.lines.slice(-30).join("\n")}`);
  });
  vms.push({ vm, ip, id: port.id });
  return vms.at(-1)!;
}
const whole = (stats: PingRunStats): void => {
  expect(stats.sent).toBeGreaterThan(20);
  // The last ones may have been on their way when the run was stopped, on a busy machine more than one.
  expect(stats.gaps.filter(({ firstSeq, count }) => firstSeq + count <= stats.sent)).toEqual([]);
};

describe.skipIf(!haveEtcd)("two controllers, one etcd", () => {
  beforeAll(async () => {
    lab = await Lab.create({ name: "mastership.test" });
    const etcd = `http://${lab.node.ip}:2379`;
    const peer = `http://${lab.node.ip}:2380`;
    const running = lab.node.spawn(["etcd", "--name", "m0", "--data-dir", `${lab.dir}/etcd`, "--listen-client-urls", etcd, "--advertise-client-urls", etcd, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", `m0=${peer}`], { logFile: `${lab.dir}/etcd.log` });
    await running.waitFor(/ready to serve client requests|serving insecure client requests/, 20_000);
    const node = await lab.addNode("second");
    start = (name, at, auditS = 1) =>
      startController(lab, { name, node: at, env: UNLIMITED, readyTimeoutMs: 60_000, flags: ["--store", `etcd://${lab.node.ip}:2379`, "--name", name, "--advertise", at.ip, "--audit-interval", String(auditS)] });
    [a, b, ...hosts] = await Promise.all([start("a", lab.node), start(nameBeside("a"), node), lab.addHypervisor({ name: "hv1" }), lab.addHypervisor({ name: "hv2" })]);
    // The operator names one of them; that one tells the hosts of the other.
    for (const hv of hosts) await hv.setManager(a.manager);
  }, 120_000);
  afterAll(async () => lab?.destroy());

  test("each host has one master, is told of both, and either API serves ports on both", async () => {
    await Promise.all([masters(a, "hv1"), masters(b, "hv2")]);
    await Promise.all(hosts.map((hv) => shared(hv)));
    for (const hv of hosts) {
      expect((await hv.vsctl("get-manager")).split("\n").sort()).toEqual([a.manager, b.manager].sort());
    }
    network = await create(a, "network", { name: "n" });
    subnet = await create(b, "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    expect(subnet.cidr).toBe("10.0.0.0/24");
    // Each by the API of the one that is not its host's master.
    const [one, two] = [await plug(b, hosts[0]!), await plug(a, hosts[1]!)];
    await until("the first answer", () => one.vm.reaches(two.ip));
    const { body } = await b.ops<{ members: { name: string; state: string; switches: number }[] }>("GET", "/cluster");
    expect(body).toMatchObject({ name: b.name, lease: true });
    expect(body.members.map((m) => [m.name, m.state, m.switches])).toEqual([["a", "serving", 1], [b.name, "serving", 1]]);
    // Who asks a controller that is not the master waits for the one that is.
    const answer = await b.api("POST", "/v2.0/ports?wait=dataplane&timeout=10", { port: { network_id: network.id } }, ADMIN);
    expect([answer.status, answer.headers["x-axion-dataplane"]]).toEqual([201, "confirmed"]);
  }, 60_000);

  test("and for what the master writes to its host's database: an answer says that it is there when it is", async () => {
    const [hv] = hosts as [Hypervisor];
    const url = "/v2.0/taas/tap_mirrors";
    const mirror = async (key: number, timeoutS: number): Promise<{ id: string; said: unknown[] }> => {
      const values = { port_id: vms[0]!.id, remote_ip: "198.51.100.7", mirror_type: "gre", directions: { IN: key } };
      const { status, body, headers } = await b.api<{ tap_mirror: Made }>("POST", `${url}?wait=dataplane&timeout=${timeoutS}`, { tap_mirror: values }, ADMIN);
      return { id: body.tap_mirror.id, said: [status, headers["x-axion-dataplane"], headers["x-axion-pending-hosts"]] };
    };
    const tunnels = async (): Promise<number> => (await hv.vsctl("list-ports", "br-int")).split("\n").filter((name) => name.startsWith("axion-tap-")).length;
    // hv1 is a's, whose switch takes flows while its database does not answer.
    const pid = await hv.ovsdbPid();
    process.kill(pid, "SIGSTOP");
    const first = await mirror(1, 2).finally(() => process.kill(pid, "SIGCONT"));
    expect(first.said).toEqual([201, "pending", "hv1"]);
    const second = await mirror(2, 20);
    expect([second.said, await tunnels()]).toEqual([[201, "confirmed", undefined], 2]);
    for (const [{ id }, left] of [[first, 1], [second, 0]] as const) {
      const gone = await b.api("DELETE", `${url}/${id}?wait=dataplane&timeout=20`, undefined, ADMIN);
      expect([gone.status, gone.headers["x-axion-dataplane"], await tunnels()]).toEqual([204, "confirmed", left]);
    }
  }, 60_000);

  test("what a switch hears each controller knows: whether tunnels to hosts of the other carry anything, and who there has an address that the model does not list", async () => {
    const far = await create(a, "network", { name: "far" });
    const farSubnet = await create(a, "subnet", { network_id: far.id, ip_version: 4, cidr: "10.1.0.0/24" });
    const router = await create(a, "router", { name: "r" });
    for (const { id } of [subnet, farSubnet]) expect((await a.api("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: id }, ADMIN)).status).toBe(200);
    const port = await create(b, "port", { network_id: far.id, allowed_address_pairs: [{ ip_address: "10.1.0.64/26" }] });
    const vm = await lab.addVm({ name: "far", hypervisor: hosts[1]!, portId: port.id, mac: port.mac_address, mtu: far.mtu });
    await vm.setAddress([`${port.fixed_ips[0]!.ip_address}/24`, "10.1.0.77/24"], "10.1.0.1");
    await vms[0]!.vm.setAddress(`${vms[0]!.ip}/24`, "10.0.0.1");
    // hv1, where it is asked for, is a's, and the machine is at b's.
    await until("an answer of who is not listed", () => vms[0]!.vm.reaches("10.1.0.77"), { timeoutMs: 20_000 });
    for (const [of, from] of [[a, "hv1"], [b, "hv2"]] as const) {
      await until(`tunnels from ${from}`, async () => (await of.ops<{ from: string; state: string }[]>("GET", "/tunnels")).body.some((t) => t.from === from && t.state === "up"), { timeoutMs: 20_000 });
      expect((await of.ops<{ kind: string }[]>("GET", "/problems")).body.map(({ kind }) => kind).filter((kind) => /tunnel|host_cut|forged/.test(kind))).toEqual([]);
    }
  }, 90_000);

  test("a master is killed: the other one takes its host with no flow-mod and no packet lost, and gives it back when it is there again", async () => {
    const ping = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
    await until("answers", () => ping.received > 20);
    const [before, sent] = [await dumps(), await metric(b, "axion_flow_mods_sent_total")];
    await a.kill9();
    await masters(b, "hv1", "hv2");
    expect(await metric(b, "axion_flow_mods_sent_total")).toBe(sent);
    expect(await dumps()).toEqual(before);
    whole(await ping.stop());
    expect((await b.ops<unknown[]>("GET", "/problems")).body).toEqual(expect.arrayContaining([expect.objectContaining({ kind: "member_gone" })]));
    const third = await plug(b, hosts[0]!);
    await until("the new one", () => third.vm.reaches(vms[1]!.ip));

    const again = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
    await until("answers", () => again.received > 20);
    const now = await dumps();
    const told = await metric(b, "axion_flow_mods_sent_total");
    await a.start();
    await Promise.all([masters(a, "hv1"), masters(b, "hv2")]);
    expect([await metric(a, "axion_flow_mods_sent_total"), await metric(b, "axion_flow_mods_sent_total")]).toEqual([0, told]);
    expect(await dumps()).toEqual(now);
    whole(await again.stop());
  }, 90_000);

  test("a master is stopped, and goes on when another one has what it had: it changes nothing", async () => {
    const ping = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
    await until("answers", () => ping.received > 20);
    process.kill(a.pid, "SIGSTOP");
    await masters(b, "hv1", "hv2");
    whole(await ping.stop());
    // Of which the one that is stopped knows nothing.
    const fourth = await plug(b, hosts[0]!);
    await until("the new one", () => fourth.vm.reaches(vms[1]!.ip));
    const before = await dumps();
    const again = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
    await until("answers", () => again.received > 20);
    process.kill(a.pid, "SIGCONT");
    await Promise.all([masters(a, "hv1"), masters(b, "hv2")]);
    expect(await dumps()).toEqual(before);
    expect(await metric(a, "axion_flow_mods_sent_total")).toBe(0);
    for (const { id } of vms) expect((await a.api<{ port: Made }>("GET", `/v2.0/ports/${id}`, undefined, ADMIN)).body.port.status).toBe("ACTIVE");
    whole(await again.stop());
  }, 90_000);

  test("a controller that is stopped in order hands over before it goes", async () => {
    const ping = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
    await until("answers", () => ping.received > 20);
    const [before, sent] = [await dumps(), await metric(b, "axion_flow_mods_sent_total")];
    expect(await a.stop()).toBe(0);
    await masters(b, "hv1", "hv2");
    expect(await metric(b, "axion_flow_mods_sent_total")).toBe(sent);
    expect(await dumps()).toEqual(before);
    const kinds = (await b.ops<{ kind: string; text: string }[]>("GET", "/problems")).body.map((p) => p.kind);
    expect(kinds).not.toContain("member_gone");
    whole(await ping.stop());
  }, 60_000);

  test("many simulated hosts beside over three controllers: each has its share; when one is killed the others have all of its, with no flow-mod and no packet lost", { tags: "long", timeout: nightly ? 1_200_000 : 180_000 }, async () => {
    // Audits once a minute, as where nobody says otherwise: of hundreds of switches each second nothing else would be done.
    const others = [a, b];
    await Promise.all(others.map((of) => of.stop()));
    const nodes = [...others.map(({ node }) => node), await lab.addNode("third")];
    [a, b] = (await Promise.all([a.name, b.name].map((name, n) => start(name, nodes[n]!, 60)))) as [Controller, Controller];
    const c = await start("c", nodes[2]!, 60);
    const controllers = [a, b, c];
    const all = hosts.length + SIMULATED;
    network ??= await create(a, "network", { name: "n" });
    subnet ??= await create(a, "subnet", { network_id: network.id, ip_version: 4, cidr: "10.0.0.0/24" });
    for (const hv of vms.length === 0 ? hosts : []) await plug(a, hv);
    // Networks of ten hosts, a port at each.
    const many = async <T>(kind: string, values: object[]): Promise<T[]> => {
      const answer = await a.api<Record<string, T[]>>("POST", `/v2.0/${kind}`, { [kind]: values }, ADMIN);
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      return answer.body[kind]!;
    };
    const networks = await many<Made>("networks", Array.from({ length: Math.ceil(SIMULATED / 10) }, (_, n) => ({ name: `s${n}` })));
    await many("subnets", networks.map(({ id }) => ({ network_id: id, ip_version: 4, cidr: "10.9.0.0/24" })));
    const ports: string[] = [];
    for (const { id } of networks) ports.push(...(await many<Made>("ports", Array.from({ length: 10 }, () => ({ network_id: id })))).map((port) => port.id));
    const simulated = await SimulatedHosts.start(lab, { hosts: Array.from({ length: SIMULATED }, (_, n) => ({ id: `sim${n}`, ports: [ports[n]!] })), managers: [a.manager], controllers: controllers.map(({ node }) => node) });
    try {
      let states: SimulatedState[] = [];
      let last: SwitchShown[] = [];
      const began = Date.now();
      /** Every switch has a master among these, which says so, with all of its flows. */
      const settled = async (among: Controller[]): Promise<boolean> => {
        states = await simulated.state();
        if (states.length < SIMULATED || states.some(({ master, controllers: n }) => !among.some(({ node }) => node.ip === master) || n < among.length)) return false;
        const shown = await Promise.all(among.map((of) => switches(of)));
        last = shown.flat();
        return shown.every((list) => list.length === all) && last.filter((s) => s.role === "master" && s.state === "connected" && s.flows.desired > 0 && s.flows.installed === s.flows.desired).length === all;
      };
      const masters = (of: Controller): SimulatedState[] => states.filter(({ master }) => master === of.node.ip);
      const why = (error: unknown): never => {
        const mine = last.filter((s) => s.role === "master");
        throw new Error(`${(error as Error).message}: ${states.length} hosts, ${states.filter(({ master }) => master === null).length} without a master, ${mine.length} mastered, ${JSON.stringify(mine.filter((s) => s.flows.installed !== s.flows.desired).slice(0, 2))}\n${controllers.map((of) => of.lines.slice(-5).join("\n")).join("\n--\n")}`);
      };
      await until("a master of every host", () => settled(controllers), { timeoutMs: nightly ? 900_000 : 90_000, intervalMs: nightly ? 2000 : 500 }).catch(why);
      console.log(`${SIMULATED} hosts over three after ${Date.now() - began} ms: ${controllers.map((of) => masters(of).length).join()}`);
      // The last that came count a second later.
      const isEven = (of: Controller): boolean => Math.abs(last.filter((s) => s.role === "master" && s.master === of.name).length - all / 3) <= Math.max(1, all / 30);
      await until("even shares", async () => (await settled(controllers)) && controllers.every(isEven), { timeoutMs: nightly ? 120_000 : 30_000, intervalMs: 500 }).catch(why);

      const ping = vms[0]!.vm.pingStart(vms[1]!.ip, { intervalMs: 10 });
      await until("answers", () => ping.received > 20);
      const flowMods = async (): Promise<number> => (await Promise.all([b, c].map((of) => metric(of, "axion_flow_mods_sent_total")))).reduce((sum, n) => sum + n, 0);
      // What followed from hosts that came has come to its end.
      const received = async (): Promise<number> => (states = await simulated.state()).reduce((sum, s) => sum + s.flowMods, 0);
      let got = -1;
      await until("flows that stay as they are", async () => got === (got = await received()), { timeoutMs: 30_000, intervalMs: 1000 });
      const [before, sent] = [await dumps(), await flowMods()];
      const lost = masters(a).map(({ id }) => id);
      // The others answer all the while, also who writes; networks of nobody change no flow.
      const answers: number[] = [];
      let asking = true;
      const asked = Promise.all([b, c].map(async (of) => {
        for (let n = 0; asking; n++) {
          answers.push((await of.api("POST", "/v2.0/networks", { network: { name: `while-${of.name}-${n}` } }, ADMIN)).status);
          await new Promise((resolve) => setTimeout(resolve, 100));
        }
      }));
      const killed = Date.now();
      await a.kill9();
      await until("a new master of every host", () => settled([b, c]), { timeoutMs: 120_000, intervalMs: 200 }).catch(why).finally(() => (asking = false));
      await asked;
      const waited = states.filter(({ id }) => lost.includes(id)).map(({ since }) => since - killed).sort((x, y) => x - y);
      const noticed = [b, c].map(({ lines }) => Date.parse((JSON.parse(lines.findLast((line) => line.includes('"a controller went"')) ?? "{}") as { time: string }).time) - killed);
      console.log(`${lost.length} hosts lost their master, which the others knew after ${noticed.join(" and ")} ms: the first has another after ${waited[0]} ms, half of them after ${waited[waited.length >> 1]} ms, the last after ${waited.at(-1)} ms; all compared after ${Date.now() - killed} ms; event loops were held for at most ${(await Promise.all([b, c].map(async (of) => Math.round(1000 * (await metric(of, "nodejs_eventloop_lag_max_seconds")))))).join(" and ")} ms of late`);
      expect(lost.length).toBeGreaterThan(0);
      expect(answers.length).toBeGreaterThan(4);
      expect(answers.filter((status) => status !== 201)).toEqual([]);
      expect([await flowMods() - sent, (await received()) - got]).toEqual([0, 0]);
      expect(await dumps()).toEqual(before);
      whole(await ping.stop());
      for (const of of [b, c]) expect(Math.abs(last.filter((s) => s.role === "master" && s.master === of.name).length - all / 2)).toBeLessThanOrEqual(Math.max(1, all / 20));
    } finally {
      await simulated.stop();
    }
  });
});
