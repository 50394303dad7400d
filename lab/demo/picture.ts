// The picture at the end: what runs where, and what to type to look at it.

import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import type { DemoOptions } from "./options.ts";
import type { Guest, Tenant } from "./tenants.ts";

const WIDTH = 27;

/** A box for each host with its VMs, the controller above, the tunnels below. */
export function map(hypervisors: readonly Hypervisor[], tenants: readonly Tenant[], options: DemoOptions): string[] {
  const guests = tenants.flatMap((tenant) => tenant.guests);
  const boxes = hypervisors.map((hypervisor) => [
    `${hypervisor.name}  ${hypervisor.encapIp}`,
    "",
    ...guests.filter((guest) => guest.hypervisor === hypervisor).map((guest) => `${guest.name.padEnd(6)} ${guest.ip}`),
  ]);
  const height = Math.max(...boxes.map((box) => box.length));
  const row = (cells: readonly string[]): string => "  " + cells.map((cell) => `| ${cell.padEnd(WIDTH - 4)} |`).join("   ");
  const middle = Math.floor(WIDTH / 2);
  const each = (mark: string, between: string): string =>
    "  " + boxes.map((_, at) => (at === 0 ? " " : between).repeat(middle) + mark + (at === boxes.length - 1 ? " " : between).repeat(WIDTH - middle - 1)).join(between.repeat(3));
  const edge = "  " + boxes.map(() => `+${"-".repeat(WIDTH - 2)}+`).join("   ");
  return [
    " ".repeat(Math.floor((boxes.length * (WIDTH + 3)) / 2) - 21) + "Axion: OpenFlow 1.3 and OVSDB to every host",
    each("+", "-"),
    edge,
    ...Array.from({ length: height }, (_, at) => row(boxes.map((box) => box[at] ?? ""))),
    edge,
    each("|", " "),
    each("+", "="),
    " ".repeat(Math.floor((boxes.length * (WIDTH + 3)) / 2) - 12) + `${options.encap} tunnels over ${options.underlay}`,
    "",
    ...tenants.map(describe),
  ].map((line) => line.trimEnd());
}

function describe(tenant: Tenant): string {
  const { name, plan } = tenant;
  const v6 = plan.slaac === undefined ? "" : ` and ${plan.slaac}`;
  return `  ${name.padEnd(5)} front ${tenant.frontSubnet.cidr}${v6} (${name}1 to ${name}3), back ${tenant.backSubnet.cidr} (${name}4), a router between`;
}

/** Commands that work from another terminal while the demo is up. */
export function commands(lab: Lab, api: string, ops: string, guest: Guest, other: Guest): string[] {
  const sudo = process.env.SUDO_USER === undefined ? "" : "sudo ";
  return [
    "  the API            " + api,
    "  the ops listener   " + ops,
    "",
    `  curl -s ${api}/v2.0/networks`,
    `  curl -s -H 'X-Project-Id: ${guest.tenant}' -H 'X-Roles: member' ${api}/v2.0/ports`,
    `  openstack --os-auth-type none --os-endpoint ${api} network list`,
    "",
    `  curl -s '${ops}/flows?format=text'                   # every flow, with its cause`,
    `  curl -s '${ops}/flows?format=text&resource=${guest.port.id}'`,
    `                                                       # ... that port ${guest.name} caused`,
    `  curl -s ${ops}/switches`,
    "",
    `  ${sudo}ip netns exec ${guest.vm.netns} ping ${other.ip}     # inside VM ${guest.name}`,
    `  ${sudo}ovs-ofctl -O OpenFlow13 dump-flows unix:${guest.hypervisor.dir}/br-int.mgmt`,
    `  ${sudo}tail -f ${lab.dir}/controller.log`,
  ];
}
