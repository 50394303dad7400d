// What conntrack is asked, and told, around the rules (rules.ts). IP packets of stateful ports come to sg_out and sg_in from conntrack, in the zone
// of their port. A packet that opens a connection is judged there; those that follow, answers and errors in sg_*_connection, as their connection:
//
//   whole      sg_* | sg_*_connection -> sg_*_verdict -> on; of a new connection: ct(commit) -> sg_*_remembered -> on
//   fragments  sg_* | sg_*_connection -> sg_*_verdict -> [sg_out_new_fragment ->] sg_*_join -> ct(commit, WHOLE) -> sg_*_fragment -> on
//
// Fragments come out of conntrack one by one in the userspace datapath, and those after the first show no ports, neither their own nor their
// connection's. They are let on to the verdict, and all fragments pass conntrack there once more, which holds them until all are there again:
// later ones leave only together with a first one that the rules let pass. A kernel puts packets together in conntrack, and shows none.
//
// What conntrack held of others, it may give out with any packet, and what follows ct in one list is done to that too. So a look follows every ct:
// what waited in vain shows no state, and what is whole the zone of another port.
import { baseScope, chassisScope, chassisTable, derivation, each, ethType, ipProto, isIpv6, toStage, toTable, type Emit, type ReadView, type Scope } from "#app";
import { activeAttachment, addressTable, arrivalTable, attachmentTable, portTable, type Attachment, type Port } from "../l2/model.ts";
import { ct, FRAGMENT, LATER, state, UNFRAGMENTED } from "./matches.ts";
import { arrivalMeter, copiesOf, connectionLimitTable, connectionMeter, groupTable, keptPolicyTable, policyOf, policyScope, policyTable, securityGroupsSettings, type ConnectionLimit, type KeptPolicy } from "./model.ts";
import { securityGroups } from "./tables.ts";

const COMMIT = { type: "ct", zone: "ct_zone", commit: true } as const;
/** ct_mark of a connection of which fragments were seen together. */
const WHOLE = 2;
/** So many ports may together open as much to one as each of them may open: one alone cannot take all of it. */
const SENDERS = 4;
/** ct_label of a connection that was opened while its port keeps connections. */
const KEPT = 1n;

/** Remembers a new connection, and looks at what comes out. */
const remember = (table: "sg_out_remembered" | "sg_in_remembered", more: { readonly label?: bigint } = {}) => ({ ...COMMIT, ...more, then: { table } }) as const;
const join = (table: "sg_out_fragment" | "sg_in_fragment", more: { readonly label?: bigint } = {}) => ({ ...COMMIT, ...more, mark: WHOLE, then: { table } }) as const;

/** Where an allowed packet goes on behind ingress rules, and which packets: those to a port with functions of its own pass the egress stage. */
const ON_IN = [{ at: { "reg:egress": 0 }, to: toStage("deliver") }, { at: { "reg:egress": 1 }, to: toStage("egress") }] as const;
const ON_OUT = [{ at: {}, to: toStage("forward") }] as const;
const FAMILIES = [ethType.ip, ethType.ipv6] as const;
const OPENS = state(ct.trk | ct.new, ct.rpl);

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
    for (const eth_type of FAMILIES) {
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

export const derive = [keptPolicies, connectionLimits];

/** What reaches the policy of a port: IPv6 only if it has an address of it. */
const familiesOf = (port: Port, view: ReadView): readonly number[] =>
  view.by(addressTable, "port", port.id).some((a) => isIpv6(a.ip)) || port.allowed_address_pairs.some((p) => isIpv6(p.ip_address)) ? [ethType.ip, ethType.ipv6] : [ethType.ip];

interface Metered {
  readonly scope: Scope;
  readonly meter: number;
  readonly families: readonly number[];
  /** Connections that it opens are kept. */
  readonly label: { readonly label?: bigint };
}

/** Gives a port at a place a meter for what opens connections; undefined: it has no groups, and nothing passes, or none of its groups is stateful. */
function metered(at: Attachment, view: ReadView, out: Emit<typeof securityGroups>, meterOf: (zone: number) => number, times = 1): Metered | undefined {
  const port = view.get(portTable, at.port_id);
  const policy = policyOf(view, at.port_id);
  if (port === undefined || policy === undefined || policy.stateless === true) return undefined;
  const limit = view.get(connectionLimitTable, at.chassis);
  if (limit === undefined) return undefined;
  const scope = chassisScope(at.chassis);
  const meter = meterOf(at.slot);
  out.item(scope, "meter", meter, { unit: "pps", rate: limit.pps * times, burst: limit.burst * times });
  return { scope, meter, families: familiesOf(port, view), label: view.get(keptPolicyTable, policy.id) === undefined ? {} : { label: KEPT } };
}

const portConnections = securityGroups.rule({
  name: "port-connections",
  about: "what opens connections of a port passes the port's own meter",
  on: each(attachmentTable),
  emit(at, view, out) {
    const own = metered(at, view, out, connectionMeter);
    if (own === undefined) return;
    const { scope, meter, families, label } = own;
    const sender = { "reg:in_port_key": at.port_key } as const;
    const copies = copiesOf(view, at.port_id, "accepted", "out");
    for (const eth_type of families) {
      out.flow(scope, "sg_out_verdict", { priority: 105, match: { ...sender, eth_type, ...OPENS }, meter, actions: [...copies, remember("sg_out_remembered", label)] });
      if (label.label !== undefined) out.flow(scope, "sg_out_join", { priority: 110, match: { ...sender, ct_zone: at.slot, eth_type, ...OPENS }, actions: [join("sg_out_fragment", label)] });
    }
    out.flow(scope, "sg_out_new_fragment", { priority: 100, match: sender, meter, actions: [...copies, toTable("sg_out_join")] });
  },
});

const portArrivals = securityGroups.rule({
  name: "port-arrivals",
  about: "what others open to a port passes a meter of the port, whoever they are and whether or not they passed their own",
  on: each(attachmentTable),
  emit(at, view, out) {
    const own = metered(at, view, out, arrivalMeter, SENDERS);
    if (own === undefined) return;
    const { scope, meter, families, label } = own;
    const receiver = { "reg:out_port_key": at.port_key } as const;
    const copies = copiesOf(view, at.port_id, "accepted", "in");
    for (const eth_type of families) {
      const opens = { ...receiver, eth_type, ...OPENS } as const;
      out.flow(scope, "sg_in_verdict", { priority: 105, match: opens, meter, actions: [...copies, remember("sg_in_remembered", label)] });
      out.flow(scope, "sg_in_verdict", { priority: 120, match: { ...opens, ...FRAGMENT }, meter, actions: [...copies, toTable("sg_in_join")] });
      if (label.label !== undefined) out.flow(scope, "sg_in_join", { priority: 110, match: { ...opens, ct_zone: at.slot }, actions: [join("sg_in_fragment", label)] });
    }
  },
});

const portFragments = securityGroups.rule({
  name: "port-fragments",
  about: "fragments of a packet of a port, or to it, are of its conntrack zone; others left conntrack with them",
  on: each(attachmentTable),
  emit(at, view, out) {
    // Nothing of a port without stateful groups comes from conntrack; of one without port security what services saw first does.
    if (policyOf(view, at.port_id)?.stateless === true) return;
    const scope = chassisScope(at.chassis);
    const port = view.get(portTable, at.port_id);
    if (port === undefined) return;
    const [sender, receiver] = [{ "reg:in_port_key": at.port_key, ct_zone: at.slot }, { "reg:out_port_key": at.port_key, ct_zone: at.slot }] as const;
    for (const eth_type of port.port_security_enabled ? familiesOf(port, view) : FAMILIES) {
      out.flow(scope, "sg_out_join", { priority: 100, match: { ...sender, eth_type }, actions: [join("sg_out_fragment")] });
      out.flow(scope, "sg_in_join", { priority: 100, match: { ...receiver, eth_type }, actions: [join("sg_in_fragment")] });
    }
    // Those that waited too long have no state, nor the mark that all of a whole packet have.
    const whole = { ct_mark: WHOLE, ...state(ct.trk, ct.inv) } as const;
    out.flow(scope, "sg_out_fragment", { priority: 100, match: { ...sender, ...whole }, actions: [toStage("forward")] });
    for (const { at: where, to } of ON_IN) out.flow(scope, "sg_in_fragment", { priority: 100, match: { ...where, ...receiver, ...whole }, actions: [to] });
  },
});

const statelessPolicy = securityGroups.rule({
  name: "stateless-policy",
  about: "what a port without stateful groups sends that a service saw first and did not take",
  on: each(policyTable),
  emit(policy, _view, out) {
    if (policy.stateless !== true) return;
    for (const eth_type of FAMILIES) {
      const match = { "reg:sg_policy": policy.key, eth_type } as const;
      out.flow(policyScope(policy.id), "sg_out", { priority: 950, match, actions: [toTable("sg_out_stateless")] });
      // It came through conntrack as all that services see, and may be what that held of others.
      out.flow(policyScope(policy.id), "sg_out", { priority: 960, match: { ...match, ...FRAGMENT }, actions: [] });
    }
  },
});

const SYN = 0x002;
const RST = 0x004;
const ACK = 0x010;
/**
 * Of a connection that is there and that the port opened, as far as one segment tells: to a port of those that systems choose for what they open. What others opened is
 * judged by the rules, as if it began.
 */
const UNDER_WAY = { tcp_flags: { value: ACK, mask: ACK | SYN | RST }, tcp_dst: { value: 0x8000, mask: 0x8000 } } as const;

// Conntrack at its new host knows none of its connections: it takes what others send on them for the beginning of connections to the port. Nothing is
// remembered of what gets through: what the port answers is, as a connection that it opened if its egress rules allow that, and then what comes is an answer.
const arrived = securityGroups.rule({
  name: "arrived",
  about: "segments of TCP connections that a port seems to have opened get to it when it is new at its host",
  on: each(arrivalTable),
  emit({ id, chassis }, view, out) {
    const at = activeAttachment(view, id);
    const port = view.get(portTable, id);
    const policy = policyOf(view, id);
    if (at?.chassis !== chassis || port === undefined || policy === undefined || policy.stateless === true) return;
    for (const eth_type of familiesOf(port, view)) {
      const match = { "reg:out_port_key": at.port_key, eth_type, ip_proto: ipProto.tcp, ...UNFRAGMENTED, ...UNDER_WAY, ...state(ct.trk | ct.new, ct.inv | ct.rpl) } as const;
      for (const { at: where, to } of ON_IN) out.flow(chassisScope(chassis), "sg_in", { priority: 7, match: { ...where, ...match }, actions: [to] });
    }
  },
});

export const rules = [keptConnections, portConnections, portArrivals, portFragments, statelessPolicy, arrived];

export const staticFlows = securityGroups.static((out) => {
  for (const eth_type of FAMILIES) {
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
    for (const [verdict, onward, back] of [["sg_out_verdict", ON_OUT, ON_IN], ["sg_in_verdict", ON_IN, ON_OUT]] as const) {
      const remembered = verdict === "sg_out_verdict" ? "sg_out_remembered" : "sg_in_remembered";
      out.flow(baseScope, verdict, { priority: 100, match: { eth_type, ...OPENS }, actions: [remember(remembered)] });
      for (const { at, to } of onward) {
        out.flow(baseScope, remembered, { priority: 100, match: { ...at, eth_type, ...UNFRAGMENTED, ...state(ct.trk, ct.inv) }, actions: [to] });
        out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk, ct.new | ct.rpl) }, actions: [to] });
      }
      for (const { at, to } of back) out.flow(baseScope, verdict, { priority: 100, match: { ...at, eth_type, ...state(ct.trk | ct.rpl, 0) }, actions: [to] });
      const [there, here] = verdict === "sg_out_verdict" ? (["sg_out_join", "sg_in_join"] as const) : (["sg_in_join", "sg_out_join"] as const);
      out.flow(baseScope, verdict, { priority: 110, match: { eth_type, ...FRAGMENT, ...state(ct.trk, ct.rpl) }, actions: [toTable(there)] });
      if (verdict === "sg_out_verdict") out.flow(baseScope, verdict, { priority: 120, match: { eth_type, ...FRAGMENT, ...OPENS }, actions: [toTable("sg_out_new_fragment")] });
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
    const discovery = { eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, ...UNFRAGMENTED, icmpv6_type, ip_ttl: 255 } as const;
    for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in", { priority: 1000, match: { ...at, ...discovery }, actions: [to] });
    out.flow(baseScope, "sg_in_stateless", { priority: 1000, match: discovery, actions: [toTable("sg_in_allowed")] });
  }
  out.flow(baseScope, "sg_in_stateless", { priority: 1100, match: { "reg:from_network": 1 }, actions: [toTable("sg_in_allowed")] });
  for (const { at, to } of ON_IN) out.flow(baseScope, "sg_in_allowed", { priority: 100, match: at, actions: [to] });
});
