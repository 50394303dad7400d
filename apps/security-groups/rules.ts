// Security groups as flows. Ports with the same set of groups share a policy key, which every flow matches: a rule is one
// flow (a few for port ranges) however many ports have it. A remote group is a conjunction: one flow per member address
// and one per protocol match, never their product.
import { chassisScope, each, isIpv6, toStage, toTable, type PortContext, type PortPlace, type ReadView } from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { boundConnection, boundPacket, familyOf, protocolMatches, remoteConnection, remotePacket, statelessMatches, type Direction } from "./matches.ts";
import { memberTable, NO_GROUPS_KEY, policyOf, policyScope, policyTable, portGroupsTable, remoteUseTable, ruleTable, useOf } from "./model.ts";
import { securityGroups } from "./tables.ts";

const BY_STATELESS = { out: securityGroups.entrance("sg_out_stateless"), in: securityGroups.entrance("sg_in_stateless") };

export const portContext: PortContext[] = [
  {
    acl: (view, { port_id: portId }) => (view.get(portTable, portId)?.port_security_enabled === true && policyOf(view, portId)?.stateless === true ? BY_STATELESS : undefined),
    register: "sg_policy",
    value(view: ReadView, { port_id: portId }: PortPlace): number {
      if (view.get(portTable, portId)?.port_security_enabled !== true) return 0;
      return policyOf(view, portId)?.key ?? NO_GROUPS_KEY;
    },
  },
];

interface Side {
  readonly table: "sg_in" | "sg_out";
  readonly connection: "sg_in_connection" | "sg_out_connection";
  readonly verdict: { readonly type: "table"; readonly table: "sg_in_verdict" | "sg_out_verdict" };
  readonly stateless: "sg_in_stateless" | "sg_out_stateless";
  /** What a rule of a stateless group lets pass goes on. */
  readonly allowed: { readonly type: "table"; readonly table: "sg_in_allowed" } | { readonly type: "stage"; readonly stage: "forward" };
}
const sides: Readonly<Record<Direction, Side>> = {
  ingress: { table: "sg_in", connection: "sg_in_connection", verdict: toTable("sg_in_verdict"), stateless: "sg_in_stateless", allowed: toTable("sg_in_allowed") },
  egress: { table: "sg_out", connection: "sg_out_connection", verdict: toTable("sg_out_verdict"), stateless: "sg_out_stateless", allowed: toStage("forward") },
};

const DIRECT = 200;
const CONJUNCTION = 100;

const securityGroupRule = securityGroups.rule({
  name: "security-group-rule",
  about: "what one rule lets pass, for every set of groups it is in",
  on: each(ruleTable),
  counted: true,
  emit(r, view, out) {
    const { table, connection: connectionTable, verdict, stateless, allowed } = sides[r.direction];
    const uses = useOf(r);
    const use = uses === undefined ? undefined : view.get(remoteUseTable, uses);
    if (uses !== undefined && use === undefined) return;
    const prefix = r.remote_ip_prefix;
    const [fromPacket, fromConnection] = prefix === null ? [{}, {}] : [remotePacket(r.direction, prefix), remoteConnection(r.direction, prefix)];
    const clause = use === undefined ? undefined : { priority: CONJUNCTION, actions: [{ type: "conjunction", id: use.key, clause: 1, n_clauses: 2 }] } as const;
    const then = clause ?? { priority: DIRECT, actions: [verdict] } as const;
    const { packets, connections } = protocolMatches(r);
    for (const policy of view.by(policyTable, "group", r.security_group_id)) {
      const scope = policyScope(policy.id);
      if (policy.stateless === true) {
        const onward = clause ?? { priority: DIRECT, actions: [allowed] } as const;
        for (const packet of statelessMatches(r)) out.flow(scope, stateless, { match: { "reg:sg_policy": policy.key, ...packet, ...fromPacket }, ...onward });
        continue;
      }
      for (const packet of packets) out.flow(scope, table, { match: { "reg:sg_policy": policy.key, ...packet, ...fromPacket }, ...then });
      for (const connection of connections) out.flow(scope, connectionTable, { match: { "reg:sg_policy": policy.key, ...connection, ...fromConnection }, ...then });
    }
  },
});

/**
 * A prefix of length 0 is told as two halves. It would say nothing, as a rule for all protocols does, and of a conjunction whose clauses are in one
 * flow Open vSwitch takes no notice: it looks at none with more clauses than flows match.
 */
const parts = (ip: string): readonly string[] => (!ip.endsWith("/0") ? [ip] : isIpv6(ip) ? ["::/1", "8000::/1"] : ["0.0.0.0/1", "128.0.0.0/1"]);

const remoteMember = securityGroups.rule({
  name: "remote-group-member",
  about: "a member address of a group, or of a set of another app, that rules refer to",
  on: each(memberTable),
  emit({ of, ip, bound }, view, out) {
    const ethertype = isIpv6(ip) ? "IPv6" : "IPv4";
    const eth_type = familyOf(ethertype);
    for (const use of view.by(remoteUseTable, "remote", of)) {
      if (use.ethertype !== ethertype) continue;
      const { table, connection, stateless } = sides[use.direction];
      const then = { priority: CONJUNCTION, actions: [{ type: "conjunction", id: use.key, clause: 0, n_clauses: 2 }] } as const;
      for (const policy of view.by(policyTable, "group", use.group)) {
        const scope = policyScope(policy.id);
          for (const part of bound === undefined ? parts(ip) : [ip]) {
          out.flow(scope, policy.stateless === true ? stateless : table, { match: { "reg:sg_policy": policy.key, eth_type, ...remotePacket(use.direction, part), ...boundPacket(use.direction, bound) }, ...then });
          if (policy.stateless === true) continue;
          for (const mac of boundConnection(use.direction, bound)) out.flow(scope, connection, { match: { "reg:sg_policy": policy.key, eth_type, ...remoteConnection(use.direction, part), ...mac }, ...then });
        }
      }
    }
  },
});

const remoteUse = securityGroups.rule({
  name: "remote-group",
  about: "member and protocol of a remote-group rule both match",
  on: each(remoteUseTable),
  counted: true,
  emit(use, view, out) {
    const { table, connection, verdict, stateless, allowed } = sides[use.direction];
    for (const policy of view.by(policyTable, "group", use.group)) {
      const flow = { priority: CONJUNCTION, match: { "reg:sg_policy": policy.key, eth_type: familyOf(use.ethertype), conj_id: use.key }, actions: [verdict] } as const;
      if (policy.stateless === true) out.flow(policyScope(policy.id), stateless, { ...flow, actions: [allowed] });
      else for (const t of [table, connection]) out.flow(policyScope(policy.id), t, flow);
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
