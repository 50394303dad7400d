// What no rule of a port allows, where a group of the port says that whoever sent it is told: a reset for TCP, for all else that it is administratively
// prohibited. What the port itself sent is answered straight to it; to what came to it the answer goes as one of the port's own packets, so to a
// sender anywhere, through routers as well, and is let in there as an answer.
import { baseScope, chassisScope, derivation, each, ethType, load, toTable, type PacketInHandler, type StageOut } from "#app";
import { buildEthernet, buildIcmpv4Error, buildIcmpv6Error, buildIpv4, buildIpv6, ethertypes, icmpv4Types, icmpv6Types, ipProtocols, PacketError, parsePacket, type Packet } from "packet-codec";
import { attachmentTable, ERROR_TOS, networkTable, noErrorAbout, portTable, resetOf, toPort } from "../l2/model.ts";
import { ct, state, UNFRAGMENTED } from "./matches.ts";
import { copiesOf, deniedMeter, droppedOf, groupTable, policyOf, policyScope, policyTable, portGroupsTable, rejectingPolicyTable, type RejectingPolicy } from "./model.ts";
import { securityGroups } from "./tables.ts";

/** For each port. */
const DENIED_METER = { unit: "pps", rate: 10, burst: 20 } as const;
/** Communication administratively prohibited. RFC 1812 section 5.2.7.1, RFC 4443 section 3.1 */
const PROHIBITED = { 4: { type: icmpv4Types.destinationUnreachable, code: 13 }, 6: { type: icmpv6Types.destinationUnreachable, code: 1 } } as const;

export const rejectingPolicies = derivation({
  name: "sg-rejecting-policy",
  on: each(policyTable),
  into: rejectingPolicyTable,
  reads: [groupTable],
  derive: ({ id, key, groups, stateless }, view): RejectingPolicy | undefined =>
    groups.some((g) => view.get(groupTable, g)?.rejects === true) ? { id, key, stateless: stateless === true } : undefined,
});

const rejecting = securityGroups.rule({
  name: "denied",
  about: "what no rule allows, where the sender is told so",
  on: each(rejectingPolicyTable),
  emit(policy, _view, out) {
    const scope = policyScope(policy.id);
    for (const eth_type of [ethType.ip, ethType.ipv6]) {
      // Fragments may be what conntrack held of others.
      const match = { "reg:sg_policy": policy.key, eth_type, ...UNFRAGMENTED } as const;
      for (const [table, stateless, denied] of [["sg_out", "sg_out_stateless", "sg_out_denied"], ["sg_in", "sg_in_stateless", "sg_in_denied"]] as const) {
        if (policy.stateless) out.flow(scope, stateless, { priority: 5, match, actions: [toTable(denied)] });
        // Answers are nobody's first word: who is told of them has been told, or let them come.
        else out.flow(scope, table, { priority: 5, match: { ...match, ...state(ct.trk, ct.inv | ct.rpl) }, actions: [toTable(denied)] });
      }
    }
  },
});

const OUT = "security_group_egress";
const IN = "security_group_ingress";

const deniedAtPort = securityGroups.rule({
  name: "denied-at-port",
  about: "so many times a second a port tells, or is told",
  on: each(attachmentTable),
  drops: { sg_out_denied: OUT, sg_in_denied: IN },
  emit(at, view, out) {
    const groups = view.get(portGroupsTable, at.port_id);
    if (groups === undefined || view.get(rejectingPolicyTable, groups.policy) === undefined) return;
    const scope = chassisScope(at.chassis);
    const meter = deniedMeter(at.slot);
    out.item(scope, "meter", meter, DENIED_METER);
    out.flow(scope, "sg_out_denied", { priority: 100, match: { "reg:in_port_key": at.port_key }, actions: [...copiesOf(view, at.port_id, "dropped", "out"), { type: "punt", meter }] });
    out.flow(scope, "sg_in_denied", { priority: 100, match: { "reg:out_port_key": at.port_key }, actions: [...copiesOf(view, at.port_id, "dropped", "in"), load("denied", 1), { type: "punt", meter }] });
  },
});

const droppedAtPort = securityGroups.rule({
  name: "dropped-at-port",
  about: "what no rule allows is dropped, and counted for each port",
  on: each(attachmentTable),
  drops: { sg_out: OUT, sg_out_stateless: OUT, sg_in: IN, sg_in_stateless: IN },
  emit(at, view, out) {
    if (at.role !== "active" || view.get(portTable, at.port_id)?.port_security_enabled !== true) return;
    const scope = chassisScope(at.chassis);
    const stateless = policyOf(view, at.port_id)?.stateless === true;
    out.flow(scope, stateless ? "sg_out_stateless" : "sg_out", { priority: 1, match: { "reg:in_port_key": at.port_key }, actions: droppedOf(view, at.port_id, "out") });
    out.flow(scope, stateless ? "sg_in_stateless" : "sg_in", { priority: 1, match: { "reg:out_port_key": at.port_key }, actions: droppedOf(view, at.port_id, "in") });
  },
});

export const rejectRules = [rejecting, deniedAtPort, droppedAtPort];

/** What is sent to many comes to ports that never asked for it: it is not counted as denied to each of them. */
export const deniedToMany = securityGroups.static((out) => {
  const toMany = { eth_dst: { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" } } as const;
  for (const table of ["sg_in", "sg_in_stateless"] as const) out.flow(baseScope, table, { priority: 2, match: toMany, actions: [] });
});

const denied = ((packet, view, log): readonly StageOut[] => {
  const inward = packet.register("denied", securityGroups) === 1;
  const port = view.by(portTable, "key", String(packet.register(inward ? "out_port_key" : "in_port_key")))[0];
  const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
  if (port === undefined || network === undefined) return [];
  let frame: Packet;
  try {
    frame = parsePacket(packet.data);
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    log.debug({ err: error, port: port.id }, "malformed packet denied");
    return [];
  }
  const data = noErrorAbout(frame) === undefined ? refusalOf(frame) : undefined;
  if (data === undefined) return [];
  if (!inward) return [toPort(packet.chassis, network.key, port.key, data)];
  return [{ chassis: packet.chassis, stage: "forward", registers: { net: network.key, in_port_key: port.key }, data }];
}) satisfies PacketInHandler;

export const packetIn = { sg_out_denied: denied, sg_in_denied: denied };

/** From whom it was meant for to who sent it. */
function refusalOf(frame: Packet): Buffer | undefined {
  const { eth, ipv4, ipv6, tcp } = frame;
  if (tcp !== undefined) return resetOf(frame, tcp, eth.dst, eth.src);
  if (ipv4 !== undefined) {
    const error = buildIcmpv4Error(PROHIBITED[4], eth.payload.subarray(0, ipv4.total_length));
    return buildEthernet({ dst: eth.src, src: eth.dst, ethertype: ethertypes.ipv4 }, buildIpv4({ src: ipv4.dst, dst: ipv4.src, protocol: ipProtocols.icmpv4, tos: ERROR_TOS }, error));
  }
  const ends = { src: ipv6!.dst, dst: ipv6!.src };
  const error = buildIcmpv6Error(PROHIBITED[6], eth.payload.subarray(0, 40 + ipv6!.payload_length), ends);
  return buildEthernet({ dst: eth.src, src: eth.dst, ethertype: ethertypes.ipv6 }, buildIpv6({ ...ends, next_header: ipProtocols.icmpv6 }, error));
}
