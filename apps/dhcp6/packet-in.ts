// Frames that table dhcp6_request sent up.
import { contains, counted, defineCounter, parseCidr, parseIp, type LiveView, type Out, type PacketIn, type PacketInHandler, type ReadView, type StageOut } from "#app";
import {
  buildDhcp6, buildEthernet, buildIpv6, buildUdp, dhcp6Groups, dhcp6MessageTypes, dhcp6Ports, ethertypes, ipProtocols, linkLocal, PacketError, parseDhcp6, parsePacket, type Duid,
} from "packet-codec";
import { addressesOf, networkTable, senderOf, toPort, type Port } from "../l2/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { mtuOf } from "../overlay/model.ts";
import { declines, dhcpSettings, nameServersOf, portDhcpOptsTable, portOfferTable, SERVER_MAC, subnetOfferTable } from "../dhcp/model.ts";
import { answer, declined, type Client } from "./answer.ts";
import { dhcp6ServerTable, portPrefixTable, SERVER, servedAddresses } from "./model.ts";

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
  const { eth, ipv6, udp } = parsePacket(packet.data);
  if (ipv6?.dst !== dhcp6Groups.relaysAndServers || udp?.dst_port !== dhcp6Ports.server) return [];
  // Behind a port without port security may be other machines: its addresses are not theirs.
  if (eth.src !== port.mac_address || !contains(LINK_LOCAL, parseIp(ipv6.src)!)) {
    log.debug({ mac: eth.src, ip: ipv6.src }, "DHCPv6 request of another MAC than the port's, or from no link-local address");
    return [];
  }
  const server = view.get(dhcp6ServerTable, SERVER);
  const client = clientOf(port, view);
  if (server === undefined || client === undefined) {
    log.debug("DHCPv6 request of a port that is not served");
    return [counted(requestCounter, "none")];
  }
  const request = parseDhcp6(udp.payload);
  const reply = answer(request, duidOf(server.uuid), client);
  if ("ignored" in reply) {
    log.debug({ why: reply.ignored }, "DHCPv6 message not answered");
    return [counted(requestCounter, "none")];
  }
  const { facts, news } = declines(view, port, declined(request, client));
  if (news.length > 0) log.info({ addresses: news }, "DHCPv6 client declined addresses");
  if (reply.omitted.length > 0) log.debug({ options: reply.omitted }, "DHCPv6 options left out, the message would be too long");
  const ends = { src: linkLocal(SERVER_MAC), dst: ipv6.src };
  const datagram = buildUdp({ src_port: dhcp6Ports.server, dst_port: dhcp6Ports.client }, buildDhcp6(reply.message), ends);
  const frame = buildEthernet({ dst: eth.src, src: SERVER_MAC, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.udp }, datagram));
  return [toSender(frame), ...facts, counted(requestCounter, reply.message.msg_type === dhcp6MessageTypes.advertise ? "advertise" : "reply")];
}

/** DUID-UUID, RFC 6355. */
const duidOf = (uuid: string): Duid => ({ type: "UUID", value: Buffer.from(uuid.replaceAll("-", ""), "hex") });

function clientOf(port: Port, view: ReadView): Client | undefined {
  const served = servedAddresses(view, port.id);
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
    all: addressesOf(view, port.id, 6).map(({ ip }) => ip),
    isOnLink: (ip) => view.by(subnetTable, "network", port.network_id).some((s) => s.ip_version === 6 && contains(parseCidr(s.cidr)!, parseIp(ip)!)),
    leaseS: view.settings(dhcpSettings)["dhcp-lease"],
    nameServers: [...new Set(subnets.flatMap((subnet) => nameServersOf(view, subnet)))],
    domains,
    fqdn: host === undefined || domains[0] === undefined ? undefined : `${host}.${domains[0]}.`,
    options: view.get(portDhcpOptsTable, port.id)?.opts ?? [],
    limit: Math.max(IPV6_MTU_MIN, mtuOf(view, network)) - HEADERS,
  };
}
