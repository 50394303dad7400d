// A punted packet in; packets out, to a port or into a stage, and facts (`learned`). Pure: it may read every table and must not wait
// for anything. What an app does unasked is a service: apps/dhcp/ra-service.ts is one.
import { buildEthernet, buildIcmpv4, buildIpv4, ethertypes, icmpv4Types, ipProtocols, PacketError, parsePacket } from "packet-codec";
import type { PacketInHandler } from "#app";
import { toPort } from "../l2/model.ts";

export const answerPing: PacketInHandler = (packet, _view, log) => {
  try {
    const { eth, ipv4, icmpv4 } = parsePacket(packet.data);
    if (ipv4 === undefined || icmpv4?.type !== icmpv4Types.echoRequest) return [];
    const icmp = buildIcmpv4({ type: icmpv4Types.echoReply, code: 0, rest: icmpv4.rest }, icmpv4.payload);
    const ip = buildIpv4({ src: ipv4.dst, dst: ipv4.src, protocol: ipProtocols.icmpv4 }, icmp);
    return [toPort(packet.chassis, packet.register("net"), packet.register("in_port_key"), buildEthernet({ dst: eth.src, src: eth.dst, ethertype: ethertypes.ipv4 }, ip))];
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, chassis: packet.chassis }, "a ping that cannot be read");
    return [];
  }
};
