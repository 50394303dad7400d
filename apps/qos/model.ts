// What is kept of quality of service: policies, their rules, and who uses which policy.
import { chassisTable, conflict, defineTable, forbidden, meterOfZone, resourceHandle, zoneMeters, type ApiContext, type Chassis, type Items, type ReadView, type Row, type StandardRow, type Tx } from "#app";
import { chosenSegments, isNetworkPort, isOnPhysical, isPhysical, networkTable, portsAround, portTable, requestedChassis, shownHost, type Port } from "../l2/model.ts";

export interface QosPolicy extends StandardRow {
  /** New networks of its project have it. One of a project. */
  readonly is_default: boolean;
}
export const qosPolicyResource = resourceHandle<QosPolicy>("policy");
export const qosPolicyTable = defineTable<QosPolicy>()("qos_policy", {
  resource: "policy",
  indexes: { project: (p) => p.project_id, default: (p) => (p.is_default ? p.project_id : undefined) },
});

/** As the machine sees it: egress is what it sends. */
export const directions = ["egress", "ingress"] as const;
export type Direction = (typeof directions)[number];

interface OfPolicy extends Row {
  readonly policy_id: string;
}
export interface BandwidthLimit extends OfPolicy {
  readonly direction: Direction;
  /** 1000 bits a second; 0: no limit. */
  readonly max_kbps: number;
  /** 1000 bits that may come at once; 0: as many as the function finds right. */
  readonly max_burst_kbps: number;
}
export interface PacketRateLimit extends OfPolicy {
  readonly direction: Direction;
  /** 1000 packets a second; 0: no limit. */
  readonly max_kpps: number;
  readonly max_burst_kpps: number;
}
export interface DscpMarking extends OfPolicy {
  /** 6 bits, RFC 2474. */
  readonly dscp_mark: number;
}
export interface MinimumBandwidth extends OfPolicy {
  readonly direction: Direction;
  readonly min_kbps: number;
}

const byPolicy = { indexes: { policy: (r: OfPolicy) => r.policy_id } } as const;
export const bandwidthLimitTable = defineTable<BandwidthLimit>()("qos_bandwidth_limit", { resource: "bandwidth_limit_rule", ...byPolicy });
export const packetRateLimitTable = defineTable<PacketRateLimit>()("qos_packet_rate_limit", { resource: "packet_rate_limit_rule", ...byPolicy });
export const dscpMarkingTable = defineTable<DscpMarking>()("qos_dscp_marking", { resource: "dscp_marking_rule", ...byPolicy });
export const minimumBandwidthTable = defineTable<MinimumBandwidth>()("qos_minimum_bandwidth", { resource: "minimum_bandwidth_rule", ...byPolicy });

/** A port or network that names a policy; `id` is its own. A joint: an app that requires this one stores likewise, by `keepPolicy`, what of its own has one. */
export interface QosUse extends Row {
  /** What callers are told has it: `<kind> <id>`. */
  readonly kind: "port" | "network" | "floatingip" | "router";
  readonly policy_id: string;
  /** Of rows of other apps: whose they are, and what they are called where `id` is not their name. */
  readonly project_id?: string;
  readonly of?: string;
}
export const qosUseTable = defineTable<QosUse>()("qos_use", { indexes: { policy: (u) => u.policy_id } });

/** Projects of what uses a policy. */
export function* usersOf(view: ReadView, { id }: Pick<QosPolicy, "id">): Iterable<string> {
  for (const use of view.by(qosUseTable, "policy", id)) {
    const project = use.project_id ?? (use.kind === "port" ? view.get(portTable, use.id) : view.get(networkTable, use.id))?.project_id;
    if (project !== undefined && project !== "") yield project;
  }
}

// ---- least rates ----

/** What a port of the policy is to have of what leaves by a physical network, 1000 bits a second; 0: nothing is said. */
export const minimumOf = (view: ReadView, policyId: string): number => view.by(minimumBandwidthTable, "policy", policyId).find((r) => r.direction === "egress")?.min_kbps ?? 0;

/** The physical network by which a host carries a network; undefined: it does so in tunnels. */
export const physicalAt = (view: ReadView, networkId: string, chassis: Readonly<Chassis>): string | undefined => chosenSegments(view, networkId).find((s) => isPhysical(s) && isOnPhysical(s, chassis))?.physical_network ?? undefined;

/** A port that is to have a least rate, where it is (derived). `id` is the attachment's. */
export interface LeastRate extends Row {
  readonly port_id: string;
  readonly port_key: number;
  readonly chassis: string;
  readonly physical_network: string;
  readonly min_kbps: number;
}
export const leastRateTable = defineTable<LeastRate>()("qos_least_rate", { derived: true, indexes: { all: () => "" }, pairs: { places: (r) => [r.chassis, r.physical_network] } });
/** The queue that its packets leave by (derived); none: no queue of its host has room for it. */
export interface LeastRateQueue extends Row {
  readonly queue: number;
}
export const leastRateQueueTable = defineTable<LeastRateQueue>()("qos_least_rate_queue", { derived: true });

interface Wanted {
  readonly id: string;
  readonly port_key: number;
  readonly min_kbps: number;
}
/** By who wants it its queue: the smallest that has room for all that it is given to, the oldest port first. */
export function queuesFor(view: ReadView, chassisId: string, physicalNetwork: string, wanted: readonly Wanted[]): ReadonlyMap<string, number> {
  const queues = (view.get(chassisTable, chassisId)?.uplink_queues ?? []).filter((q) => q.physical_network === physicalNetwork).map((q) => ({ queue: q.queue, room: q.min_kbps })).sort((a, b) => a.room - b.room || a.queue - b.queue);
  const given = new Map<string, number>();
  for (const { id, min_kbps } of wanted.toSorted((a, b) => a.port_key - b.port_key)) {
    const found = queues.find((q) => q.room >= min_kbps);
    if (found === undefined) continue;
    found.room -= min_kbps;
    given.set(id, found.queue);
  }
  return given;
}

/** What is wanted of a host by a physical network, as what is stored says, by ports that are there or are to be. Others are not looked at. */
function wantedAt(view: ReadView, chassis: Readonly<Chassis>, physicalNetwork: string): readonly Wanted[] {
  const wanted: Wanted[] = [];
  for (const id of portsAround(view, chassis)) {
    const policy = policyOfPort(view, id);
    const min_kbps = policy === undefined ? 0 : minimumOf(view, policy);
    const port = min_kbps === 0 ? undefined : view.get(portTable, id);
    if (port === undefined || requestedChassis(view, shownHost(view, port))?.id !== chassis.id || physicalAt(view, port.network_id, chassis) !== physicalNetwork) continue;
    wanted.push({ id, port_key: port.key, min_kbps });
  }
  return wanted;
}
/** The same of whatever place is asked for in one check, each looked at once. */
type WantedBy = (chassis: Readonly<Chassis>, physicalNetwork: string) => readonly Wanted[];
function wantedBy(view: ReadView): WantedBy {
  const places = new Map<string, readonly Wanted[]>();
  return (chassis, physicalNetwork) => {
    const place = `${chassis.id}|${physicalNetwork}`;
    let wanted = places.get(place);
    if (wanted === undefined) places.set(place, (wanted = wantedAt(view, chassis, physicalNetwork)));
    return wanted;
  };
}

/** Whether the host would keep all that is wanted there by a physical network, and that one too. */
function hasRoom(view: ReadView, chassis: Readonly<Chassis>, physicalNetwork: string, one: Wanted, wanted: WantedBy): boolean {
  const all = [...wanted(chassis, physicalNetwork).filter((w) => w.id !== one.id), one];
  return queuesFor(view, chassis.id, physicalNetwork, all).size === all.length;
}

/** Why no host keeps a least rate for a port of a network; undefined: where the port is, or else somewhere, there is a queue. `port`: undefined is any. */
function unkept(view: ReadView, networkId: string, min_kbps: number, port: Port | undefined, wanted: WantedBy): string | undefined {
  if (min_kbps === 0) return undefined;
  const host = port === undefined ? "" : shownHost(view, port);
  const at = host === "" ? undefined : requestedChassis(view, host);
  const physical = chosenSegments(view, networkId).filter(isPhysical).map((s) => s.physical_network!);
  if (physical.length === 0) return `network ${networkId} travels in tunnels, and queues are at uplinks of physical networks`;
  const hosts = at === undefined ? physical.flatMap((name) => view.by(chassisTable, "queues", name)) : [at];
  const one: Wanted = { id: port?.id ?? "", port_key: port?.key ?? Infinity, min_kbps };
  const keeps = hosts.some((chassis) => {
    const by = physicalAt(view, networkId, chassis);
    return by !== undefined && hasRoom(view, chassis, by, one, wanted);
  });
  return keeps ? undefined : `no queue ${at === undefined ? "of any host" : `of host ${at.id}`} at the uplink of ${physical.join(", ")} has room for ${min_kbps} kbps`;
}

type Using = Pick<QosUse, "kind" | "id" | "of">;

/** What hosts cannot keep is not asked of them: of those that use a policy, or are about to. @throws ApiError 409 for a policy with rules that no host keeps */
export function checkSupported(view: ReadView, policyId: string, uses: readonly Using[]): void {
  const rules = view.by(minimumBandwidthTable, "policy", policyId);
  if (rules.length === 0 || uses.length === 0) return;
  const isEgress = rules.every((r) => r.direction === "egress");
  const min_kbps = minimumOf(view, policyId);
  const wanted = wantedBy(view);
  // Of each network and host one port is looked at: all that there are are looked at with it.
  const found = new Map<string, string | undefined>();
  const unkeptOf = (networkId: string, port?: Port): string | undefined => {
    const place = `${networkId}|${port === undefined ? "" : shownHost(view, port)}`;
    if (!found.has(place)) found.set(place, unkept(view, networkId, min_kbps, port, wanted));
    return found.get(place);
  };
  const whyNot = ({ kind, id }: Using): string | undefined => {
    if (!isEgress) return "hosts keep minima of egress alone";
    if (kind === "port") {
      const port = view.get(portTable, id)!;
      return unkeptOf(port.network_id, port);
    }
    if (kind !== "network") return "what leaves by a gateway has no queue of its own";
    // Any port that may come, and those that there are.
    return unkeptOf(id) ?? view.by(portTable, "network", id).filter((p) => policyOfPort(view, p.id) === policyId).map((p) => unkeptOf(id, p)).find((why) => why !== undefined);
  };
  for (const use of uses) {
    const why = whyNot(use);
    if (why !== undefined) throw conflict(use.kind === "network" ? "QosRuleNotSupportedByNetwork" : "QosRuleNotSupported", `Rule minimum_bandwidth is not supported by ${use.kind} ${use.of ?? use.id}: qos_policy_id ${policyId}: ${why}`);
  }
}

/** What becomes of `qos_policy_id`; null: none any more, undefined: as it was. @throws ApiError 404 of a policy that the caller may not see, 403 where he would take such a one away, 409 */
export function keepPolicy(tx: Tx, ctx: ApiContext, use: Omit<QosUse, "policy_id">, wanted: string | null | undefined): void {
  const before = tx.get(qosUseTable, use.id)?.policy_id;
  if (wanted === undefined || wanted === (before ?? null)) return;
  // Another's policy that the caller may not see is not his to take away.
  if (before !== undefined && ctx.seen(qosPolicyResource, before) === undefined) throw forbidden("PolicyRemoveAuthorizationError", `Failed to remove provided policy ${before} because you are not authorized.`);
  if (wanted === null) {
    tx.delete(qosUseTable, use.id);
    return;
  }
  ctx.visible(qosPolicyResource, wanted);
  checkSupported(tx, wanted, [use]);
  tx.put(qosUseTable, { ...use, policy_id: wanted });
}

/** The policy of a port: its own, else its network's, which is not for ports that the network itself has. */
export function policyOfPort(view: ReadView, portId: string): string | undefined {
  const own = view.get(qosUseTable, portId)?.policy_id;
  if (own !== undefined) return own;
  const port = view.get(portTable, portId);
  return port === undefined || isNetworkPort(port) ? undefined : view.get(qosUseTable, port.network_id)?.policy_id;
}

/** What a policy asks for in one direction. Absent: nothing. */
export interface Limits {
  readonly bandwidth?: BandwidthLimit;
  readonly packets?: PacketRateLimit;
}
export interface Asked extends Limits {
  readonly mark?: DscpMarking;
}
export function limitsOf(view: ReadView, policyId: string, direction: Direction): Limits {
  const bandwidth = view.by(bandwidthLimitTable, "policy", policyId).find((r) => r.direction === direction && r.max_kbps > 0);
  const packets = view.by(packetRateLimitTable, "policy", policyId).find((r) => r.direction === direction && r.max_kpps > 0);
  return { ...(bandwidth !== undefined && { bandwidth }), ...(packets !== undefined && { packets }) };
}
export function askedBy(view: ReadView, policyId: string, direction: Direction): Asked | undefined {
  const mark = direction === "egress" ? view.by(dscpMarkingTable, "policy", policyId)[0] : undefined;
  const asked: Asked = { ...limitsOf(view, policyId, direction), ...(mark !== undefined && { mark }) };
  return Object.keys(asked).length === 0 ? undefined : asked;
}

/**
 * Four fifths of a second: TCP that lost packets waits a fifth or more (RFC 6298), and finds then what it did not use. At least a frame of 64 KiB, as kernels hand it
 * over with TCP: a bucket that it does not fit into lets none of them pass.
 */
const bitsAtOnce = ({ max_kbps, max_burst_kbps }: BandwidthLimit): number => (max_burst_kbps > 0 ? max_burst_kbps : Math.max(600, Math.ceil((max_kbps * 4) / 5)));
const packetsAtOnce = ({ max_kpps, max_burst_kpps }: PacketRateLimit): number => (max_burst_kpps > 0 ? max_burst_kpps * 1000 : max_kpps * 100);
/** Rates and bursts on the wire have 32 bits. */
const UINT32 = 0xffff_ffff;
/** Meters that keep to limits. */
export const bandwidthMeter = (limit: BandwidthLimit): Items["meter"] => ({ unit: "kbps", rate: limit.max_kbps, burst: bitsAtOnce(limit) });
export const packetsMeter = (limit: PacketRateLimit): Items["meter"] => ({ unit: "pps", rate: Math.min(UINT32, limit.max_kpps * 1000), burst: Math.min(UINT32, packetsAtOnce(limit)) });

/** One meter for each port, direction and unit: by the port's zone at its host. */
export const limitMeters = {
  egress: {
    bandwidth: zoneMeters("qos-sent-bits-meter", 0x800a_0000, "meters of how many bits ports may send"),
    packets: zoneMeters("qos-sent-packets-meter", 0x800b_0000, "meters of how many packets ports may send"),
  },
  ingress: {
    bandwidth: zoneMeters("qos-received-bits-meter", 0x800c_0000, "meters of how many bits ports may get"),
    packets: zoneMeters("qos-received-packets-meter", 0x800d_0000, "meters of how many packets ports may get"),
  },
} as const;
export const limitMeter = (direction: Direction, unit: "bandwidth" | "packets", zone: number): number => meterOfZone(limitMeters[direction][unit], zone);
