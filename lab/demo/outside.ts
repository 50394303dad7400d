// The outside: a physical network that all hosts are on, with the provider's router, behind which "the internet" begins, and a switch with
// a machine in a VLAN; and the networks that the operator makes of it.
//
//   hv1 hv2 hv3 ──── ext (physical network) ──── internet 203.0.113.1 ──┬── web 198.51.100.80
//                            │                                          └── client 198.51.100.20
//                     switch ┴ VLAN 100 ── machine 10.20.0.200

import type { Controller } from "../controller.ts";
import type { Guest as Machine } from "../guest.ts";
import type { Hypervisor } from "../hypervisor.ts";
import type { Lab } from "../lab.ts";
import { Outside as Remote } from "../vm.ts";
import { Surprise } from "./report.ts";
import { serveWeb, type WebServer } from "./web.ts";

export const PHYSNET = "ext";
/** Hosts that may have gateways. */
export const GATEWAY_HOSTS: readonly string[] = ["hv2", "hv3"];
export const UPSTREAM = "203.0.113.1";
export const WEB = "198.51.100.80";
export const CLIENT = "198.51.100.20";
export const MACHINE = "10.20.0.200";
export const DMZ = "10.20.0.0/24";
export const VLAN = 100;
/** Outside; inside it is 80. */
export const FORWARDED_PORT = 8080;

export interface Network {
  readonly id: string;
  readonly name: string;
  readonly mtu: number;
}

export interface Outside {
  /** The provider's router: what hosts send outside goes there. */
  readonly internet: Machine;
  readonly web: Machine;
  readonly server: WebServer;
  readonly client: Machine;
  /** The physical switch, which the controller has nothing to do with, and what is plugged into it. */
  readonly wires: Hypervisor;
  readonly machine: Machine;
  /** The machine's port on the switch. */
  readonly machinePort: string;
}

/** Networks that only an administrator makes: the external one, and one that is a VLAN, for red. */
export interface OperatorNetworks {
  readonly internet: Network;
  readonly dmz: Network;
}

export async function buildOutside(lab: Lab): Promise<Outside> {
  const [internet, [wires, machine]] = await Promise.all([lab.addOutside({ name: "internet", physnet: PHYSNET }), plugMachine(lab)]);
  await internet.configure(
    `addr add ${UPSTREAM}/24 dev eth0`,
    "link add inet type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
    "addr add 198.51.100.1/24 dev inet",
    "link set inet up",
  );
  await internet.sysctl("net.ipv4.ip_forward=1");
  const [web, client] = await Promise.all(
    [["web", WEB], ["client", CLIENT]].map(async ([name, address]) => {
      const host = new Remote(lab, name!);
      await host.create("inet", internet.netns, name!);
      await host.setAddress(`${address!}/24`, "198.51.100.1");
      return host;
    }),
  );
  return { internet, web: web!, server: await serveWeb(web!, 80, "the web server"), client: client!, wires, machine, machinePort: machine.nic.tap };
}

async function plugMachine(lab: Lab) {
  const wires = await lab.addHypervisor({ name: "switch", physnets: [PHYSNET] });
  const machine = await lab.addVm({ name: "machine", hypervisor: wires, bridge: `br-${PHYSNET}`, portId: "machine", mac: "02:00:00:00:00:01" });
  await machine.setAddress(`${MACHINE}/24`);
  await wires.vsctl("set", "Port", machine.nic.tap, `tag=${VLAN}`);
  return [wires, machine] as const;
}

export async function buildOperatorNetworks(controller: Controller): Promise<OperatorNetworks> {
  const create = async <T>(resource: string, values: Record<string, unknown>): Promise<T> => {
    const answer = await controller.api<Record<string, T>>("POST", `/v2.0/${resource}s`, { [resource]: values }, { "x-project-id": "operator", "x-roles": "admin" });
    if (answer.status !== 201) throw new Surprise(`POST ${resource} as an administrator: 201`, `${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body[resource]!;
  };
  const physical = (type: string): Record<string, unknown> => ({ "provider:network_type": type, "provider:physical_network": PHYSNET });
  const [internet, dmz] = await Promise.all([
    create<Network>("network", { name: "internet", "router:external": true, ...physical("flat") }),
    create<Network>("network", { name: "red-dmz", project_id: "red", ...physical("vlan"), "provider:segmentation_id": VLAN }),
  ]);
  await create("subnet", {
    network_id: internet.id, ip_version: 4, cidr: "203.0.113.0/24", gateway_ip: UPSTREAM, enable_dhcp: false, allocation_pools: [{ start: "203.0.113.10", end: "203.0.113.99" }],
  });
  return { internet, dmz };
}

/** What each host sends to the physical network while `body` runs, by the host's name. The filter is tcpdump's. */
export async function leaving(hypervisors: readonly Hypervisor[], filter: string, body: () => Promise<unknown>): Promise<ReadonlyMap<string, readonly string[]>> {
  const lines = new Map<string, string[]>();
  const captures = await Promise.all(
    hypervisors.map(async (hypervisor) => {
      const seen: string[] = [];
      lines.set(hypervisor.name, seen);
      const running = hypervisor.spawn(["tcpdump", "-l", "-n", "-e", "-tt", "--immediate-mode", "-Q", "out", "-i", `p-${PHYSNET}`, ...filter.split(" ")], {
        onLine: (line) => {
          if (/^\d+\.\d+ /.test(line)) seen.push(line);
        },
      });
      await running.waitFor(/listening on/);
      return running;
    }),
  );
  await body();
  await Promise.all(captures.map((running) => running.stop("SIGINT")));
  return lines;
}

/** Hosts that sent something of this address, as text. */
export const hostsOf = (left: ReadonlyMap<string, readonly string[]>, address: string): string[] =>
  [...left].filter(([, lines]) => lines.some((line) => line.includes(` ${address}.`) || line.includes(` ${address} >`))).map(([name]) => name);
