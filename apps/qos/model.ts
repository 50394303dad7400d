// What is kept of quality of service: policies, their rules, and who uses which policy.
import { conflict, defineTable, forbidden, meterOfZone, resourceHandle, zoneMeters, type ApiContext, type Items, type ReadView, type Row, type StandardRow, type Tx } from "#app";
import { isNetworkPort, networkTable, portTable } from "../l2/model.ts";

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

/** What hosts cannot keep is not asked of them. @throws ApiError 409 for a policy with rules that no host keeps */
export function checkSupported(view: ReadView, policyId: string, { kind, id, of = id }: Pick<QosUse, "kind" | "id" | "of">): void {
  if (view.count(minimumBandwidthTable, "policy", policyId) === 0) return;
  throw conflict(kind === "network" ? "QosRuleNotSupportedByNetwork" : "QosRuleNotSupported", `Rule minimum_bandwidth is not supported by ${kind} ${of}`);
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
  checkSupported(tx, wanted, use);
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
