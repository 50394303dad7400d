// Frames that table dhcp_request sent up.
import { counted, defineCounter, type LiveView, type Out, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildDhcp, buildEthernet, buildIpv4, buildUdp, dhcpMessageType, dhcpMessageTypes, dhcpPorts, ethertypes, icmpv6Types, ipProtocols, PacketError, parseDhcp, parsePacket,
  parseRouterSolicitation, type Packet,
} from "packet-codec";
import { ON_LINK } from "../ipam/model.ts";
import { networkTable, senderOf, toMachines, toPort, type Port } from "../l2/model.ts";
import { legTable, routerTable } from "../l3/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { BROADCAST, declinedAddressTable, declinedId, declines, dhcpSettings, nameServersOf, notRelayed, portDhcpOptsTable, portOfferTable, relayRefusal, routesBeside, SERVER_MAC, servedAddresses, subnetOfferTable, type NotRelayed } from "./model.ts";
import { advertisements, allNodes } from "./ra.ts";
import { relayed, type Relayed } from "./relay.ts";
import { answer, type Client, type Lease, type Reply } from "./reply.ts";

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
    if (frame.udp?.dst_port === dhcpPorts.server) return dhcpMessage(frame, port, toSender, view, log);
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

function dhcpMessage(frame: Packet, port: Port, toSender: (data: Buffer) => StageOut, view: LiveView, log: Logger): readonly Out[] {
  const none = (why: string): readonly Out[] => {
    log.debug({ why }, "DHCP message not answered");
    return [counted(requestCounter, "none")];
  };
  if (frame.ipv4?.complete !== true) return none("cut short");
  try {
    const request = parseDhcp(frame.udp!.payload);
    const relay = request.giaddr === "0.0.0.0" ? undefined : relayed(view, port, frame, request);
    const refused = (why: NotRelayed): readonly Out[] => [...relayRefusal(view, port, 4, request.chaddr, why), ...none(why.ignored)];
    if (relay !== undefined && "ignored" in relay) return refused(relay);
    const asks = relay?.client ?? port;
    const client = clientOf(asks, view, relay);
    if (client === undefined) return relay === undefined ? none("of a port without an address to hand out") : refused(notRelayed("address", "its client's port is without an address to hand out of the subnet that its relay names"));
    const heard = relay === undefined ? [] : relayRefusal(view, port, 4, request.chaddr);
    const reply = answer(request, client);
    if (!("ignored" in reply)) return [...heard, toSender(replyFrame(frame, reply, client, log)), counted(requestCounter, ANSWERS[dhcpMessageType(reply.message)!] ?? "none")];
    const { facts, news } = declines(view, asks, reply.declined === undefined ? [] : [reply.declined]);
    if (news.length > 0) log.info({ ...(relay !== undefined && { client: asks.id }), address: reply.declined }, "DHCP client declined its address");
    return [...heard, ...facts, ...none(reply.ignored)];
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error }, "malformed DHCP message");
    return [counted(requestCounter, "malformed")];
  }
}

function replyFrame({ eth }: Packet, { message, from, to, omitted }: Reply, { mac, relay }: Client, log: Logger): Buffer {
  if (omitted.length > 0) log.debug({ options: omitted }, "DHCP options left out, the client's message size is too small");
  const ends = { src: from, dst: to };
  const datagram = buildUdp({ src_port: dhcpPorts.server, dst_port: relay === undefined ? dhcpPorts.client : dhcpPorts.server }, buildDhcp(message), ends);
  const dst = relay !== undefined ? eth.src : to === BROADCAST ? BROADCAST_MAC : mac;
  return buildEthernet({ dst, src: SERVER_MAC, ethertype: ethertypes.ipv4 }, buildIpv4({ ...ends, protocol: ipProtocols.udp }, datagram));
}

/** What the model says of a port; of one that a relay asks for, in its client's subnet. */
function clientOf(port: Port, view: LiveView, relay: Relayed | undefined): Client | undefined {
  // One that its machine did not take a while ago comes behind the others: an address of another subnet may do.
  const declined = (ip: string): number => (view.fact(declinedAddressTable, declinedId(port.id, ip)) === undefined ? 0 : 1);
  const served = servedAddresses(view, port.id).filter(({ subnet }) => relay === undefined || subnet.id === relay.subnet.id).toSorted((a, b) => declined(a.ip) - declined(b.ip));
  const [first, ...more] = served.map(({ ip, subnet }): Lease => {
    const offers = view.by(subnetOfferTable, "subnet", subnet.id);
    return {
      // What is on the network's link, as the server that others are told of is, is not on that of a relay's client.
      address: ip, cidr: subnet.cidr, gateway: subnet.gateway_ip, dns: relay === undefined ? nameServersOf(view, subnet) : subnet.dns_nameservers, domain: offers[0]?.domain,
      routes: [...subnet.host_routes, ...routesBeside(view, subnet).filter(({ nexthop }) => relay === undefined || nexthop !== ON_LINK)],
    };
  });
  const network = view.get(networkTable, port.network_id);
  if (first === undefined || network === undefined) return undefined;
  return {
    mac: port.mac_address, mtu: mtuOf(view, network), leaseS: view.settings(dhcpSettings)["dhcp-lease"], leases: [first, ...more], relay,
    hostName: view.by(portOfferTable, "port", port.id)[0]?.host_name, options: view.get(portDhcpOptsTable, port.id)?.opts ?? [],
  };
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
