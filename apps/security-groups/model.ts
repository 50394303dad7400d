// Entities of security groups. Ports with the same set of groups share one Policy, whose key is what the flow tables
// match; so a rule is one flow for all of them, on any host.
import { definePool, defineScope, defineSettings, defineTable, resourceHandle, toEntrance, type Entrance, type ReadView, type Row, type StandardRow, type Values, meterOfZone, zoneMeters } from "#app";
import { portTable } from "../l2/model.ts";

export interface SecurityGroup extends StandardRow {
  /** Absent: it is stateful. */
  readonly stateless?: true;
  /** Ports that have it keep connections which no rule allows any more. */
  readonly keep_established?: true;
  /** Who sends what no rule allows is told so. */
  readonly rejects?: true;
}
export const groupTable = defineTable<SecurityGroup>()("security_group", {
  resource: "security_group",
  // The first edition stored whether a group is stateful, and took no notice of it.
  upgrade: (row) => {
    if (!("stateful" in row)) return row as unknown as SecurityGroup;
    return Object.fromEntries(Object.entries(row).filter(([name]) => name !== "stateful")) as unknown as SecurityGroup;
  },
  indexes: { project: (g) => g.project_id, project_name: (g) => `${g.project_id}|${g.name}` },
});

export const groupResource = resourceHandle<SecurityGroup>("security_group");

export interface SecurityGroupRule extends StandardRow {
  readonly security_group_id: string;
  readonly direction: "ingress" | "egress";
  readonly ethertype: "IPv4" | "IPv6";
  /** As given, lower case; null = any. */
  readonly protocol: string | null;
  /** TCP/UDP/SCTP ports, or ICMP type (min) and code (max). */
  readonly port_range_min: number | null;
  readonly port_range_max: number | null;
  readonly remote_ip_prefix: string | null;
  readonly remote_group_id: string | null;
  /** Absent: the other side is none of another app. */
  readonly remote_set?: RemoteSet;
}

/**
 * A set of addresses of another app, as what a rule or default rule names as its other side. A joint: the app adds an attribute to both whose
 * name is `remote_..._id`, sees to it that the id may be named, shows it, and derives the addresses into `sg_member`.
 */
export interface RemoteSet {
  readonly attribute: string;
  readonly id: string;
}
/** Of what the API gave: whatever app the attribute is of. */
export function remoteSetsOf(input: Values): readonly RemoteSet[] {
  return Object.entries(input).flatMap(([attribute, id]) => (attribute !== "remote_group_id" && /^remote_\w+_id$/.test(attribute) && typeof id === "string" ? [{ attribute, id }] : []));
}
/** What a rule names as its other side, but for a prefix: a group or a set of another app. */
export const remoteOf = (rule: Pick<SecurityGroupRule, "remote_group_id" | "remote_set">): string | undefined => rule.remote_group_id ?? rule.remote_set?.id;

export const ruleTable = defineTable<SecurityGroupRule>()("security_group_rule", {
  resource: "security_group_rule",
  indexes: {
    group: (r) => r.security_group_id,
    /** By the group or set that is the other side. */
    remote: (r) => remoteOf(r),
    /** Rules that share one conjunction: same group, same remote group or set, same direction and family. */
    remote_use: (r) => useOf(r),
    project: (r) => r.project_id,
  },
});

/** What a rule of new groups is copied from. */
export interface DefaultRule extends StandardRow, Pick<SecurityGroupRule, "direction" | "ethertype" | "protocol" | "port_range_min" | "port_range_max" | "remote_ip_prefix" | "remote_set"> {
  /** PARENT: the group that gets the rule. */
  readonly remote_group_id: string | null;
  readonly used_in_default_sg: boolean;
  readonly used_in_non_default_sg: boolean;
}
export const PARENT = "PARENT";
export const defaultRuleTable = defineTable<DefaultRule>()("default_security_group_rule", { resource: "default_security_group_rule", indexes: { remote: (r) => remoteOf(r) } });
export const defaultRuleResource = resourceHandle<DefaultRule>("default_security_group_rule");
/** Has a row once the default rules that come with it were made. */
export const shippedTable = defineTable()("default_rules_shipped");

export const ruleResource = resourceHandle<SecurityGroupRule>("security_group_rule");

/** Groups of a port that has any; `id` is the port's. `policy` is a Policy's id. */
export interface PortGroups extends Row {
  readonly groups: readonly string[];
  readonly policy: string;
}
export const portGroupsTable = defineTable<PortGroups>()("port_groups", { of: portTable, indexes: { group: (p) => p.groups, policy: (p) => p.policy } });

/** A set of groups that at least one port has. `id` is the sorted group ids joined with "+"; [] has no policy row: id "none", key 1 by convention. */
export interface Policy extends Row {
  /** 2..2^32-1, unique: `sg_policy` in the pipeline. */
  readonly key: number;
  readonly groups: readonly string[];
  /** All of its groups are stateless; which a group is does not change while ports have it. */
  readonly stateless?: true;
}
export const policyTable = defineTable<Policy>()("sg_policy", { of: { table: groupTable, ids: (p) => p.groups }, indexes: { group: (p) => p.groups, key: (p) => String(p.key) } });

/** A policy that keeps connections, as some group of it says; `id` is the policy's. */
export interface KeptPolicy extends Row {
  readonly key: number;
}
export const keptPolicyTable = defineTable<KeptPolicy>()("sg_kept_policy", { derived: true });

/** A policy that tells senders what it denies, as some group of it says; `id` is the policy's. */
export interface RejectingPolicy extends Row {
  readonly key: number;
  readonly stateless: boolean;
}
export const rejectingPolicyTable = defineTable<RejectingPolicy>()("sg_rejecting_policy", { derived: true });

/** A group's rules of one direction and family refer to a remote group or set: one conjunction. `id` is remoteUseId(...). */
export interface RemoteUse extends Row {
  /** 1..2^32-1, unique: conjunction id. */
  readonly key: number;
  readonly group: string;
  readonly remote: string;
  readonly direction: "ingress" | "egress";
  readonly ethertype: "IPv4" | "IPv6";
}
export const remoteUseId = (group: string, remote: string, direction: string, ethertype: string): string => `${group}|${remote}|${direction}|${ethertype}`;
/** Of a rule whose other side is a group or set; undefined: it is a prefix, or anybody. */
export function useOf(rule: Pick<SecurityGroupRule, "security_group_id" | "direction" | "ethertype" | "remote_group_id" | "remote_set">): string | undefined {
  const remote = remoteOf(rule);
  return remote === undefined ? undefined : remoteUseId(rule.security_group_id, remote, rule.direction, rule.ethertype);
}
export const remoteUseTable = defineTable<RemoteUse>()("sg_remote_use", { of: { table: groupTable, ids: (use) => [use.group] }, indexes: { remote: (r) => r.remote, group: (r) => r.group, key: (r) => String(r.key) } });

/** Where an address counts: in the network of this key, from (and to) this MAC. */
export interface BoundTo {
  readonly net: number;
  readonly mac: string;
}

/**
 * An address that counts as a member of a group, or of a set of another app. A joint: rows of other apps carry `<app>/<set>/<ip>` as id, those of
 * groups `<group>/<port>/<ip>`, with `/<mac>` where it is bound.
 */
export interface Member extends Row {
  /** Group or set. */
  readonly of: string;
  /** Address or CIDR. */
  readonly ip: string;
  readonly bound?: BoundTo;
}
export const memberTable = defineTable<Member>()("sg_member", { derived: true, open: true });

/**
 * Who is shown a copy of what is decided of a port's packets: of those that open a connection that rules allow, of those that none allows. A joint (derived): each
 * copy goes into a table of the app whose row it is, with `in_port_key` of a sender, `out_port_key` of a receiver. Not copied is what is sent to many and not let in.
 * Rows carry `<app>/...` as id.
 */
export interface VerdictCopy extends Row {
  readonly port_id: string;
  readonly accepted?: Copies;
  readonly dropped?: Copies;
}
interface Copies {
  readonly out: Entrance;
  readonly in: Entrance;
}
export const verdictCopyTable = defineTable<VerdictCopy>()("sg_verdict_copy", { derived: true, open: true, indexes: { port: (c) => c.port_id } });

const tablesOf = (view: ReadView, portId: string, verdict: "accepted" | "dropped", direction: "in" | "out"): readonly Entrance[] =>
  [...new Set(view.by(verdictCopyTable, "port", portId).flatMap((copy) => copy[verdict]?.[direction] ?? []))].sort();

/** What a flow does first that decides of packets of a port which go on. */
export const copiesOf = (view: ReadView, portId: string, verdict: "accepted" | "dropped", direction: "in" | "out") =>
  tablesOf(view, portId, verdict, direction).map((table) => ({ type: "clone", actions: [toEntrance(table)] }) as const);
/** And one that drops them: the last is shown the packet itself. */
export const droppedOf = (view: ReadView, portId: string, direction: "in" | "out") =>
  [...copiesOf(view, portId, "dropped", direction).slice(0, -1), ...tablesOf(view, portId, "dropped", direction).slice(-1).map((table) => toEntrance(table))];
/** Of the port with a key, in which direction what comes to a table was dropped. */
export const droppedInto = (view: ReadView, table: string, keyOf: (direction: "in" | "out") => number): "in" | "out" | undefined =>
  (["out", "in"] as const).find((direction) => view.by(portTable, "key", String(keyOf(direction))).some(({ id }) => tablesOf(view, id, "dropped", direction).includes(table as Entrance)));

export { protocolNumber } from "./protocol.ts";

export const policyKeys = definePool({
  name: "sg_policy", of: "key", min: 2, max: 2 ** 32 - 1, about: "keys of policies; 1 is that of ports without groups", taken: (view, _part, n) => view.count(policyTable, "key", String(n)) > 0,
});
export const remoteUseKeys = definePool({
  name: "sg_remote_use", of: "key", min: 1, max: 2 ** 32 - 1, about: "ids of the conjunctions of remote groups", taken: (view, _part, n) => view.count(remoteUseTable, "key", String(n)) > 0,
});

export const securityGroupsSettings = defineSettings({
  "new-connections-pps": { kind: { integer: [1, 10_000_000] }, fallback: "500", about: "packets a second that open connections, for each port, and four times as many that open them to it: what may be put into the connection table of its host" },
  "new-connections-burst": { kind: { integer: [1, 10_000_000] }, fallback: "1000", about: "such packets that a port may send at once; it may get four times as many" },
  "unused-rule-days": { kind: { integer: [0, 3650] }, value: "DAYS", fallback: "30", about: "a security group rule that let nothing pass for so many days is named among the problems; 0: none is" },
});
/** How many connections each port of a chassis may open, and others to it; `id` is the chassis'. */
export interface ConnectionLimit extends Row {
  readonly pps: number;
  readonly burst: number;
}
export const connectionLimitTable = defineTable<ConnectionLimit>()("sg_connection_limit", { derived: true });
/** Beyond what apps draw, one for each zone: no two ports of a host share one. */
export const connectionMeters = zoneMeters("connection-meter", 0x8001_0000, "meters of what opens connections, one for each port: by its zone");
/** Of the port with this zone. */
export const connectionMeter = (zone: number): number => meterOfZone(connectionMeters, zone);
/** Apart from those, so that who floods a port does not stop what it opens itself. */
export const arrivalMeters = zoneMeters("arrival-meter", 0x8003_0000, "meters of what others open to ports, one for each port: by its zone");
export const arrivalMeter = (zone: number): number => meterOfZone(arrivalMeters, zone);

/** Apart from those of services: what is denied to a port must not cost what it asks of them. */
export const deniedMeters = zoneMeters("denied-meter", 0x8004_0000, "meters of what is denied to or from ports that tell so, one for each port: by its zone");
export const deniedMeter = (zone: number): number => meterOfZone(deniedMeters, zone);

export const NO_GROUPS_POLICY = "none";
export const NO_GROUPS_KEY = 1;
export const policyScope = defineScope("policy");

/** The policy of a port; undefined: it has no groups. */
export const policyOf = (view: ReadView, portId: string): Policy | undefined => {
  const groups = view.get(portGroupsTable, portId);
  return groups === undefined || groups.groups.length === 0 ? undefined : view.get(policyTable, groups.policy);
};
