// What the pipeline costs packets: TCP between two hosts as it is with Axion, beside a plain learning bridge over the same kind of tunnel
// between the same two switches, in turns. Open vSwitch's userspace datapath, so all of it is the work of this machine's cores: ratios
// tell something, the figures themselves little.
import { setTimeout as sleep } from "node:timers/promises";
import { startController, type Controller } from "../../lab/controller.ts";
import { until } from "../../lab/exec.ts";
import type { Hypervisor } from "../../lab/hypervisor.ts";
import { Lab } from "../../lab/lab.ts";
import type { Vm } from "../../lab/vm.ts";

export interface DataplaneOptions {
  /** Rounds; each measures every path once, in turn. */
  readonly repeats: number;
  /** Of one transfer. */
  readonly seconds: number;
  readonly log?: (line: string) => void;
}

interface PathResult {
  readonly path: string;
  /** Median over the rounds, megabits a second. */
  readonly mbit: number;
  /** Median over the rounds of the ratio to the bridge in the same round. */
  readonly ratio: number;
  /** Between these the median is in 19 of 20 such runs; single rounds scatter far more. */
  readonly ratio_from: number;
  readonly ratio_to: number;
  /** Medians of pings, in microseconds. */
  readonly rtt_us: number;
  readonly rtt_ratio: number;
  /** Flows in the datapath of both hosts that 1,000 TCP connections leave behind. */
  readonly megaflows: number;
}
export interface DataplaneResult {
  readonly rounds: number;
  readonly paths: readonly PathResult[];
}

/** Of the plain bridge: a tunnel key that no network has by then. */
const BASE_KEY = 7_777_777;
const CONNECTIONS = 1000;

/** A way from one VM to another. */
interface Path {
  readonly name: string;
  readonly from: Vm;
  readonly to: Vm;
  readonly ip: string;
}

const median = (list: readonly number[]): number => {
  const sorted = list.toSorted((a, b) => a - b);
  return (sorted[(sorted.length - 1) >> 1]! + sorted[sorted.length >> 1]!) / 2;
};

export async function benchDataplane({ repeats, seconds, log = () => undefined }: DataplaneOptions): Promise<DataplaneResult> {
  const lab = await Lab.create({ name: "bench" });
  try {
    const [controller, one, two] = await Promise.all([startController(lab), lab.addHypervisor({ name: "hv1", gateway: true }), lab.addHypervisor({ name: "hv2" })]);
    for (const hv of [one, two]) await hv.setManager(lab.manager);
    const paths = [await plainBridge(lab, one, two, "plain", BASE_KEY), await plainBridge(lab, one, two, "tracked", BASE_KEY + 1), ...(await axion(lab, controller, one, two))];
    for (const { from, ip } of paths) await until(`an answer from ${ip}`, () => from.reaches(ip), { timeoutMs: 20_000 });
    const samples = paths.map((path) => ({ path, mbit: [] as number[], rtt: [] as number[] }));
    let port = 9000;
    for (let round = 0; round < repeats; round++) {
      for (const sample of round % 2 === 0 ? samples : samples.toReversed()) {
        const { from, to, ip } = sample.path;
        const { result } = await to.sink(++port);
        await from.pump(ip, port, seconds * 1000);
        const { bytes, ms } = await result;
        sample.mbit.push((bytes * 8) / ms / 1000);
        sample.rtt.push(median((await from.ping(ip, { count: 200, intervalMs: 2 })).rttMs) * 1000);
      }
      log(`round ${round + 1} of ${repeats}: ${samples.map((s) => `${s.path.name} ${Math.round(s.mbit.at(-1)!)} Mbit/s`).join(", ")}`);
    }
    const [base] = samples;
    const rows: PathResult[] = [];
    for (const { path, mbit, rtt } of samples) {
      const ratios = mbit.map((value, i) => value / base!.mbit[i]!);
      rows.push({
        path: path.name, mbit: Math.round(median(mbit)), ratio: rounded(median(ratios)), ...spread(ratios),
        rtt_us: Math.round(median(rtt)), rtt_ratio: rounded(median(rtt.map((value, i) => value / base!.rtt[i]!))), megaflows: await megaflows(path, [one, two]),
      });
    }
    return { rounds: repeats, paths: rows };
  } finally {
    await lab.destroy();
  }
}

/** The interval of confidence (95%) of a median, from the order of the values alone: by the binomial distribution, near enough by the normal one. */
function spread(values: readonly number[]): Pick<PathResult, "ratio_from" | "ratio_to"> {
  const sorted = values.toSorted((a, b) => a - b);
  const from = Math.max(0, Math.floor((sorted.length - 1.96 * Math.sqrt(sorted.length)) / 2));
  return { ratio_from: rounded(sorted[from]!), ratio_to: rounded(sorted[sorted.length - 1 - from]!) };
}
const rounded = (n: number): number => Math.round(n * 1000) / 1000;

/** Flows that many connections leave in the datapaths, all others forgotten before. */
async function megaflows({ from, to, ip, name }: Path, hosts: readonly Hypervisor[]): Promise<number> {
  const server = await to.listenTcp(8000);
  await from.knock(ip, 8000, 1);
  for (const hv of hosts) await hv.appctl("revalidator/purge");
  const opened = await from.knock(ip, 8000, CONNECTIONS, 120_000);
  if (opened !== CONNECTIONS) throw new Error(`${name}: ${opened} of ${CONNECTIONS} connections opened`);
  let flows = 0;
  for (const hv of hosts) flows += (await hv.appctl("dpctl/dump-flows")).split("\n").filter((line) => line.includes("eth_type(0x0800)")).length;
  await server.close();
  return flows;
}

/**
 * Two VMs on a bridge of each host that switches as it learns, joined by a Geneve tunnel of its own. If `tracked`, every frame of IP passes conntrack
 * once on each host, which is the least that a stateful security group can do.
 */
async function plainBridge(lab: Lab, one: Hypervisor, two: Hypervisor, kind: "plain" | "tracked", key: number): Promise<Path> {
  const [subnet, name] = kind === "plain" ? [9, "plain bridge"] : [8, "plain bridge with conntrack"];
  const bridge = `br-${kind}`;
  const vms: Vm[] = [];
  for (const [number, [here, there]] of [[one, two], [two, one]].entries() as ArrayIterator<[number, [Hypervisor, Hypervisor]]>) {
    await here.vsctl(
      "add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev", "--", "add-port", bridge, kind,
      "--", "set", "Interface", kind, "type=geneve", `options:remote_ip=${there.encapIp}`, `options:key=${key}`,
    );
    if (kind === "tracked") {
      await here.ofctl("add-flow", bridge, "table=0,priority=10,ip,actions=ct(table=1,zone=60000)");
      await here.ofctl("add-flow", bridge, "table=1,priority=10,ct_state=+new+trk,ip,actions=ct(commit,zone=60000),NORMAL");
      await here.ofctl("add-flow", bridge, "table=1,priority=9,ip,actions=NORMAL");
    }
    const vm = await lab.addVm({ name: `${kind}${number + 1}`, hypervisor: here, portId: `${kind}${number + 1}`, mac: `fa:16:3e:ff:0${subnet}:0${number + 1}`, mtu: 1442, bridge });
    await vm.setAddress(`10.${subnet}.0.${number + 1}/24`);
    vms.push(vm);
  }
  return { name, from: vms[0]!, to: vms[1]!, ip: `10.${subnet}.0.2` };
}

type Resource = { readonly id: string } & Record<string, unknown>;

/**
 * VMs on the one host; on the other one in their network, one behind a router, and one on a network outside, for which the one host has the gateway.
 * Security groups on all.
 */
async function axion(lab: Lab, controller: Controller, one: Hypervisor, two: Hypervisor): Promise<Path[]> {
  const headers = { "x-project-id": "bench", "x-roles": "admin" };
  const call = async (method: string, url: string, body: object): Promise<Record<string, Resource>> => {
    const answer = await controller.api<Record<string, Resource>>(method, url, body, headers);
    if (answer.status >= 300) throw new Error(`${method} ${url}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  };
  const create = async (collection: string, name: string, values: object): Promise<Resource> => (await call("POST", `/v2.0/${collection}`, { [name]: values }))[name]!;
  const open = await create("security-groups", "security_group", { name: "open" });
  await create("security-group-rules", "security_group_rule", { security_group_id: open.id, direction: "ingress", ethertype: "IPv4" });
  const stateless = await create("security-groups", "security_group", { name: "stateless", stateful: false });
  await create("security-group-rules", "security_group_rule", { security_group_id: stateless.id, direction: "ingress", ethertype: "IPv4" });
  const network = async (cidr: string): Promise<{ network: Resource; subnet: Resource }> => {
    const made = await create("networks", "network", { name: cidr });
    return { network: made, subnet: await create("subnets", "subnet", { network_id: made.id, ip_version: 4, cidr }) };
  };
  const [front, back] = [await network("10.0.0.0/24"), await network("10.1.0.0/24")];
  const router = await create("routers", "router", { name: "router" });
  for (const { subnet } of [front, back]) await call("PUT", `/v2.0/routers/${router.id}/add_router_interface`, { subnet_id: subnet.id });
  const vm = async (name: string, hypervisor: Hypervisor, on: typeof front, groups = [open.id]): Promise<{ id: string; vm: Vm; ip: string }> => {
    const port = await create("ports", "port", { network_id: on.network.id, security_groups: groups });
    const made = await lab.addVm({ name, hypervisor, portId: port.id, mac: port.mac_address as string, mtu: on.network.mtu as number });
    const ip = (port.fixed_ips as { ip_address: string }[])[0]!.ip_address;
    await made.setAddress(`${ip}/24`, (on.subnet.gateway_ip as string | null) ?? undefined);
    await until(`port ${name} to be ACTIVE`, async () => (await controller.api<{ port: Resource }>("GET", `/v2.0/ports/${port.id}`, undefined, headers)).body.port.status === "ACTIVE", { timeoutMs: 20_000 });
    return { id: port.id, vm: made, ip };
  };
  const a = await vm("a", one, front);
  const b = await vm("b", two, front);
  const c = await vm("c", two, back);
  const [d, e] = [await vm("d", one, front, [stateless.id]), await vm("e", two, front, [stateless.id])];
  const outside = await create("networks", "network", { name: "outside", "router:external": true });
  const beyond = { network: outside, subnet: await create("subnets", "subnet", { network_id: outside.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: null }) };
  await call("PUT", `/v2.0/routers/${router.id}`, { router: { external_gateway_info: { network_id: outside.id } } });
  const x = await vm("x", two, beyond);
  const f = await vm("f", one, front);
  await create("floatingips", "floatingip", { floating_network_id: outside.id, port_id: f.id });
  await sleep(500);
  return [
    { name: "within a network", from: a.vm, to: b.vm, ip: b.ip },
    { name: "within a network, stateless groups", from: d.vm, to: e.vm, ip: e.ip },
    { name: "through a router", from: a.vm, to: c.vm, ip: c.ip },
    { name: "through SNAT", from: a.vm, to: x.vm, ip: x.ip },
    { name: "by a floating IP", from: f.vm, to: x.vm, ip: x.ip },
  ];
}
