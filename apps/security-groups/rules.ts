// Security groups as flows. Ports with the same set of groups share a policy key, which every flow matches: a rule is one
// flow (a few for port ranges) however many ports have it. A remote group is a conjunction: one flow per member address
// and one per protocol match, never their product.
import {
  chassisScope, defineTable, derivation, each, ethType, ipProto, rule, toStage, toTable, type Emit, type FlowAction, type FlowMatch, type PortContext, type ReadView, type Row, type StageName,
} from "#app";
import { addressTable, attachmentTable, portTable } from "../l2/model.ts";
import { NO_GROUPS_KEY, policyScope, policyTable, portGroupsTable, remoteUseId, remoteUseTable, ruleTable, type SecurityGroupRule } from "./model.ts";
import { protocolNumber, portMasks } from "./protocol.ts";

/** An address that counts as a member of a group: `id` is `<group>/<port>/<ip>`. */
export interface Member extends Row {
  readonly group: string;
  /** Address or CIDR. */
  readonly ip: string;
  readonly port_id: string;
}
export const memberTable = defineTable<Member>()("sg_member", { derived: true });

export const derive = [
  derivation({
    name: "sg-member",
    on: each(portGroupsTable),
    into: memberTable,
    derive(port, view): Member[] {
      const ips = view.by(addressTable, "port", port.id).map((a) => a.ip);
      for (const pair of view.get(portTable, port.id)?.allowed_address_pairs ?? []) if (!ips.includes(pair.ip_address)) ips.push(pair.ip_address);
      return port.groups.flatMap((group) => ips.map((ip) => ({ id: `${group}/${port.id}/${ip}`, group, ip, port_id: port.id })));
    },
  }),
];

export const portContext: PortContext[] = [
  {
    register: "sg_policy",
    value(view: ReadView, portId: string): number {
      if (view.get(portTable, portId)?.port_security_enabled !== true) return 0;
      const groups = view.get(portGroupsTable, portId);
      return groups === undefined || groups.groups.length === 0 ? NO_GROUPS_KEY : (view.get(policyTable, groups.policy)?.key ?? NO_GROUPS_KEY);
    },
  },
];

interface Side {
  readonly table: "sg_in" | "sg_out";
  readonly verdict: FlowAction;
  /** Which end of the packet is the remote one. */
  readonly remote: "src" | "dst";
}
const sides: Readonly<Record<"ingress" | "egress", Side>> = {
  ingress: { table: "sg_in", verdict: toTable("sg_in_verdict"), remote: "src" },
  egress: { table: "sg_out", verdict: toTable("sg_out_verdict"), remote: "dst" },
};

const DIRECT = 200;
const CONJUNCTION = 100;

const familyOf = (ethertype: "IPv4" | "IPv6"): number => (ethertype === "IPv4" ? ethType.ip : ethType.ipv6);
const remoteMatch = (side: Side, ip: string): FlowMatch =>
  ({ [ip.includes(":") ? `ipv6_${side.remote}` : `ipv4_${side.remote}`]: ip });

/** The protocol part of a rule: one match for each mask that its port range needs. */
function protocolMatches(r: SecurityGroupRule): FlowMatch[] {
  const family: FlowMatch = { eth_type: familyOf(r.ethertype) };
  const protocol = protocolNumber(r.protocol, r.ethertype);
  if (protocol === undefined) return [family];
  const base: FlowMatch = { ...family, ip_proto: protocol };
  if (r.port_range_min === null) return [base];
  if (protocol === ipProto.icmp || protocol === ipProto.icmpv6) {
    const name = protocol === ipProto.icmp ? "icmpv4" : "icmpv6";
    return [{ ...base, [`${name}_type`]: r.port_range_min, ...(r.port_range_max === null ? {} : { [`${name}_code`]: r.port_range_max }) }];
  }
  const field = protocol === ipProto.tcp ? "tcp_dst" : protocol === ipProto.udp ? "udp_dst" : protocol === ipProto.sctp ? "sctp_dst" : undefined;
  // Ports that no field has: nothing rather than the whole protocol. The API refuses such rules; a store may have them from before it did.
  if (field === undefined) return [];
  return portMasks(r.port_range_min, r.port_range_max ?? r.port_range_min).map(({ value, mask }) => ({ ...base, [field]: mask === 0xffff ? value : { value, mask } }));
}

const securityGroupRule = rule({
  name: "security-group-rule",
  about: "what one rule lets pass, for every set of groups it is in",
  on: each(ruleTable),
  emit(r, view, out) {
    const side = sides[r.direction];
    const use = r.remote_group_id === null ? undefined : view.get(remoteUseTable, remoteUseId(r.security_group_id, r.remote_group_id, r.direction, r.ethertype));
    if (r.remote_group_id !== null && use === undefined) return;
    const remote = r.remote_ip_prefix === null || r.remote_ip_prefix.endsWith("/0") ? {} : remoteMatch(side, r.remote_ip_prefix);
    for (const policy of view.by(policyTable, "group", r.security_group_id)) {
      for (const match of protocolMatches(r)) {
        const full = { "reg:sg_policy": policy.key, ...match, ...remote };
        if (use === undefined) out.flow(policyScope(policy.id), side.table, { priority: DIRECT, match: full, actions: [side.verdict] });
        else out.flow(policyScope(policy.id), side.table, { priority: CONJUNCTION, match: full, actions: [{ type: "conjunction", id: use.key, clause: 1, n_clauses: 2 }] });
      }
    }
  },
});

const remoteMember = rule({
  name: "remote-group-member",
  about: "a member address of a group that rules refer to",
  on: each(memberTable),
  emit(member, view, out) {
    const ethertype = member.ip.includes(":") ? "IPv6" : "IPv4";
    for (const use of view.by(remoteUseTable, "remote", member.group)) {
      if (use.ethertype !== ethertype) continue;
      const side = sides[use.direction];
      const remote: FlowMatch = member.ip.endsWith("/0") ? {} : remoteMatch(side, member.ip);
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

const remoteUse = rule({
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

const policyOnChassis = rule({
  name: "policy",
  about: "a chassis has the policies of its own ports",
  on: each(attachmentTable),
  emit(at, view, out) {
    const groups = view.get(portGroupsTable, at.id);
    if (groups !== undefined && groups.groups.length > 0) out.include(chassisScope(at.chassis), policyScope(groups.policy));
  },
});

export const rules = [securityGroupRule, remoteMember, remoteUse, policyOnChassis];

/** ct_state bits, ovs-fields(7). */
const ct = { new: 0x01, est: 0x02, rel: 0x04, rpl: 0x08, inv: 0x10, trk: 0x20 } as const;
const state = (on: number, off: number): FlowMatch => ({ ct_state: { value: on, mask: on | off } });
/** ct_mark of a connection that was allowed once and is not any more. */
const BLOCKED = 1;

export function staticFlows(out: Emit): void {
  const stages: [string, string, StageName][] = [["sg_out", "sg_out_verdict", "forward"], ["sg_in", "sg_in_verdict", "deliver"]];
  for (const [table, verdict, onward] of stages) {
    const flow = (t: string, priority: number, match: FlowMatch, ...actions: FlowAction[]): void => out.flow("base", t, { priority, match, actions });
    for (const eth_type of [ethType.ip, ethType.ipv6]) {
      flow(table, 900, { eth_type, ...state(ct.trk | ct.inv, 0) });
      flow(table, 800, { eth_type, ...state(ct.trk | ct.est | ct.rpl, ct.inv), ct_mark: 0 }, toStage(onward));
      flow(table, 800, { eth_type, ...state(ct.trk | ct.rel, ct.inv), ct_mark: 0 }, toStage(onward));
      flow(table, 800, { eth_type, ...state(ct.trk | ct.est | ct.rpl, ct.inv), ct_mark: BLOCKED });
      // No rule lets it pass any more: stop the answers too.
      flow(table, 10, { eth_type, ...state(ct.trk | ct.est, ct.rpl | ct.inv), ct_mark: 0 }, { type: "ct_commit", mark: BLOCKED });
      flow(verdict, 100, { eth_type, ...state(ct.trk | ct.new, 0) }, { type: "ct_commit", mark: 0 }, toStage(onward));
      flow(verdict, 100, { eth_type, ...state(ct.trk | ct.est, ct.new), ct_mark: 0 }, toStage(onward));
      flow(verdict, 100, { eth_type, ...state(ct.trk | ct.est, ct.new), ct_mark: BLOCKED }, { type: "ct_commit", mark: 0 }, toStage(onward));
    }
  }
  // Neighbour discovery is not policy's business; conntrack has no state for it.
  for (const icmpv6_type of [133, 134, 135, 136]) {
    out.flow("base", "sg_in", { priority: 1000, match: { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type }, actions: [toStage("deliver")] });
  }
}
