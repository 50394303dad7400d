// Frames that table dhcp_request sent up.
import { counted, defineCounter, type LiveView, type Out, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildDhcp, buildEthernet, buildIpv4, buildUdp, dhcpMessageTypes, dhcpOptions, dhcpPorts, ethertypes, icmpv6Types, ipProtocols, PacketError, parseDhcp, parsePacket,
  parseRouterSolicitation, type Packet,
} from "packet-codec";
import { networkTable, senderOf, toMachines, toPort, type Port } from "../l2/model.ts";
import { legTable, routerTable } from "../l3/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { declinedAddressTable, declinedId, declines, dhcpSettings, nameServersOf, portDhcpOptsTable, portOfferTable, routesBeside, SERVER_MAC, servedAddresses, subnetOfferTable } from "./model.ts";
import { advertisements, allNodes } from "./ra.ts";
import { answer, BROADCAST, type Client, type Lease } from "./reply.ts";

type Logger = Parameters<PacketInHandler>[2];

const BROADCAST_MAC = "ff:ff:ff:ff:ff:ff";

/** How requests end. */
export const requestCounter = defineCounter({
  name: "axion_dhcp_requests_total", about: "DHCP messages of machines, by answer: none, where none is due; malformed, without any", label: "answer", values: ["offer", "ack", "nak", "none", "malformed"],
});
const ANSWERS: Readonly<Record<number, "offer" | "ack" | "nak">> = { [dhcpMessageTypes.offer]: "offer", [dhcpMessageTypes.ack]: "ack", [dhcpMessageTypes.nak]: "nak" };

export const dhcpRequest = ((packet, view, log): readonly Out[] => {
  if (packet.register("in_port_key") === 0) return toMachine(packet, view, log);
  const port = senderOf(view, packet);
  const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
  if (port === undefined || network === undefined) {
    log.debug({ key: packet.register("in_port_key") }, "request of a port or network that is gone");
    return [];
  }
  const toSender = (data: Buffer): StageOut => toPort(packet.chassis, network.key, port.key, data);
  return outsFor(packet, port, toSender, view, log.child({ port: port.id }));
}) satisfies PacketInHandler;

function outsFor(packet: PacketIn, port: Port, toSender: (data: Buffer) => StageOut, view: LiveView, log: Logger): readonly Out[] {
  try {
    const frame = parsePacket(packet.data);
    if (frame.udp?.dst_port === dhcpPorts.server) return dhcpReply(frame, port, toSender, view, log);
    if (frame.icmpv6?.type === icmpv6Types.routerSolicitation) return solicited(frame, port.network_id, view, log).map(toSender);
    log.debug("neither a DHCP request nor a router solicitation");
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error }, "malformed request");
  }
  return [];
}

/** A machine on a physical network asks who its routers are. */
function toMachine(packet: PacketIn, view: ReadView, log: Logger): readonly StageOut[] {
  const network = view.by(networkTable, "key", String(packet.register("net")))[0];
  const leg = network === undefined ? undefined : view.by(legTable, "network", network.id).find((l) => l.tells === true);
  const router = leg === undefined ? undefined : view.get(routerTable, leg.router_id);
  if (network === undefined || router === undefined) return [];
  try {
    const frame = parsePacket(packet.data);
    if (frame.icmpv6?.type !== icmpv6Types.routerSolicitation) return [];
    return solicited(frame, network.id, view, log).map((data) => toMachines(packet.chassis, network.key, router.key, data));
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error }, "malformed solicitation of a machine");
    return [];
  }
}

function dhcpReply({ udp, ipv4 }: Packet, port: Port, toSender: (data: Buffer) => StageOut, view: LiveView, log: Logger): readonly Out[] {
  const client = clientOf(port, view);
  if (client === undefined || udp === undefined || ipv4?.complete !== true) {
    log.debug("DHCP request cut short, or of a port without an address to hand out");
    return [counted(requestCounter, "none")];
  }
  let reply: ReturnType<typeof answer>;
  try {
    reply = answer(parseDhcp(udp.payload), client);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error }, "malformed DHCP message");
    return [counted(requestCounter, "malformed")];
  }
  if ("ignored" in reply) {
    log.debug({ why: reply.ignored }, "DHCP message not answered");
    const { facts, news } = declines(view, port, reply.declined === undefined ? [] : [reply.declined]);
    if (news.length > 0) log.info({ address: reply.declined }, "DHCP client declined its address");
    return [...facts, counted(requestCounter, "none")];
  }
  if (reply.omitted.length > 0) log.debug({ options: reply.omitted }, "DHCP options left out, the client's message size is too small");
  const ends = { src: reply.from, dst: reply.to };
  const datagram = buildUdp({ src_port: dhcpPorts.server, dst_port: dhcpPorts.client }, buildDhcp(reply.message), ends);
  const dst = reply.to === BROADCAST ? BROADCAST_MAC : client.mac;
  const frame = buildEthernet({ dst, src: SERVER_MAC, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, datagram));
  return [toSender(frame), counted(requestCounter, ANSWERS[reply.message.options.get(dhcpOptions["message-type"].code)![0]!] ?? "none")];
}

function clientOf(port: Port, view: LiveView): Client | undefined {
  // One that its machine did not take a while ago comes behind the others: an address of another subnet may do.
  const declined = (ip: string): number => (view.fact(declinedAddressTable, declinedId(port.id, ip)) === undefined ? 0 : 1);
  const served = servedAddresses(view, port.id).toSorted((a, b) => declined(a.ip) - declined(b.ip));
  const [first, ...more] = served.map(({ ip, subnet }): Lease => {
    const offers = view.by(subnetOfferTable, "subnet", subnet.id);
    return {
      address: ip, cidr: subnet.cidr, gateway: subnet.gateway_ip, dns: nameServersOf(view, subnet), domain: offers[0]?.domain,
      routes: [...subnet.host_routes, ...routesBeside(view, subnet)],
    };
  });
  const network = view.get(networkTable, port.network_id);
  if (first === undefined || network === undefined) return undefined;
  return { mac: port.mac_address, mtu: mtuOf(view, network), leaseS: view.settings(dhcpSettings)["dhcp-lease"], leases: [first, ...more], hostName: view.by(portOfferTable, "port", port.id)[0]?.host_name, options: view.get(portDhcpOptsTable, port.id)?.opts ?? [] };
}

/** RFC 4861 section 6.1.1 says which solicitations count. */
function solicited({ eth, ipv6, icmpv6 }: Packet, networkId: string, view: ReadView, log: Logger): Buffer[] {
  const unspecified = ipv6!.src === "::";
  const { source_lladdr, unknown } = parseRouterSolicitation(icmpv6!.payload);
  const saysMac = source_lladdr !== undefined || unknown.some(({ type }) => type === SOURCE_LINK_LAYER_ADDRESS);
  if (ipv6!.hop_limit !== 255 || icmpv6!.code !== 0 || icmpv6!.checksumOk !== true || (unspecified && saysMac)) {
    log.debug("router solicitation is not valid");
    return [];
  }
  return advertisements(view, networkId, unspecified ? allNodes : { mac: eth.src, ip: ipv6!.src });
}
const SOURCE_LINK_LAYER_ADDRESS = 1;
