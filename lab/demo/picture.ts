// The picture at the end: what runs where, and what to type to look at it.

import { CLIENT, FORWARDED_PORT, GATEWAY_HOSTS, MACHINE, PHYSNET, UPSTREAM, VLAN, WEB } from "./outside.ts";
import type { Tenant } from "./tenants.ts";
import { backOf, dmzOf, guestsOf, type World } from "./world.ts";

const WIDTH = 27;
const GAP = 3;
const MARGIN = 2;
/** Where in its box a host's wires begin: to the controller, to other hosts, to the physical network. */
const CONTROL = 13;
const TUNNEL = 7;
const WIRE = 19;

/** A box for each host with its VMs, the controller above, the tunnels and the physical network below. */
export function map(world: World): string[] {
  const { hypervisors, options, red, blue } = world;
  const boxes = hypervisors.map((hypervisor) => [
    `${hypervisor.name}  ${hypervisor.encapIp}${GATEWAY_HOSTS.includes(hypervisor.name) ? " gateway" : ""}`,
    "",
    ...guestsOf(world).filter((guest) => guest.hypervisor === hypervisor).map((guest) => `${guest.name.padEnd(6)} ${guest.ip}`),
  ]);
  const height = Math.max(...boxes.map((box) => box.length));
  const row = (cells: readonly string[]): string => " ".repeat(MARGIN) + cells.map((cell) => `| ${cell.padEnd(WIDTH - 4)} |`).join(" ".repeat(GAP));
  const columns = (at: number): number[] => boxes.map((_, box) => MARGIN + box * (WIDTH + GAP) + at);
  const edge = row(boxes.map(() => "")).replaceAll("|", "+").replaceAll(/\+( +)\+(?=$| {3})/g, (_, inner: string) => `+${"-".repeat(inner.length)}+`);
  const controls = columns(CONTROL);
  const tunnels = columns(TUNNEL);
  const wires = columns(WIRE);
  const [inet, wired] = [tunnels[1]!, wires[2]!];
  return [
    centred("Axion: OpenFlow 1.3 and OVSDB to every host", controls[1]!),
    marks(controls, "+", "-"),
    edge,
    ...Array.from({ length: height }, (_, at) => row(boxes.map((box) => box[at] ?? ""))),
    edge,
    marks([...tunnels, ...wires], "|"),
    over(marks(tunnels, "+", "="), marks(wires, "|")) + `   ${options.encap} tunnels over ${options.underlay}`,
    marks(wires, "|"),
    marks(wires, "+", "-") + `         physical network ${PHYSNET}`,
    marks([inet, wired], "|"),
    `${centred(`router ${UPSTREAM}`, inet).padEnd(wired - 10)}switch, port in VLAN ${VLAN}`,
    marks([inet, wired], "|"),
    `${centred(`web ${WEB}, client ${CLIENT}`, inet).padEnd(wired - 10)}machine ${MACHINE}`,
    "",
    ...[red, blue].flatMap(describe),
  ].map((line) => line.trimEnd());
}

const centred = (text: string, column: number): string => " ".repeat(column - Math.floor(text.length / 2)) + text;

/** A line with a mark in each of the columns, and with `between` from the first to the last. */
function marks(columns: readonly number[], mark: string, between = " "): string {
  const [first, last] = [Math.min(...columns), Math.max(...columns)];
  return Array.from({ length: last + 1 }, (_, at) => (columns.includes(at) ? mark : at > first ? between : " ")).join("");
}

/** The upper line where it has something, else the lower one; where both do, the lower one crosses. */
const over = (upper: string, lower: string): string =>
  Array.from({ length: Math.max(upper.length, lower.length) }, (_, at) => ((lower[at] ?? " ") === " " ? (upper[at] ?? " ") : lower[at]!)).join("");

function describe(tenant: Tenant): string[] {
  const { name, plan, gateway, gatewayHost } = tenant;
  const v6 = plan.slaac === undefined ? "" : ` and ${plan.slaac}`;
  const dmz = tenant.dmzSubnet === undefined ? "" : `; VLAN ${VLAN} ${tenant.dmzSubnet.cidr} (${name}5)`;
  const address = tenant.floatingIp || "(no floating IP)";
  const floating = plan.web === true ? `${name}1 is ${address}, its floating IP` : `${address}:${FORWARDED_PORT} leads to ${name}4:80`;
  return [
    `  ${name.padEnd(5)} front ${tenant.frontSubnet.cidr}${v6} (${name}1 to ${name}3), back ${tenant.backSubnet.cidr} (${name}4), a router between${dmz}`,
    `        outside it is ${gateway}, on ${gatewayHost || "no host"}; ${floating}`,
  ];
}

/** What a shell needs to know of this demo, for README's "A VM of your own" and docs/runbook.md: variables, and a command on a host; to be sourced. */
export function environment({ lab, hypervisors }: World, api: string, ops: string): string {
  const of = ({ name, netns, dir }: World["hypervisors"][number]): string[] => [`${name.toUpperCase()}_NETNS=${netns}`, `${name.toUpperCase()}_DB=unix:${dir}/db.sock`];
  return [`API=${api}`, `OPS=${ops}`, `export AXION_OPS_URL=${ops}`, `RUN=${lab.run}-`, ...hypervisors.flatMap(of), ...onHost(lab), ""].join("\n");
}

/** `on HOST COMMAND ...`, a function of the shell: as if typed on that host. Its ovs-vswitchd has its control socket under another name than tools look for. */
export function onHost({ run, dir }: World["lab"]): string[] {
  return [
    "on() {",
    "  local host=$1; shift",
    `  [ "$1" != ovs-appctl ] || set -- ovs-appctl -t "${dir}/$host/vsw.ctl" "\${@:2}"`,
    `  ip netns exec "${run}-$host" env OVS_RUNDIR="${dir}/$host" "$@"`,
    "}",
  ];
}

/** Commands that work from another terminal while the demo is up. */
export function commands({ lab, red, blue, outside, hypervisors }: World, api: string, ops: string): string[] {
  const sudo = process.env.SUDO_USER === undefined ? "" : "sudo ";
  const [guest, other] = [red.guests[0]!, blue.guests[0]!];
  const inside = (netns: string, command: string): string => `  ${sudo}ip netns exec ${netns} ${command}`;
  const gateway = hypervisors.find(({ name }) => name === blue.gatewayHost) ?? hypervisors[1]!;
  return [
    "  the API            " + api,
    "  the ops listener   " + ops,
    "  the console        " + ops + "/console/",
    "",
    `  curl -s ${api}/v2.0/networks`,
    `  curl -s -H 'X-Project-Id: ${guest.tenant}' -H 'X-Roles: member' ${api}/v2.0/ports`,
    `  openstack --os-auth-type none --os-endpoint ${api} network list`,
    "",
    `  curl -s '${ops}/flows?format=text'                   # every flow, with its cause`,
    `  curl -s '${ops}/flows?format=text&resource=${guest.port.id}'`,
    `                                                       # ... that port ${guest.name} caused`,
    `  curl -s ${ops}/switches`,
    "  npx axion problems                                   # what is wrong; here only what a lab lacks (info): TLS, a newer Open vSwitch",
    "  npx axion status                                     # in the clone; --help: switches, flows, trace, plan, history, ...",
    `  npx axion trace ${guest.name} ${backOf(red).name} --protocol tcp --port 80 --ops-url ${ops}`,
    "                                                       # why that packet does not arrive, and what helps",
    "",
    inside(guest.vm.netns, `ping ${red.guests[1]!.ip}     # inside VM ${guest.name}`),
    inside(guest.vm.netns, `curl -s http://${WEB}/     # outside it is its floating IP`),
    inside(other.vm.netns, `curl -s http://${WEB}/     # ... and ${other.name}, which has none, its router's gateway`),
    inside(outside.client.netns, `curl -s http://${blue.floatingIp}:${FORWARDED_PORT}/     # from outside to ${backOf(blue).name}`),
    inside(dmzOf(red).vm.netns, `ping ${MACHINE}     # ${dmzOf(red).name} to the machine in its VLAN`),
    "",
    `  ${sudo}ovs-vsctl --db=unix:${gateway.dir}/db.sock set Open_vSwitch . external_ids:axion-gateway=drain`,
    `                                                       # ${gateway.name} hands its gateways over; =true: it has them again`,
    `  ${sudo}ovs-ofctl -O OpenFlow13 dump-flows unix:${guest.hypervisor.dir}/br-int.mgmt`,
    `  ${sudo}tail -f ${lab.dir}/controller.log`,
    "",
    `  . ${lab.dir}/env                                     # names of all this in a shell, for npx axion, README's "A VM of your own", docs/runbook.md`,
  ];
}
