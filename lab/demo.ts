// `npm run demo`: three hypervisors with real switches, a controller, two tenants with the same addresses, an outside with a web server, and
// the proof by packets of who reaches whom. What it makes lives in the lab (lab.ts) and goes with it, however this process ends.
//
//   demo/options.ts   the command line          demo/join.ts      hosts join, ports come up
//   demo/report.ts    what is said meanwhile    demo/tenants.ts   what a project makes through the API, and its VMs
//   demo/cluster.ts   another story: --cluster
//   demo/picture.ts   what is said at the end   demo/outside.ts   the physical network and what is on it; demo/web.ts   HTTP there
//
// What is proven is in demo/checks/, each file one kind of thing.

import { copyFile, mkdtemp, readdir, writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { SAME_MS, takeStartedBy, watchParent } from "../src/process-end.ts";
import { Controller } from "./controller.ts";
import { killed, noErrors } from "./demo/checks/control.ts";
import { gatewayKilled, gatewaysInUse } from "./demo/checks/failover.ts";
import { cluster } from "./demo/cluster.ts";
import * as groups from "./demo/checks/groups.ts";
import * as isolation from "./demo/checks/isolation.ts";
import { active, adopt, missingCommands, underlayUp } from "./demo/join.ts";
import * as nat from "./demo/checks/nat.ts";
import { type DemoOptions, parseOptions, USAGE, UsageError } from "./demo/options.ts";
import { buildOperatorNetworks, buildOutside, GATEWAY_HOSTS, PHYSNET } from "./demo/outside.ts";
import { flowDump, underlay as tunnelsOnly } from "./demo/checks/overlay.ts";
import { commands, environment, map } from "./demo/picture.ts";
import { vlan } from "./demo/checks/provider.ts";
import * as reach from "./demo/checks/reach.ts";
import { consoleServed, delivered, dropped } from "./demo/checks/traces.ts";
import { messageOf, Report, Surprise } from "./demo/report.ts";
import { Tenant } from "./demo/tenants.ts";
import * as vms from "./demo/checks/vms.ts";
import type { World } from "./demo/world.ts";
import { Lab } from "./lab.ts";

const HOSTS = ["hv1", "hv2", "hv3"] as const;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;
const LOG_TAIL_LINES = 15;
const LONGEST_MAKING_MS = 3000;

/** What there is so far, for the end. */
interface Stage {
  lab?: Lab;
  controller?: Controller;
  /** Namespaces are being made: an end waits for that, as what comes after the removal would stay. */
  making: boolean;
}

async function demo(options: DemoOptions, report: Report, stage: Stage): Promise<void> {
  const { encap, underlay } = options;
  report.heading("Lab");
  const lab = (stage.lab = await report.step("networks of the lab: management, underlay", () => Lab.create({ name: "demo", underlay, signals: false })));
  if (options.cluster) {
    await cluster(options, report, lab, (one) => (stage.controller ??= one));
    stage.making = false;
    return;
  }
  const controller = (stage.controller = new Controller(lab, { flags: ["--ra-interval", String(vms.RA_INTERVAL_S)], readyTimeoutMs: 60_000 }));
  const host = (name: string) => lab.addHypervisor({ name, encapTypes: [encap], physnets: [PHYSNET], gateway: GATEWAY_HOSTS.includes(name) });
  const [hypervisors, outside] = await Promise.all([
    report.step(`${HOSTS.length} hypervisors, each with its own Open vSwitch: ${HOSTS.join(", ")}; ${GATEWAY_HOSTS.join(" and ")} may have gateways`, () => Promise.all(HOSTS.map(host))),
    report.step("an outside on the physical network: a router, a web server and a client behind it, a machine in a VLAN", () => buildOutside(lab)),
    report.step("the controller is ready, on an empty embedded store", () => controller.start()),
  ]);
  await report.step(`each host joins: ovs-vsctl set-manager ${lab.manager}`, (waiting) => adopt(hypervisors, controller, waiting));
  await report.step("the hosts reach each other over the underlay", () => underlayUp(hypervisors));

  report.heading("Two tenants, the same addresses");
  const networks = await report.step("the operator's: an external network, flat on the physical one, and a VLAN for red", () => buildOperatorNetworks(controller));
  const red = new Tenant(controller, { name: "red", slaac: "fd00:10::/64", web: true, backHost: 1, dmzHost: 0 });
  const blue = new Tenant(controller, { name: "blue", ownAddress: "10.0.0.77", backHost: 2 });
  await report.step("networks, subnets, routers, security groups and ports, through the API as members of red and of blue", async () => {
    await red.build(networks);
    await blue.build(networks, red);
  });
  await report.step("9 VMs plugged, one of each tenant on every host at least", () => Promise.all([red, blue].map((tenant) => tenant.plug(lab, hypervisors))));
  await report.step("all ports ACTIVE: their flows are confirmed by the switches", (waiting) => active([red, blue], waiting));

  stage.making = false;

  report.heading("Checks");
  const world: World = { lab, controller, options, hypervisors, outside, networks, red, blue };
  await report.check("DHCP", () => reach.dhcp(world));
  await report.check("SLAAC", () => reach.slaac(world));
  const tunnels = await tunnelsOnly(world, async () => {
    for (const tenant of [red, blue]) await report.check(`${tenant.name}'s VMs on all hosts`, () => reach.allPairs(tenant));
    await report.check("red's VMs by IPv6", () => reach.allPairs6(red));
    for (const tenant of [red, blue]) await report.check(`${tenant.name}'s other network, through its router`, () => reach.throughRouter(tenant));
    await report.check("routers answer", () => reach.routerItself(world));
    await report.check("largest packets, unfragmented", () => reach.fullSize(world));
  });
  await report.check("tunnels", () => Promise.resolve(tunnels));
  await report.check("traceroute", () => reach.timeExceeded(world));
  const noise = await report.step("both tenants ping, ask by ARP and broadcast at once, every VM's interface captured", (waiting) => isolation.noise(world, waiting));
  await report.check("blue sees nothing of red", () => Promise.resolve(isolation.isolation(noise, blue, red)));
  await report.check("red sees nothing of blue", () => Promise.resolve(isolation.isolation(noise, red, blue)));
  await report.check("an address that only blue has", () => isolation.foreignAddress(world));
  await report.check("the API", () => isolation.foreignResources(world));
  await report.check("security groups", () => groups.sshAndRemoteGroup(world));
  await report.check("a rule that comes and goes", (waiting) => groups.ruleOpensAndCloses(world, waiting));
  await report.check("the console", () => consoleServed(world));
  const told = [await report.check("a packet traced", () => delivered(world)), await report.check("a drop explained", (waiting) => dropped(world, waiting))];
  await report.check("a VM that asks nobody", () => vms.routeRenewed(world));
  await report.check("an address that changes its VM", () => vms.failover(world));
  await report.check("packets in fragments", () => vms.fragments(world));
  await report.step("hosts and gateways see each other alive, by BFD in their tunnels", () => gatewaysInUse(hypervisors));
  await report.check("outside, both tenants at once", () => nat.sources(world));
  await Promise.all([
    report.check("a floating IP", (waiting) => nat.floatingIp(world, waiting)),
    report.check("a forwarded port", (waiting) => nat.forwarding(world, waiting)),
    report.check("a VLAN of the physical network", () => vlan(world)),
  ]);
  await report.check("flow dump", (waiting) => flowDump(world, waiting));
  await report.check("the controller killed", (waiting) => killed(world, waiting));
  await report.check("a gateway's host killed, and no controller", (waiting) => gatewayKilled(world, waiting));
  await report.check("errors in the controller's log", () => noErrors(controller));

  report.heading("What is there");
  for (const line of map(world)) report.line(line);
  report.heading("Why a packet arrives, or does not (POST /trace)");
  for (const line of told.flatMap((story) => story?.lines ?? [])) report.line(line);
  if (options.check) return;
  const [api, ops] = await Promise.all([lab.publish(9696), lab.publish(9697)]);
  await writeFile(`${lab.dir}/env`, environment(world, api.url, ops.url));
  report.heading("Look around, from another terminal");
  for (const line of commands(world, api.url, ops.url)) report.line(line);
}

/** Logs of controller and switches, copied to where they outlive the lab, and the end of the controller's. */
async function explain(report: Report, stage: Stage): Promise<void> {
  const { lab, controller } = stage;
  if (lab === undefined) return;
  const kept = await mkdtemp("/tmp/axion-demo-logs-");
  const names = (await readdir(lab.dir, { recursive: true })).filter((name) => name.endsWith(".log"));
  await Promise.all(names.map((name) => copyFile(`${lab.dir}/${name}`, `${kept}/${name.replaceAll("/", "-")}`).catch(() => undefined)));
  const tail = controller?.lines.slice(-LOG_TAIL_LINES) ?? [];
  if (tail.length > 0) {
    report.line(`\nthe end of the controller's log:`);
    for (const line of tail) report.line(`  ${line.slice(0, 400)}`);
  }
  report.line(`\nlogs: ${kept}`);
}

async function main(): Promise<number> {
  let options: DemoOptions;
  try {
    const parsed = parseOptions(process.argv.slice(2));
    if (parsed === "help") {
      process.stdout.write(USAGE);
      return 0;
    }
    options = parsed;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`axion: ${error.message}\n`);
    return 2;
  }
  const missing = [...Lab.missing(), ...(await missingCommands())];
  if (missing.length > 0) {
    const why = missing[0] === "root" ? "the demo needs root: run it as root, or allow sudo without a password" : "run: bash scripts/install-deps.sh lab";
    process.stderr.write(`axion: missing here: ${missing.join(", ")}; ${why}\n`);
    return 1;
  }

  const report = new Report();
  const stage: Stage = { making: true };
  const ended = new Promise<keyof typeof SIGNALS>((resolve) => {
    let asked = -Infinity;
    for (const signal of Object.keys(SIGNALS) as (keyof typeof SIGNALS)[]) {
      process.on(signal, () => {
        const again = performance.now() - asked > SAME_MS;
        if (again && asked > 0) process.exit(SIGNALS[signal]); // the lab goes with the process
        if (again) asked = performance.now();
        resolve(signal);
      });
    }
    const startedBy = takeStartedBy(process.env);
    if (startedBy !== undefined) watchParent(startedBy, () => resolve("SIGHUP"));
  });
  process.stdout.on("error", () => process.exit(1)); // whoever read it is gone; the lab goes with the process

  const work = demo(options, report, stage).catch((error: unknown) => {
    report.failures.push("the demo could not go on");
    report.line(`\nThe demo could not go on.`);
    if (error instanceof Surprise) report.line(`  expected: ${error.expected}\n  seen:     ${error.seen}`);
    else report.line(`  ${messageOf(error)}`);
    return "stopped" as const;
  });
  const first = await Promise.race([ended, work.then((how) => how ?? ("done" as const))]);
  if (first === "done" || first === "stopped") {
    if (report.failures.length > 0) await explain(report, stage);
    report.heading(verdict(report));
    if (first === "done" && !options.check) {
      report.line("\nUp until Ctrl-C, which removes everything.");
      const hold = setInterval(() => undefined, 60_000);
      await ended;
      clearInterval(hold);
    }
  }
  report.line("\nremoving everything ...");
  report.ending = true;
  if (stage.making) await Promise.race([work, sleep(LONGEST_MAKING_MS)]);
  await stage.lab?.destroy();
  process.stdout.write(`everything removed, ${report.seconds.toFixed(1)} s in all\n`);
  if (first !== "done" && first !== "stopped") return SIGNALS[first];
  return report.failures.length > 0 ? 1 : 0;
}

function verdict({ held, failures }: Report): string {
  return failures.length === 0 ? `${held} of ${held} checks held` : `${held} checks held, ${failures.length} failed: ${failures.join("; ")}`;
}

process.exit(await main());
