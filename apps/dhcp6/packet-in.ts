// Frames that table dhcp6_request sent up.
import { contains, counted, defineCounter, parseCidr, parseIp, type LiveView, type Out, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildDhcp6, buildEthernet, buildIpv6, buildUdp, dhcp6Groups, dhcp6MessageTypes, dhcp6Ports, ethertypes, ipProtocols, linkLocal, PacketError, parseDhcp6, parsePacket,
  type Dhcp6ClientMessage, type Dhcp6Message, type Dhcp6RelayMessage, type Duid, type Packet,
} from "packet-codec";
import { addressesOf, networkTable, senderOf, toPort, type Port } from "../l2/model.ts";
import { subnetTable, type Subnet } from "../ipam/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { declines, dhcpSettings, hasAddress, nameServersOf, notRelayed, portDhcpOptsTable, portOfferTable, relayedPort, relayRefusal, SERVER_MAC, subnetOfferTable, type NotRelayed } from "../dhcp/model.ts";
import { answer, declined, type Client } from "./answer.ts";
import { dhcp6ServerTable, isServed, portPrefixTable, SERVER, servedAddresses } from "./model.ts";
import { relayed, wrapped, type Relayed } from "./relay.ts";

type Logger = Parameters<PacketInHandler>[2];

/** What every link of IPv6 carries, RFC 8200 section 5; and the headers in it. */
const IPV6_MTU_MIN = 1280;
const HEADERS = 40 + 8;
const LINK_LOCAL = parseCidr("fe80::/10")!;

/** How requests end. */
export const requestCounter = defineCounter({
  name: "axion_dhcpv6_requests_total", about: "DHCPv6 messages of machines, by answer: none, where none is due; malformed, without any", label: "answer", values: ["advertise", "reply", "none", "malformed"],
});

export const dhcp6Request = ((packet, view, log): readonly Out[] => {
  const port = senderOf(view, packet);
  const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
  if (port === undefined || network === undefined) {
    log.debug({ key: packet.register("in_port_key") }, "request of a port or network that is gone");
    return [];
  }
  try {
    return outsFor(packet, port, (frame) => toPort(packet.chassis, network.key, port.key, frame), view, log.child({ port: port.id }));
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error }, "malformed DHCPv6 request");
    return [counted(requestCounter, "malformed")];
  }
}) satisfies PacketInHandler;

function outsFor(packet: PacketIn, port: Port, toSender: (frame: Buffer) => StageOut, view: LiveView, log: Logger): readonly Out[] {
  const frame = parsePacket(packet.data);
  const { eth, ipv6, udp } = frame;
  if (ipv6 === undefined || udp?.dst_port !== dhcp6Ports.server || (ipv6.dst !== dhcp6Groups.relaysAndServers && ipv6.dst !== dhcp6Groups.servers)) return [];
  const none = (why: string): readonly Out[] => {
    log.debug({ why }, "DHCPv6 message not answered");
    return [counted(requestCounter, "none")];
  };
  const request = parseDhcp6(udp.payload);
  const asker = "hop_count" in request ? behindRelay(view, port, frame, request) : atPort(port, frame, request);
  if ("ignored" in asker) return [...(asker.relay === undefined ? [] : relayRefusal(view, port, 6, asker.relay.mac, asker.relay.refused)), ...none(asker.ignored)];
  const server = view.get(dhcp6ServerTable, SERVER);
  const client = clientOf(asker, view);
  const { relayed: by } = asker;
  if (client === undefined && by !== undefined) return [...relayRefusal(view, port, 6, by.mac, notRelayed("address", "its client's port is without an address to hand out of the subnet that its relay names")), ...none("of a port that is not served")];
  if (server === undefined || client === undefined) return none("of a port that is not served");
  const reply = answer(asker.message, duidOf(server.uuid), client);
  if ("ignored" in reply) return none(reply.ignored);
  const heard = by === undefined ? [] : relayRefusal(view, port, 6, by.mac);
  const message = by === undefined ? reply.message : wrapped(by, reply.message);
  const payload = buildDhcp6(message);
  if (payload.length > client.limit + envelope(by)) return none("what relays have added leaves no room for an answer");
  const { facts, news } = declines(view, asker.port, declined(asker.message, client));
  if (news.length > 0) log.info({ ...(by !== undefined && { client: asker.port.id }), addresses: news }, "DHCPv6 client declined addresses");
  if (reply.omitted.length > 0) log.debug({ options: reply.omitted }, "DHCPv6 options left out, the message would be too long");
  const ends = { src: linkLocal(SERVER_MAC), dst: ipv6.src };
  const datagram = buildUdp({ src_port: dhcp6Ports.server, dst_port: by === undefined ? dhcp6Ports.client : dhcp6Ports.server }, payload, ends);
  const back = buildEthernet({ dst: eth.src, src: SERVER_MAC, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.udp }, datagram));
  return [toSender(back), ...heard, ...facts, counted(requestCounter, reply.message.msg_type === dhcp6MessageTypes.advertise ? "advertise" : "reply")];
}

/** Who is to be answered. */
interface Asker {
  readonly port: Port;
  /** What the client itself says. */
  readonly message: Dhcp6Message;
  /** How it came, if relay agents asked for it, and the subnet that its link has. */
  readonly relayed?: Relayed & { readonly subnet: Subnet };
}
interface Unheard {
  readonly ignored: string;
  /** A relay agent asks; `mac` of its client, if it says that. */
  readonly relay?: { readonly mac: string; readonly refused: NotRelayed };
}
const unheard = (mac: string, refused: NotRelayed): Unheard => ({ ignored: refused.ignored, relay: { mac, refused } });

/** A client at the port. Behind one without port security may be other machines: its addresses are not theirs. */
function atPort(port: Port, { eth, ipv6 }: Packet, message: Dhcp6Message): Asker | Unheard {
  const fits = ipv6!.dst === dhcp6Groups.relaysAndServers && eth.src === port.mac_address && contains(LINK_LOCAL, parseIp(ipv6!.src)!);
  return fits ? { port, message } : { ignored: "of another MAC than the port's, from no link-local address, or to servers alone" };
}

/** A client behind a relay agent that is at the port: the relay has to be what it says, and its client to have a port of the same project and network. */
function behindRelay(view: ReadView, port: Port, { eth, ipv6 }: Packet, outermost: Dhcp6RelayMessage): Asker | Unheard {
  const own = hasAddress(view, port, ipv6!.src, eth.src) || (eth.src === port.mac_address && contains(LINK_LOCAL, parseIp(ipv6!.src)!));
  if (!own) return unheard("", notRelayed("source", "its relay asks from an address that its port has not, or by another MAC"));
  const came = relayed(outermost);
  if ("ignored" in came) return unheard("", notRelayed("message", came.ignored));
  const subnet = view.by(subnetTable, "network", port.network_id).find((s) => isServed(s) && contains(parseCidr(s.cidr)!, parseIp(came.link)!));
  if (subnet === undefined) return unheard(came.mac, notRelayed("link", "its client is on no subnet with DHCPv6 of the port's network"));
  const client = relayedPort(view, port, came.mac);
  return "ignored" in client ? unheard(came.mac, client) : { port: client, message: came.message, relayed: { ...came, subnet } };
}

/** Bytes that relays add to an answer. */
const envelope = (by: Relayed | undefined): number => (by === undefined ? 0 : buildDhcp6(wrapped(by, EMPTY)).length - buildDhcp6(EMPTY).length);
const EMPTY: Dhcp6ClientMessage = { msg_type: dhcp6MessageTypes.reply, transaction_id: 0, options: [] };

/** DUID-UUID, RFC 6355. */
const duidOf = (uuid: string): Duid => ({ type: "UUID", value: Buffer.from(uuid.replaceAll("-", ""), "hex") });

/** What the model says of a port; of one that a relay asks for, on its client's link. */
function clientOf({ port, relayed: by }: Asker, view: ReadView): Client | undefined {
  const here = ({ id }: Pick<Subnet, "id">): boolean => by === undefined || id === by.subnet.id;
  const served = servedAddresses(view, port.id).filter(({ subnet }) => here(subnet));
  const network = view.get(networkTable, port.network_id);
  if (served.length === 0 || network === undefined) return undefined;
  const subnets = [...new Map(served.map(({ subnet }) => [subnet.id, subnet])).values()];
  const domains = [...new Set(subnets.flatMap(({ id }) => view.by(subnetOfferTable, "subnet", id).map((o) => o.domain)))];
  const host = view.by(portOfferTable, "port", port.id)[0]?.host_name;
  return {
    addresses: served.filter(({ subnet }) => subnet.ipv6_address_mode === "dhcpv6-stateful").map(({ ip }) => ip),
    prefixes: view.by(portPrefixTable, "port", port.id).map(({ prefix }) => {
      const [ip, length] = prefix.split("/") as [string, string];
      return { ip, length: Number(length) };
    }),
    all: addressesOf(view, port.id, 6).filter(({ subnet_id: id }) => here({ id })).map(({ ip }) => ip),
    isOnLink: (ip) => view.by(subnetTable, "network", port.network_id).some((s) => s.ip_version === 6 && here(s) && contains(parseCidr(s.cidr)!, parseIp(ip)!)),
    leaseS: view.settings(dhcpSettings)["dhcp-lease"],
    // The server on the network's link is not on that of a relay's client.
    nameServers: [...new Set(subnets.flatMap((subnet) => (by === undefined ? nameServersOf(view, subnet) : subnet.dns_nameservers)))],
    domains,
    fqdn: host === undefined || domains[0] === undefined ? undefined : `${host}.${domains[0]}.`,
    options: view.get(portDhcpOptsTable, port.id)?.opts ?? [],
    limit: Math.max(IPV6_MTU_MIN, mtuOf(view, network)) - HEADERS - envelope(by),
  };
}
