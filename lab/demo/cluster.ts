// `npm run demo -- --cluster`: three controllers over three etcd, three hypervisors. Whoever of the controllers goes, hosts and packets notice nothing.
import { LabEtcd } from "../cluster/etcd.ts";
import { switchesOf, unsettled } from "../cluster/masters.ts";
import { Controller } from "../controller.ts";
import { until } from "../exec.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import type { Vm } from "../vm.ts";
import { noErrors } from "./checks/control.ts";
import { underlayUp } from "./join.ts";
import type { DemoOptions } from "./options.ts";
import { Surprise, type Outcome, type Report } from "./report.ts";

/** Names for which each of the three hosts has another master; which it is follows from names alone. */
const NAMES = ["a", "b", "c"] as const;
const HOSTS = ["hv1", "hv2", "hv3"] as const;
const TENANT = { "x-project-id": "red", "x-roles": "member" };
const PING_MS = 10;
const SETTLED_MS = 30_000;

interface Guest {
  readonly name: string;
  readonly vm: Vm;
  readonly ip: string;
  readonly hypervisor: Hypervisor;
}

interface House {
  readonly lab: Lab;
  readonly controllers: readonly Controller[];
  readonly hypervisors: readonly Hypervisor[];
  readonly guests: Guest[];
  network: { id: string; mtu: number };
}

type Waiting = (awaited: string) => void;

/** What becomes of `lab` and of the controllers, the caller's: it ends them. */
export async function cluster(options: DemoOptions, report: Report, lab: Lab, started: (controller: Controller) => void): Promise<void> {
  const nodes = [lab.node, await lab.addNode("second"), await lab.addNode("third")];
  const etcd = await report.step("an etcd of three members", () => LabEtcd.start(lab, nodes));
  const controllers = NAMES.map((name, i) => new Controller(lab, {
    name, node: nodes[i]!, readyTimeoutMs: 60_000, flags: ["--store", etcd.store, "--name", name, "--advertise", nodes[i]!.ip],
  }));
  for (const controller of controllers) started(controller);
  const [hypervisors] = await Promise.all([
    report.step(`three hypervisors, each with its own Open vSwitch: ${HOSTS.join(", ")}`, () => Promise.all(HOSTS.map((name) => lab.addHypervisor({ name, encapTypes: [options.encap] })))),
    report.step(`three controllers on that etcd: ${NAMES.join(", ")}`, () => Promise.all(controllers.map((controller) => controller.start()))),
  ]);
  const house: House = { lab, controllers, hypervisors, guests: [], network: { id: "", mtu: 0 } };
  const [a] = controllers as [Controller];
  await report.step(`each host joins by one of them, which tells it of the others: ovs-vsctl set-manager ${a.manager}`, async (waiting) => {
    await Promise.all(hypervisors.map((hv) => hv.setManager(a.manager)));
    await mastered(house, controllers, waiting);
  });
  await report.step("the hosts reach each other over the underlay", () => underlayUp(hypervisors));

  report.heading("One house, three APIs");
  await report.check("each host has one master", () => masters(house));
  await report.check("made at one API, there at all", () => madeEverywhere(house));
  await report.check("VMs on all hosts", () => allPairs(house));

  report.heading("One is killed before your eyes");
  const victim = controllers.find(({ name }) => name === NAMES[1])!;
  await report.check("the master of hv1 killed", (waiting) => killed(house, victim, waiting));
  await report.check("the house goes on without it", (waiting) => goesOn(house, controllers.filter((one) => one !== victim), waiting));
  await report.check("it comes back", (waiting) => back(house, victim, waiting));
  for (const controller of controllers) await report.check(`errors in the log of ${controller.name}`, () => noErrors(controller));
  await report.check("a member of etcd killed", async (waiting) => {
    await etcd.kill(0);
    const began = performance.now();
    // If it led, the two others choose one of them; writes are refused until then (503), which clients try again, and controllers log.
    waiting("a leader of etcd");
    await etcd.untilLed();
    const led = ((performance.now() - began) / 1000).toFixed(1);
    const outcome = await goesOn(house, controllers, waiting);
    return typeof outcome === "string" ? outcome : { ...outcome, figure: `the others have a leader after ${led} s; ${outcome.figure}` };
  });

  if (options.check) return;
  report.heading("Look around, from another terminal");
  for (const [i, { name, node }] of controllers.entries()) {
    const [api, ops] = await Promise.all([lab.publish(9696, 9696 + 10 * i, node), lab.publish(9697, 9697 + 10 * i, node)]);
    report.line(`  ${name}: API ${api.url}, console ${ops.url}/console/, npx axion status --ops-url ${ops.url}`);
  }
}

/** Until each host has one of `live` as its master, and all that it should have. */
async function mastered({ hypervisors }: House, live: readonly Controller[], waiting: Waiting): Promise<void> {
  let left: readonly string[] = [];
  const done = async (): Promise<boolean> => {
    left = await unsettled(hypervisors.map(({ systemId }) => systemId), live);
    if (left.length > 0) waiting(`a master of ${left.join(", ")}`);
    return left.length === 0;
  };
  await until("masters", done, { timeoutMs: SETTLED_MS, intervalMs: 50 }).catch(() => {
    throw new Surprise(`one master of each host after ${SETTLED_MS / 1000} s`, left.join(", "));
  });
}

async function masters({ controllers, hypervisors }: House): Promise<Outcome> {
  const shown = await switchesOf(controllers[0]!);
  const of = hypervisors.map(({ systemId }) => `${systemId}: ${shown.find(({ id }) => id === systemId)?.master ?? "none"}`);
  return { held: new Set(of.map((one) => one.split(": ")[1])).size === hypervisors.length, figure: of.join(", "), expected: "another one for each" };
}

async function create<T>(at: Controller, resource: string, values: object): Promise<T> {
  const { status, body } = await at.api<Record<string, T>>("POST", `/v2.0/${resource}s`, { [resource]: values }, TENANT);
  if (status !== 201) throw new Surprise("201", `${status} ${JSON.stringify(body)}`);
  return body[resource]!;
}

async function plug(house: House, name: string, at: Controller, hypervisor: Hypervisor): Promise<Guest> {
  const port = await create<{ id: string; mac_address: string; fixed_ips: { ip_address: string }[] }>(at, "port", { network_id: house.network.id, name });
  const vm = await house.lab.addVm({ name, hypervisor, portId: port.id, mac: port.mac_address, mtu: house.network.mtu });
  const guest = { name, vm, ip: port.fixed_ips[0]!.ip_address, hypervisor };
  await vm.setAddress(`${guest.ip}/24`);
  house.guests.push(guest);
  const status = async (): Promise<string> => (await at.api<{ port: { status: string } }>("GET", `/v2.0/ports/${port.id}`, undefined, TENANT)).body.port.status;
  await until(`${name} ACTIVE`, async () => (await status()) === "ACTIVE", { timeoutMs: 20_000 });
  return guest;
}

/** The network at the first, its subnet at the second, a port at each. */
async function madeEverywhere(house: House): Promise<Outcome> {
  const { controllers, hypervisors } = house;
  house.network = await create(controllers[0]!, "network", { name: "red" });
  const seen = async (path: string): Promise<string[]> => Promise.all(controllers.map(async (one) => JSON.stringify((await one.api("GET", path, undefined, TENANT)).body)));
  const there = (): Promise<boolean> => until("the network everywhere", async () => (await seen(`/v2.0/networks/${house.network.id}`)).every((text) => text.includes(house.network.id)));
  await there();
  await create(controllers[1]!, "subnet", { network_id: house.network.id, ip_version: 4, cidr: "10.0.0.0/24" });
  await until("the subnet everywhere", async () => (await seen("/v2.0/subnets?fields=id&fields=cidr")).every((text) => text.includes("10.0.0.0/24")));
  // At the API of one that is not the master of the host that the VM is on.
  await Promise.all(hypervisors.map((hypervisor, i) => plug(house, `red${i + 1}`, controllers[i]!, hypervisor)));
  let lists: string[] = [];
  await until("the ports everywhere", async () => new Set(lists = await seen("/v2.0/ports?fields=id&fields=status&sort_key=id&sort_dir=asc")).size === 1).catch(() => undefined);
  const count = lists[0]!.match(/"id"/g)?.length ?? 0;
  return { held: new Set(lists).size === 1 && count === 3, figure: `a network at ${NAMES[0]}, its subnet at ${NAMES[1]}, ${count} ports at all three: each lists the same`, seen: lists.join(" ") };
}

async function allPairs({ guests }: House): Promise<Outcome> {
  const pairs = guests.flatMap((from) => guests.filter((to) => to !== from).map((to) => ({ from, to })));
  const answered = await Promise.all(pairs.map(({ from, to }) => until(`${from.name} reaches ${to.name}`, () => from.vm.reaches(to.ip)).then(() => true, () => false)));
  return { held: answered.every(Boolean), figure: `${answered.filter(Boolean).length} of ${pairs.length} pairs`, expected: "all" };
}

const dumps = (hypervisors: readonly Hypervisor[]): Promise<string[]> => Promise.all(hypervisors.map((hv) => hv.ofctl("--no-stats", "dump-flows", "br-int")));

/** While something happens VMs of all hosts ping each other, and no flow changes. */
async function unnoticed({ guests, hypervisors }: House, happens: () => Promise<string>): Promise<Outcome> {
  const runs = guests.map((from, i) => from.vm.pingStart(guests[(i + 1) % guests.length]!.ip, { intervalMs: PING_MS }));
  await until("answers", () => runs.every((run) => run.received > 10));
  const before = await dumps(hypervisors);
  const what = await happens();
  const after = await dumps(hypervisors);
  const stats = await Promise.all(runs.map((run) => run.stop()));
  // The last ones of each were on their way when it was stopped.
  const lost = stats.flatMap(({ gaps, sent: all }) => gaps.filter(({ firstSeq, count }) => firstSeq + count <= all)).reduce((sum, { count }) => sum + count, 0);
  const sent = stats.reduce((sum, one) => sum + one.sent, 0);
  const changed = before.filter((dump, i) => dump !== after[i]).length;
  return { held: lost === 0 && changed === 0, figure: `${what}; ${lost} of ${sent} pings lost, flows of ${changed} hosts changed`, expected: "no ping lost, no flow changed" };
}

const killed = (house: House, victim: Controller, waiting: Waiting): Promise<Outcome> =>
  unnoticed(house, async () => {
    const began = performance.now();
    await victim.kill9();
    const left = house.controllers.filter((one) => one !== victim);
    await mastered(house, left, waiting);
    const seconds = ((performance.now() - began) / 1000).toFixed(1);
    const { master } = (await switchesOf(left[0]!)).find(({ id }) => id === "hv1")!;
    return `kill -9 of ${victim.name}, ${master ?? "nobody"} has hv1 after ${seconds} s`;
  });

const back = (house: House, victim: Controller, waiting: Waiting): Promise<Outcome> =>
  unnoticed(house, async () => {
    await victim.start();
    await mastered(house, house.controllers, waiting);
    return `${victim.name} is the master of hv1 again`;
  });

/** A port is made and plugged at hv1, by whoever is there. */
async function goesOn(house: House, live: readonly Controller[], waiting: Waiting): Promise<Outcome> {
  const at = live.at(-1)!;
  waiting("a new VM on hv1");
  const guest = await plug(house, `red${house.guests.length + 1}`, at, house.hypervisors[0]!);
  const [to] = house.guests.filter(({ hypervisor }) => hypervisor !== guest.hypervisor);
  const reached = await until(`${guest.name} reaches ${to!.name}`, () => guest.vm.reaches(to!.ip)).then(() => true, () => false);
  return { held: reached, figure: `${guest.name}, made at ${at.name} and plugged at hv1, ${reached ? "reaches" : "does not reach"} ${to!.name} on ${to!.hypervisor.name}`, expected: "it reaches" };
}
