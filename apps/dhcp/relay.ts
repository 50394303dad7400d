// Relay agents (RFC 1542 section 4.1.1): a machine that asks for others behind it. Who asks is still the port that sent the packet, and has to be what the
// relay says that it is; whom it asks for has to be a port of the same project in the same network.
import { contains, parseCidr, parseIp, type ReadView } from "#app";
import { decodeDhcpOption, dhcpOptions, dhcpPorts, type DhcpMessage, type Packet } from "packet-codec";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import type { Port } from "../l2/model.ts";
import { BROADCAST, hasAddress, notRelayed, relayedPort, SERVER_ADDRESS, type NotRelayed } from "./model.ts";

/** Suboptions of option 82: RFC 3527, RFC 5107. */
const LINK_SELECTION = 5;
const SERVER_OVERRIDE = 11;

/** For whom a relay agent asks. */
export interface Relayed {
  readonly client: Port;
  /** Where the client is: its address has to be of it. */
  readonly subnet: Subnet;
  /** As which address the relay asked the server. */
  readonly server: string;
  /** As which its clients shall know the server, so that they renew by it. */
  readonly override: string | undefined;
}

/** @throws PacketError when a suboption that matters is malformed. */
export function relayed(view: ReadView, port: Port, { eth, ipv4, udp }: Packet, { giaddr, chaddr, options }: DhcpMessage): Relayed | NotRelayed {
  const { src, dst } = ipv4!;
  if (udp?.src_port !== dhcpPorts.server) return notRelayed("message", "came through a relay, and not from a relay's port");
  if (!hasAddress(view, port, src, eth.src)) return notRelayed("source", "comes from an address that its port has not, or by another MAC");
  if (!hasAddress(view, port, giaddr, eth.src)) return notRelayed("giaddr", "its relay's address (giaddr) is none of its port");
  const agent = options.get(dhcpOptions["agent-info"].code);
  const link = addressIn(agent, LINK_SELECTION) ?? giaddr;
  const subnet = servedSubnet(view, port.network_id, link);
  if (subnet === undefined) return notRelayed("link", "its client is on no subnet with DHCP of the port's network");
  const client = relayedPort(view, port, chaddr);
  if ("ignored" in client) return client;
  return { client, subnet, server: dst === BROADCAST ? serverFor(view, port, src, eth.src) : dst, override: addressIn(agent, SERVER_OVERRIDE) };
}

/** As which the server answers a relay that asks all: hosts take nothing from an address of their own. */
function serverFor(view: ReadView, port: Port, ip: string, mac: string): string {
  const gateway = servedSubnet(view, port.network_id, ip)?.gateway_ip ?? SERVER_ADDRESS;
  return hasAddress(view, port, gateway, mac) ? SERVER_ADDRESS : gateway;
}

const servedSubnet = (view: ReadView, networkId: string, ip: string): Subnet | undefined =>
  view.by(subnetTable, "network", networkId).find((s) => s.ip_version === 4 && s.enable_dhcp && contains(parseCidr(s.cidr)!, parseIp(ip)!));

/** A suboption that is an address. What is cut short ends them. RFC 3046 section 2.0 */
function addressIn(agent: Buffer | undefined, wanted: number): string | undefined {
  for (let at = 0; agent !== undefined && at + 2 <= agent.length; at += 2 + agent[at + 1]!) {
    if (agent[at] === wanted) return decodeDhcpOption(dhcpOptions["requested-address"].code, agent.subarray(at + 2, at + 2 + agent[at + 1]!));
  }
  return undefined;
}
