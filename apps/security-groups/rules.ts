// Security groups as flows. Ports with the same set of groups share a policy key, which every flow matches: a rule is one
// flow (a few for port ranges) however many ports have it. A remote group is a conjunction: one flow per member address
// and one per protocol match, never their product.
import {
  baseScope, chassisScope, each, ethType, ipDst, ipProto, ipSrc, isIpv6, toStage, toTable, type PortContext, type PortPlace, type ReadView,
} from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { members, memberTable, type BoundTo } from "./members.ts";
import { NO_GROUPS_KEY, policyScope, policyTable, portGroupsTable, remoteUseId, remoteUseTable, ruleTable, type SecurityGroupRule } from "./model.ts";
import { protocolNumber, portMasks, type PortMask } from "./protocol.ts";
import { securityGroups } from "./tables.ts";

export const derive = [members];

export const portContext: PortContext[] = [
  {
    register: "sg_policy",
    value(view: ReadView, { port_id: portId }: PortPlace): number {
      if (view.get(portTable, portId)?.port_security_enabled !== true) return 0;
      const groups = view.get(portGroupsTable, portId);
      return groups === undefined || groups.groups.length === 0 ? NO_GROUPS_KEY : (view.get(policyTable, groups.policy)?.key ?? NO_GROUPS_KEY);
    },
  },
];

interface Side {
  readonly table: "sg_in" | "sg_out";
  readonly verdict: { readonly type: "table"; readonly table: "sg_in_verdict" | "sg_out_verdict" };
  /** Match of the remote end of the packet. */
  readonly remote: typeof ipSrc | typeof ipDst;
  readonly mac: "eth_src" | "eth_dst";
}
const sides: Readonly<Record<"ingress" | "egress", Side>> = {
  ingress: { table: "sg_in", verdict: toTable("sg_in_verdict"), remote: ipSrc, mac: "eth_src" },
  egress: { table: "sg_out", verdict: toTable("sg_out_verdict"), remote: ipDst, mac: "eth_dst" },
};

const boundTo = ({ net, mac }: BoundTo, side: Side): { readonly "reg:net": number; readonly eth_src?: string; readonly eth_dst?: string } => ({ "reg:net": net, [side.mac]: mac });

const DIRECT = 200;
const CONJUNCTION = 100;

const familyOf = (ethertype: "IPv4" | "IPv6"): number => (ethertype === "IPv4" ? ethType.ip : ethType.ipv6);

/** What of a packet's protocol a rule says. */
interface ProtocolMatch {
  readonly eth_type: number;
  readonly ip_proto?: number;
  readonly icmpv4_type?: number;
  readonly icmpv4_code?: number;
  readonly icmpv6_type?: number;
  readonly icmpv6_code?: number;
  readonly tcp_dst?: number | PortMask;
  readonly udp_dst?: number | PortMask;
  readonly sctp_dst?: number | PortMask;
}

/** The protocol part of a rule: one match for each mask that its port range needs. */
function protocolMatches(r: SecurityGroupRule): ProtocolMatch[] {
  const family: ProtocolMatch = { eth_type: familyOf(r.ethertype) };
  const protocol = protocolNumber(r.protocol, r.ethertype);
  if (protocol === undefined) return [family];
  const base: ProtocolMatch = { ...family, ip_proto: protocol };
  const { port_range_min: min, port_range_max: max } = r;
  if (min === null) return [base];
  if (protocol === ipProto.icmp) return [{ ...base, icmpv4_type: min, ...(max === null ? {} : { icmpv4_code: max }) }];
  if (protocol === ipProto.icmpv6) return [{ ...base, icmpv6_type: min, ...(max === null ? {} : { icmpv6_code: max }) }];
  const masks = portMasks(min, max ?? min).map(({ value, mask }) => (mask === 0xffff ? value : { value, mask }));
  if (protocol === ipProto.tcp) return masks.map((tcp_dst) => ({ ...base, tcp_dst }));
  if (protocol === ipProto.udp) return masks.map((udp_dst) => ({ ...base, udp_dst }));
  if (protocol === ipProto.sctp) return masks.map((sctp_dst) => ({ ...base, sctp_dst }));
  // Ports that no field has: nothing rather than the whole protocol. The API refuses such rules; a store may have them from before it did.
  return [];
}

const securityGroupRule = securityGroups.rule({
  name: "security-group-rule",
  about: "what one rule lets pass, for every set of groups it is in",
  on: each(ruleTable),
  emit(r, view, out) {
    const side = sides[r.direction];
    const use = r.remote_group_id === null ? undefined : view.get(remoteUseTable, remoteUseId(r.security_group_id, r.remote_group_id, r.direction, r.ethertype));
    if (r.remote_group_id !== null && use === undefined) return;
    const remote = r.remote_ip_prefix === null || r.remote_ip_prefix.endsWith("/0") ? {} : side.remote(r.remote_ip_prefix);
    for (const policy of view.by(policyTable, "group", r.security_group_id)) {
      for (const match of protocolMatches(r)) {
        const full = { "reg:sg_policy": policy.key, ...match, ...remote };
        if (use === undefined) out.flow(policyScope(policy.id), side.table, { priority: DIRECT, match: full, actions: [side.verdict] });
        else out.flow(policyScope(policy.id), side.table, { priority: CONJUNCTION, match: full, actions: [{ type: "conjunction", id: use.key, clause: 1, n_clauses: 2 }] });
      }
    }
  },
});

const remoteMember = securityGroups.rule({
  name: "remote-group-member",
  about: "a member address of a group that rules refer to",
  on: each(memberTable),
  emit(member, view, out) {
    const ethertype = isIpv6(member.ip) ? "IPv6" : "IPv4";
    for (const use of view.by(remoteUseTable, "remote", member.group)) {
      if (use.ethertype !== ethertype) continue;
      const side = sides[use.direction];
      const remote = { ...(member.ip.endsWith("/0") ? {} : side.remote(member.ip)), ...(member.bound === undefined ? {} : boundTo(member.bound, side)) };
      for (const policy of view.by(policyTable, "group", use.group)) {
        out.flow(policyScope(policy.id), side.table, {
          priority: CONJUNCTION,
          match: { "reg:sg_policy": policy.key, eth_type: familyOf(ethertype), ...remote },
          actions: [{ type: "conjunction", id: use.key, clause: 0, n_clauses: 2 }],
        });
      }
    }
  },
});

const remoteUse = securityGroups.rule({
  name: "remote-group",
  about: "member and protocol of a remote-group rule both match",
  on: each(remoteUseTable),
  emit(use, view, out) {
    const side = sides[use.direction];
    for (const policy of view.by(policyTable, "group", use.group)) {
      out.flow(policyScope(policy.id), side.table, {
        priority: CONJUNCTION,
        match: { "reg:sg_policy": policy.key, eth_type: familyOf(use.ethertype), conj_id: use.key },
        actions: [side.verdict],
      });
    }
  },
});

const policyOnChassis = securityGroups.rule({
  name: "policy",
  about: "a chassis has the policies of its own ports",
  on: each(attachmentTable),
  emit(at, view, out) {
    const groups = view.get(portGroupsTable, at.port_id);
    if (groups !== undefined && groups.groups.length > 0) out.include(chassisScope(at.chassis), policyScope(groups.policy));
  },
});

export const rules = [securityGroupRule, remoteMember, remoteUse, policyOnChassis];

/** ct_state bits, ovs-fields(7). */
const ct = { new: 0x01, est: 0x02, rel: 0x04, rpl: 0x08, inv: 0x10, trk: 0x20 } as const;
const state = (on: number, off: number): { readonly ct_state: PortMask } => ({ ct_state: { value: on, mask: on | off } });
/** ct_mark of a connection that was allowed once and is not any more. */
const BLOCKED = 1;
const commit = (mark: number) => ({ type: "ct", zone: "ct_zone", commit: true, mark }) as const;

export const staticFlows = securityGroups.static((out) => {
  /** Where an allowed packet goes on, and which packets: those to a port with functions of its own pass the egress stage. */
  const ways = {
    out: [{ at: {}, to: toStage("forward") }],
    in: [{ at: { "reg:egress": 0 }, to: toStage("deliver") }, { at: { "reg:egress": 1 }, to: toStage("egress") }],
  } as const;
  for (const [table, verdict, onward] of [["sg_out", "sg_out_verdict", ways.out], ["sg_in", "sg_in_verdict", ways.in]] as const) {
    for (const eth_type of [ethType.ip, ethType.ipv6]) {
      out.flow(baseScope, table, { priority: 900, match: { eth_type, ...state(ct.trk | ct.inv, 0) }, actions: [] });
      out.flow(baseScope, table, { priority: 800, match: { eth_type, ...state(ct.trk | ct.est | ct.rpl, ct.inv), ct_mark: BLOCKED }, actions: [] });
      // No rule lets it pass any more: stop the answers too.
      out.flow(baseScope, table, { priority: 10, match: { eth_type, ...state(ct.trk | ct.est, ct.rpl | ct.inv), ct_mark: 0 }, actions: [commit(BLOCKED)] });
      for (const { at, to } of onward) {
        out.flow(baseScope, table, { priority: 800, match: { ...at, eth_type, ...state(ct.trk | ct.est | ct.rpl, ct.inv), ct_mark: 0 }, actions: [to] });
        out.flow(baseScope, table, { priority: 800, match: { ...at, eth_type, ...state(ct.trk | ct.rel, ct.inv), ct_mark: 0 }, actions: [to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.new, 0) }, actions: [commit(0), to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.est, ct.new), ct_mark: 0 }, actions: [to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.est, ct.new), ct_mark: BLOCKED }, actions: [commit(0), to] });
      }
    }
  }
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    for (const { at, to } of ways.in) out.flow(baseScope, "sg_in", { priority: 1100, match: { ...at, "reg:from_network": 1, eth_type }, actions: [to] });
  }
  // Neighbour discovery of the link is not policy's business; conntrack has no state for it.
  for (const icmpv6_type of [133, 134, 135, 136]) {
    for (const { at, to } of ways.in) out.flow(baseScope, "sg_in", { priority: 1000, match: { ...at, eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type, ip_ttl: 255 }, actions: [to] });
  }
});
