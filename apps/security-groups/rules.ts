// Security groups as flows. Ports with the same set of groups share a policy key, which every flow matches: a rule is one
// flow (a few for port ranges) however many ports have it. A remote group is a conjunction: one flow per member address
// and one per protocol match, never their product.
import {
  baseScope, chassisScope, chassisTable, derivation, each, ethType, ipProto, isIpv6, toStage, toTable, type Emit, type PortContext, type PortPlace, type ReadView, type Scope,
} from "#app";
import { addressTable, attachmentTable, portTable, type Attachment, type Port } from "../l2/model.ts";
import { boundConnection, boundPacket, ct, familyOf, FRAGMENT, LATER, protocolMatches, remoteConnection, remotePacket, state, statelessMatches, type Direction } from "./matches.ts";
import { members } from "./members.ts";
import {
  arrivalMeter, connectionLimitTable, connectionMeter, groupTable, keptPolicyTable, memberTable, NO_GROUPS_KEY, policyScope, policyTable, portGroupsTable, remoteUseTable, useOf, ruleTable, securityGroupsSettings, type ConnectionLimit, type KeptPolicy, type Policy,
} from "./model.ts";
import { securityGroups } from "./tables.ts";

/** The policy of a port; undefined: it has no groups. */
const policyOf = (view: ReadView, portId: string): Policy | undefined => {
  const groups = view.get(portGroupsTable, portId);
  return groups === undefined || groups.groups.length === 0 ? undefined : view.get(policyTable, groups.policy);
};

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

const COMMIT = { type: "ct", zone: "ct_zone", commit: true } as const;
/** ct_mark of a connection of which fragments were seen together. */
const WHOLE = 2;
const JOIN = { ...COMMIT, mark: WHOLE } as const;
/** ct_label of a connection that was opened while its port keeps connections. */
const KEPT = 1n;

/** Where an allowed packet goes on behind ingress rules, and which packets: those to a port with functions of its own pass the egress stage. */
const ON_IN = [{ at: { "reg:egress": 0 }, to: toStage("deliver") }, { at: { "reg:egress": 1 }, to: toStage("egress") }] as const;
const DIRECT = 200;
const CONJUNCTION = 100;

const securityGroupRule = securityGroups.rule({
  name: "security-group-rule",
  about: "what one rule lets pass, for every set of groups it is in",
  on: each(ruleTable),
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
        for (const packet of statelessMatches(r)) out.flow(scope, stateless, { ...onward, match: { "reg:sg_policy": policy.key, ...packet, ...fromPacket } });
        continue;
      }
      for (const packet of packets) out.flow(scope, table, { ...then, match: { "reg:sg_policy": policy.key, ...packet, ...fromPacket } });
      for (const connection of connections) out.flow(scope, connectionTable, { ...then, match: { "reg:sg_policy": policy.key, ...connection, ...fromConnection } });
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
    for (const use of view.by(remoteUseTable, "remote", of)) {
      if (use.ethertype !== ethertype) continue;
      const { table, connection, stateless } = sides[use.direction];
      const then = { priority: CONJUNCTION, actions: [{ type: "conjunction", id: use.key, clause: 0, n_clauses: 2 }] } as const;
      for (const policy of view.by(policyTable, "group", use.group)) {
        const scope = policyScope(policy.id);
        const common = { "reg:sg_policy": policy.key, eth_type: familyOf(ethertype) } as const;
        for (const part of bound === undefined ? parts(ip) : [ip]) {
          out.flow(scope, policy.stateless === true ? stateless : table, { ...then, match: { ...common, ...remotePacket(use.direction, part), ...boundPacket(use.direction, bound) } });
          if (policy.stateless === true) continue;
          for (const mac of boundConnection(use.direction, bound)) out.flow(scope, connection, { ...then, match: { ...common, ...remoteConnection(use.direction, part), ...mac } });
        }
      }
    }
  },
});

const remoteUse = securityGroups.rule({
  name: "remote-group",
  about: "member and protocol of a remote-group rule both match",
  on: each(remoteUseTable),
  emit(use, view, out) {
    const { table, connection, verdict, stateless, allowed } = sides[use.direction];
    for (const policy of view.by(policyTable, "group", use.group)) {
      const flow = { priority: CONJUNCTION, match: { "reg:sg_policy": policy.key, eth_type: familyOf(use.ethertype), conj_id: use.key }, actions: [verdict] } as const;
      if (policy.stateless === true) out.flow(policyScope(policy.id), stateless, { ...flow, actions: [allowed] });
      else for (const t of [table, connection]) out.flow(policyScope(policy.id), t, flow);
    }
  },
});

const keptPolicies = derivation({
  name: "sg-kept-policy",
  on: each(policyTable),
  into: keptPolicyTable,
  reads: [groupTable],
  derive: ({ id, key, groups, stateless }, view): KeptPolicy | undefined => (stateless !== true && groups.some((g) => view.get(groupTable, g)?.keep_established === true) ? { id, key } : undefined),
});

const keptConnections = securityGroups.rule({
  name: "kept-connections",
  about: "connections of ports that keep them go on, whatever rules say now",
  on: each(keptPolicyTable),
  emit(policy, _view, out) {
    const scope = policyScope(policy.id);
    for (const eth_type of [ethType.ip, ethType.ipv6]) {
      const kept = { "reg:sg_policy": policy.key, eth_type, ct_label: { value: KEPT, mask: KEPT } } as const;
      for (const [table, own, other] of [["sg_out", "sg_out_verdict", "sg_in_verdict"], ["sg_in", "sg_in_verdict", "sg_out_verdict"]] as const) {
        for (const on of [ct.est, ct.rel]) out.flow(scope, table, { priority: 850, match: { ...kept, ...state(ct.trk | on, ct.inv | ct.rpl | ct.new) }, actions: [toTable(own)] });
        out.flow(scope, table, { priority: 850, match: { ...kept, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable(other)] });
      }
    }
  },
});

const connectionLimits = derivation({
  name: "sg-connection-limit",
  on: each(chassisTable),
  into: connectionLimitTable,
  reads: [],
  derive({ id }, view): ConnectionLimit {
    const settings = view.settings(securityGroupsSettings);
    return { id, pps: settings["new-connections-pps"], burst: settings["new-connections-burst"] };
  },
});

export const derive = [members, keptPolicies, connectionLimits];

const policyOnChassis = securityGroups.rule({
  name: "policy",
  about: "a chassis has the policies of its own ports",
  on: each(attachmentTable),
  emit(at, view, out) {
    const groups = view.get(portGroupsTable, at.port_id);
    if (groups !== undefined && groups.groups.length > 0) out.include(chassisScope(at.chassis), policyScope(groups.policy));
  },
});

/** What reaches the policy of a port: IPv6 only if it has an address of it. */
const familiesOf = (port: Port, view: ReadView): readonly number[] =>
  view.by(addressTable, "port", port.id).some((a) => isIpv6(a.ip)) || port.allowed_address_pairs.some((p) => isIpv6(p.ip_address)) ? [ethType.ip, ethType.ipv6] : [ethType.ip];

/** Gives a port at a place a meter for what opens connections; undefined: it has no groups, and nothing passes. */
function metered(at: Attachment, view: ReadView, out: Emit<typeof securityGroups>, meterOf: (zone: number) => number): { readonly scope: Scope; readonly meter: number; readonly families: readonly number[]; readonly commit: typeof COMMIT & { readonly label?: bigint } } | undefined {
  const port = view.get(portTable, at.port_id);
  const policy = policyOf(view, at.port_id);
  if (port === undefined || policy === undefined || policy.stateless === true) return undefined;
  const limit = view.get(connectionLimitTable, at.chassis);
  if (limit === undefined) return undefined;
  const scope = chassisScope(at.chassis);
  const meter = meterOf(at.slot);
  out.item(scope, "meter", meter, { unit: "pps", rate: limit.pps, burst: limit.burst });
  return { scope, meter, families: familiesOf(port, view), commit: view.get(keptPolicyTable, policy.id) === undefined ? COMMIT : { ...COMMIT, label: KEPT } };
}

const portConnections = securityGroups.rule({
  name: "port-connections",
  about: "what opens connections of a port passes the port's own meter",
  on: each(attachmentTable),
  emit(at, view, out) {
    const own = metered(at, view, out, connectionMeter);
    if (own === undefined) return;
    const { scope, meter, commit } = own;
    const sender = { "reg:in_port_key": at.port_key } as const;
    for (const eth_type of own.families) {
      out.flow(scope, "sg_out_verdict", { priority: 105, match: { ...sender, eth_type, ...state(ct.trk | ct.new, ct.rpl) }, meter, actions: [commit, toStage("forward")] });
      if (commit.label !== undefined) out.flow(scope, "sg_out_new_fragment", { priority: 110, match: { ...sender, eth_type }, meter, actions: [{ ...commit, mark: WHOLE, then: { table: "sg_out_fragment" } }] });
    }
    out.flow(scope, "sg_out_new_fragment", { priority: 100, match: sender, meter, actions: [toTable("sg_out_join")] });
  },
});

const portArrivals = securityGroups.rule({
  name: "port-arrivals",
  about: "what others open to a port passes a meter of the port, whoever they are and whether or not they passed their own",
  on: each(attachmentTable),
  emit(at, view, out) {
    const own = metered(at, view, out, arrivalMeter);
    if (own === undefined) return;
    const { scope, meter, commit } = own;
    for (const eth_type of own.families) {
      const opens = { "reg:out_port_key": at.port_key, eth_type, ...state(ct.trk | ct.new, ct.rpl) } as const;
      for (const { at: where, to } of ON_IN) out.flow(scope, "sg_in_verdict", { priority: 105, match: { ...opens, ...where }, meter, actions: [commit, to] });
      out.flow(scope, "sg_in_verdict", { priority: 120, match: { ...opens, ...FRAGMENT }, meter, actions: [{ ...commit, mark: WHOLE, then: { table: "sg_in_fragment" } }] });
    }
  },
});

const statelessPolicy = securityGroups.rule({
  name: "stateless-policy",
  about: "what a port without stateful groups sends that a service saw first and did not take",
  on: each(policyTable),
  emit(policy, _view, out) {
    if (policy.stateless !== true) return;
    for (const eth_type of [ethType.ip, ethType.ipv6]) out.flow(policyScope(policy.id), "sg_out", { priority: 950, match: { "reg:sg_policy": policy.key, eth_type }, actions: [toTable("sg_out_stateless")] });
  },
});

export const rules = [securityGroupRule, remoteMember, remoteUse, statelessPolicy, keptConnections, policyOnChassis, portConnections, portArrivals];

/**
 * Fragments come out of conntrack one by one in the userspace datapath, and those after the first show no ports, neither their own nor their
 * connection's. They are let on to the verdict, and all fragments pass conntrack there once more, which holds them until all are there again:
 * later ones leave only together with a first one that the rules let pass. A kernel puts packets together in conntrack, and shows none.
 */
export const staticFlows = securityGroups.static((out) => {
  const onOut = [{ at: {}, to: toStage("forward") }] as const;
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    // The port opened it, or another did: answers go by what that direction's rules say of the connection, whoever speaks and for however long.
    for (const [table, own, other] of [["sg_out", "sg_out", "sg_in"], ["sg_in", "sg_in", "sg_out"]] as const) {
      out.flow(baseScope, table, { priority: 900, match: { eth_type, ...state(ct.trk | ct.inv, 0) }, actions: [] });
      out.flow(baseScope, table, { priority: 810, match: { eth_type, ...LATER, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable(`${other}_verdict`)] });
      out.flow(baseScope, table, { priority: 800, match: { eth_type, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable(`${other}_connection`)] });
      out.flow(baseScope, table, { priority: 800, match: { eth_type, ...state(ct.trk | ct.rel, ct.inv | ct.rpl) }, actions: [toTable(`${own}_connection`)] });
      out.flow(baseScope, table, { priority: 10, match: { eth_type, ...LATER, ...state(ct.trk, ct.inv | ct.rpl) }, actions: [toTable(`${own}_verdict`)] });
    }
    for (const [verdict, onward, back] of [["sg_out_verdict", onOut, ON_IN], ["sg_in_verdict", ON_IN, onOut]] as const) {
      for (const { at, to } of onward) {
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.new, ct.rpl) }, actions: [COMMIT, to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk, ct.new | ct.rpl) }, actions: [to] });
      }
      for (const { at, to } of back) out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.rpl, 0) }, actions: [to] });
      // What follows ct in one list is done to all fragments as the last one has it: so each is looked at again.
      const [there, here] = onward === onOut ? (["sg_out_fragment", "sg_in_fragment"] as const) : (["sg_in_fragment", "sg_out_fragment"] as const);
      out.flow(baseScope, verdict, { priority: 110, match: { eth_type, ...FRAGMENT, ...state(ct.trk, ct.rpl) }, actions: [{ ...JOIN, then: { table: there } }] });
      if (verdict === "sg_out_verdict") out.flow(baseScope, verdict, { priority: 120, match: { eth_type, ...FRAGMENT, ...state(ct.trk | ct.new, ct.rpl) }, actions: [toTable("sg_out_new_fragment")] });
      out.flow(baseScope, verdict, { priority: 110, match: { eth_type, ...FRAGMENT, ...state(ct.trk | ct.rpl, 0) }, actions: [{ ...JOIN, then: { table: here } }] });
    }
    // Services see some packets of ports without port security first; what they do not take goes on, since these ports have no policy.
    out.flow(baseScope, "sg_out", { priority: 1100, match: { eth_type, "reg:secured": 0 }, actions: [toStage("forward")] });
    out.flow(baseScope, "sg_out_join", { priority: 100, match: { eth_type }, actions: [{ ...JOIN, then: { table: "sg_out_fragment" } }] });
    for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in", { priority: 1100, match: { ...at, "reg:from_network": 1, eth_type }, actions: [to] });
  }
  // Those that waited too long come out as well, without the mark that all of a whole packet have.
  for (const { at, to } of onOut) out.flow(baseScope, "sg_out_fragment", { priority: 100, match: { ...at, ct_mark: WHOLE, ...state(ct.trk, ct.inv) }, actions: [to] });
  for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in_fragment", { priority: 100, match: { ...at, ct_mark: WHOLE, ...state(ct.trk, ct.inv) }, actions: [to] });
  // Neighbour discovery of the link is not policy's business; conntrack has no state for it.
  for (const icmpv6_type of [133, 134, 135, 136]) {
    const discovery = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type, ip_ttl: 255 } as const;
    for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in", { priority: 1000, match: { ...at, ...discovery }, actions: [to] });
    out.flow(baseScope, "sg_in_stateless", { priority: 1000, match: discovery, actions: [toTable("sg_in_allowed")] });
  }
  out.flow(baseScope, "sg_in_stateless", { priority: 1100, match: { "reg:from_network": 1 }, actions: [toTable("sg_in_allowed")] });
  for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in_allowed", { priority: 100, match: at, actions: [to] });
});
