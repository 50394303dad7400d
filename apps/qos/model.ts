// What is kept of quality of service: policies, their rules, and who uses which policy.
import { defineTable, meterOfZone, resourceHandle, zoneMeters, type ReadView, type Row, type StandardRow } from "#app";
import { isNetworkPort, portTable } from "../l2/model.ts";

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

/** A port or network that names a policy. `id` is its own. */
export interface QosUse extends Row {
  readonly kind: "port" | "network";
  readonly policy_id: string;
}
export const qosUseTable = defineTable<QosUse>()("qos_use", { indexes: { policy: (u) => u.policy_id } });

/** The policy of a port: its own, else its network's, which is not for ports that the network itself has. */
export function policyOfPort(view: ReadView, portId: string): string | undefined {
  const own = view.get(qosUseTable, portId)?.policy_id;
  if (own !== undefined) return own;
  const port = view.get(portTable, portId);
  return port === undefined || isNetworkPort(port) ? undefined : view.get(qosUseTable, port.network_id)?.policy_id;
}

/** What a policy asks for in one direction. Absent: nothing. */
export interface Asked {
  readonly bandwidth?: BandwidthLimit;
  readonly packets?: PacketRateLimit;
  readonly mark?: DscpMarking;
}
export function askedBy(view: ReadView, policyId: string, direction: Direction): Asked | undefined {
  const bandwidth = view.by(bandwidthLimitTable, "policy", policyId).find((r) => r.direction === direction && r.max_kbps > 0);
  const packets = view.by(packetRateLimitTable, "policy", policyId).find((r) => r.direction === direction && r.max_kpps > 0);
  const mark = direction === "egress" ? view.by(dscpMarkingTable, "policy", policyId)[0] : undefined;
  if (bandwidth === undefined && packets === undefined && mark === undefined) return undefined;
  return { ...(bandwidth !== undefined && { bandwidth }), ...(packets !== undefined && { packets }), ...(mark !== undefined && { mark }) };
}

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
