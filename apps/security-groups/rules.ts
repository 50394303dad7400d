// Security groups as flows. Ports with the same set of groups share a policy key, which every flow matches: a rule is one
// flow (a few for port ranges) however many ports have it. A remote group is a conjunction: one flow per member address
// and one per protocol match, never their product.
import {
  baseScope, chassisScope, chassisTable, derivation, each, ethType, ipProto, isIpv6, toStage, toTable, type Emit, type PortContext, type PortPlace, type ReadView, type Scope,
} from "#app";
import { addressTable, attachmentTable, portTable, type Attachment, type Port } from "../l2/model.ts";
import { boundConnection, boundPacket, ct, familyOf, protocolMatches, remoteConnection, remotePacket, state, type Direction } from "./matches.ts";
import { members, memberTable } from "./members.ts";
import {
  arrivalMeter, connectionLimitTable, connectionMeter, NO_GROUPS_KEY, policyScope, policyTable, portGroupsTable, remoteUseId, remoteUseTable, ruleTable, securityGroupsSettings, type ConnectionLimit,
} from "./model.ts";
import { securityGroups } from "./tables.ts";

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
  readonly connection: "sg_in_connection" | "sg_out_connection";
  readonly verdict: { readonly type: "table"; readonly table: "sg_in_verdict" | "sg_out_verdict" };
}
const sides: Readonly<Record<Direction, Side>> = {
  ingress: { table: "sg_in", connection: "sg_in_connection", verdict: toTable("sg_in_verdict") },
  egress: { table: "sg_out", connection: "sg_out_connection", verdict: toTable("sg_out_verdict") },
};

const COMMIT = { type: "ct", zone: "ct_zone", commit: true } as const;
/** Whatever fragments conntrack held may come out of it with any packet, and what follows ct in one list is done to them too: so each is looked at again. */
const REMEMBER_OUT = { ...COMMIT, then: { table: "sg_out_remembered" } } as const;
const REMEMBER_IN = { ...COMMIT, then: { table: "sg_in_remembered" } } as const;
/** ct_mark of a connection of which fragments were seen together. */
const WHOLE = 2;
const JOIN = { ...COMMIT, mark: WHOLE } as const;
/** Bits of NXM_NX_IP_FRAG, ovs-fields(7): a fragment; none; one that is not the first. */
const FRAGMENT = { ip_frag: { value: 1, mask: 1 } } as const;
const UNFRAGMENTED = { ip_frag: { value: 0, mask: 1 } } as const;
const LATER = { ip_frag: { value: 2, mask: 2 } } as const;

/** Where an allowed packet goes on behind ingress rules, and which packets: those to a port with functions of its own pass the egress stage. */
const ON_IN = [{ at: { "reg:egress": 0 }, to: toStage("deliver") }, { at: { "reg:egress": 1 }, to: toStage("egress") }] as const;
const DIRECT = 200;
const CONJUNCTION = 100;

const securityGroupRule = securityGroups.rule({
  name: "security-group-rule",
  about: "what one rule lets pass, for every set of groups it is in",
  on: each(ruleTable),
  emit(r, view, out) {
    const { table, connection: connectionTable, verdict } = sides[r.direction];
    const use = r.remote_group_id === null ? undefined : view.get(remoteUseTable, remoteUseId(r.security_group_id, r.remote_group_id, r.direction, r.ethertype));
    if (r.remote_group_id !== null && use === undefined) return;
    const prefix = r.remote_ip_prefix;
    const [fromPacket, fromConnection] = prefix === null ? [{}, {}] : [remotePacket(r.direction, prefix), remoteConnection(r.direction, prefix)];
    const then = use === undefined
      ? { priority: DIRECT, actions: [verdict] } as const
      : { priority: CONJUNCTION, actions: [{ type: "conjunction", id: use.key, clause: 1, n_clauses: 2 }] } as const;
    const { packets, connections } = protocolMatches(r);
    for (const policy of view.by(policyTable, "group", r.security_group_id)) {
      const scope = policyScope(policy.id);
      for (const packet of packets) out.flow(scope, table, { ...then, match: { "reg:sg_policy": policy.key, ...packet, ...fromPacket } });
      for (const connection of connections) out.flow(scope, connectionTable, { ...then, match: { "reg:sg_policy": policy.key, ...connection, ...fromConnection } });
    }
  },
});

const remoteMember = securityGroups.rule({
  name: "remote-group-member",
  about: "a member address of a group that rules refer to",
  on: each(memberTable),
  emit({ group, ip, bound }, view, out) {
    const ethertype = isIpv6(ip) ? "IPv6" : "IPv4";
    for (const use of view.by(remoteUseTable, "remote", group)) {
      if (use.ethertype !== ethertype) continue;
      const { table, connection } = sides[use.direction];
      const then = { priority: CONJUNCTION, actions: [{ type: "conjunction", id: use.key, clause: 0, n_clauses: 2 }] } as const;
      for (const policy of view.by(policyTable, "group", use.group)) {
        const scope = policyScope(policy.id);
        const common = { "reg:sg_policy": policy.key, eth_type: familyOf(ethertype) } as const;
        out.flow(scope, table, { ...then, match: { ...common, ...remotePacket(use.direction, ip), ...boundPacket(use.direction, bound) } });
        for (const mac of boundConnection(use.direction, bound)) out.flow(scope, connection, { ...then, match: { ...common, ...remoteConnection(use.direction, ip), ...mac } });
      }
    }
  },
});

const remoteUse = securityGroups.rule({
  name: "remote-group",
  about: "member and protocol of a remote-group rule both match",
  on: each(remoteUseTable),
  emit(use, view, out) {
    const { table, connection, verdict } = sides[use.direction];
    for (const policy of view.by(policyTable, "group", use.group)) {
      const flow = { priority: CONJUNCTION, match: { "reg:sg_policy": policy.key, eth_type: familyOf(use.ethertype), conj_id: use.key }, actions: [verdict] } as const;
      for (const t of [table, connection]) out.flow(policyScope(policy.id), t, flow);
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

export const derive = [members, connectionLimits];

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
function metered(at: Attachment, view: ReadView, out: Emit<typeof securityGroups>, meterOf: (zone: number) => number): { readonly scope: Scope; readonly meter: number; readonly families: readonly number[] } | undefined {
  const port = view.get(portTable, at.port_id);
  if (port === undefined || view.get(portGroupsTable, at.port_id) === undefined) return undefined;
  const limit = view.get(connectionLimitTable, at.chassis);
  if (limit === undefined) return undefined;
  const scope = chassisScope(at.chassis);
  const meter = meterOf(at.slot);
  out.item(scope, "meter", meter, { unit: "pps", rate: limit.pps, burst: limit.burst });
  return { scope, meter, families: familiesOf(port, view) };
}

const portConnections = securityGroups.rule({
  name: "port-connections",
  about: "what opens connections of a port passes the port's own meter",
  on: each(attachmentTable),
  emit(at, view, out) {
    const own = metered(at, view, out, connectionMeter);
    if (own === undefined) return;
    const { scope, meter } = own;
    const sender = { "reg:in_port_key": at.port_key } as const;
    for (const eth_type of own.families) {
      out.flow(scope, "sg_out_verdict", { priority: 105, match: { ...sender, eth_type, ...state(ct.trk | ct.new, ct.rpl) }, meter, actions: [REMEMBER_OUT] });
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
    const { scope, meter } = own;
    for (const eth_type of own.families) {
      const opens = { "reg:out_port_key": at.port_key, eth_type, ...state(ct.trk | ct.new, ct.rpl) } as const;
      out.flow(scope, "sg_in_verdict", { priority: 105, match: opens, meter, actions: [REMEMBER_IN] });
      out.flow(scope, "sg_in_verdict", { priority: 120, match: { ...opens, ...FRAGMENT }, meter, actions: [toTable("sg_in_join")] });
    }
  },
});

const portFragments = securityGroups.rule({
  name: "port-fragments",
  about: "fragments of a packet of a port, or to it, are of its conntrack zone; others left conntrack with them",
  on: each(attachmentTable),
  emit(at, _view, out) {
    const scope = chassisScope(at.chassis);
    const [sender, receiver] = [{ "reg:in_port_key": at.port_key, ct_zone: at.slot }, { "reg:out_port_key": at.port_key, ct_zone: at.slot }] as const;
    for (const eth_type of [ethType.ip, ethType.ipv6]) {
      out.flow(scope, "sg_out_join", { priority: 100, match: { ...sender, eth_type }, actions: [{ ...JOIN, then: { table: "sg_out_fragment" } }] });
      out.flow(scope, "sg_in_join", { priority: 100, match: { ...receiver, eth_type }, actions: [{ ...JOIN, then: { table: "sg_in_fragment" } }] });
    }
    // Those that waited too long have no state, nor the mark that all of a whole packet have.
    const whole = { ct_mark: WHOLE, ...state(ct.trk, ct.inv) } as const;
    out.flow(scope, "sg_out_fragment", { priority: 100, match: { ...sender, ...whole }, actions: [toStage("forward")] });
    for (const { at: where, to } of ON_IN) out.flow(scope, "sg_in_fragment", { priority: 100, match: { ...where, ...receiver, ...whole }, actions: [to] });
  },
});

export const rules = [securityGroupRule, remoteMember, remoteUse, policyOnChassis, portConnections, portArrivals, portFragments];

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
      // Another packet's fragment, which conntrack gave up to wait for the rest of: nothing says what it is here.
      out.flow(baseScope, table, { priority: 1200, match: { eth_type, ...state(0, ct.trk) }, actions: [] });
      out.flow(baseScope, table, { priority: 900, match: { eth_type, ...state(ct.trk | ct.inv, 0) }, actions: [] });
      out.flow(baseScope, table, { priority: 810, match: { eth_type, ...LATER, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable(`${other}_verdict`)] });
      out.flow(baseScope, table, { priority: 800, match: { eth_type, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable(`${other}_connection`)] });
      out.flow(baseScope, table, { priority: 800, match: { eth_type, ...state(ct.trk | ct.rel, ct.inv | ct.rpl) }, actions: [toTable(`${own}_connection`)] });
      out.flow(baseScope, table, { priority: 10, match: { eth_type, ...LATER, ...state(ct.trk, ct.inv | ct.rpl) }, actions: [toTable(`${own}_verdict`)] });
    }
    for (const [verdict, onward, back] of [["sg_out_verdict", onOut, ON_IN], ["sg_in_verdict", ON_IN, onOut]] as const) {
      const [remember, remembered] = onward === onOut ? ([REMEMBER_OUT, "sg_out_remembered"] as const) : ([REMEMBER_IN, "sg_in_remembered"] as const);
      out.flow(baseScope, verdict, { priority: 100, match: { eth_type, ...state(ct.trk | ct.new, ct.rpl) }, actions: [remember] });
      for (const { at, to } of onward) {
        out.flow(baseScope, remembered, { priority: 100, match: { ...at, eth_type, ...UNFRAGMENTED, ...state(ct.trk, ct.inv) }, actions: [to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk, ct.new | ct.rpl) }, actions: [to] });
      }
      for (const { at, to } of back) out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.rpl, 0) }, actions: [to] });
      const [there, here] = onward === onOut ? (["sg_out_join", "sg_in_join"] as const) : (["sg_in_join", "sg_out_join"] as const);
      out.flow(baseScope, verdict, { priority: 110, match: { eth_type, ...FRAGMENT, ...state(ct.trk, ct.rpl) }, actions: [toTable(there)] });
      if (verdict === "sg_out_verdict") out.flow(baseScope, verdict, { priority: 120, match: { eth_type, ...FRAGMENT, ...state(ct.trk | ct.new, ct.rpl) }, actions: [toTable("sg_out_new_fragment")] });
      out.flow(baseScope, verdict, { priority: 110, match: { eth_type, ...FRAGMENT, ...state(ct.trk | ct.rpl, 0) }, actions: [toTable(here)] });
    }
    // Services see some packets of ports without port security first; what they do not take goes on, since these ports have no policy.
    out.flow(baseScope, "sg_out", { priority: 1100, match: { eth_type, "reg:secured": 0 }, actions: [toStage("forward")] });
    out.flow(baseScope, "sg_out", { priority: 1150, match: { eth_type, "reg:secured": 0, ...FRAGMENT, ...state(ct.trk, 0) }, actions: [toTable("sg_out_join")] });
    // All that the network itself says in fragments are answers.
    out.flow(baseScope, "sg_in", { priority: 1150, match: { "reg:from_network": 1, eth_type, ...FRAGMENT, ...state(ct.trk | ct.rpl, ct.inv) }, actions: [toTable("sg_in_join")] });
    out.flow(baseScope, "sg_in", { priority: 1140, match: { "reg:from_network": 1, eth_type, ...FRAGMENT }, actions: [] });
    for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in", { priority: 1100, match: { ...at, "reg:from_network": 1, eth_type }, actions: [to] });
  }
  // Neighbour discovery of the link is not policy's business; conntrack has no state for it.
  for (const icmpv6_type of [133, 134, 135, 136]) {
    for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in", { priority: 1000, match: { ...at, eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, ...UNFRAGMENTED, icmpv6_type, ip_ttl: 255 }, actions: [to] });
  }
});
