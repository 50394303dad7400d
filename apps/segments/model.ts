// Segments as the API has them: what they are is stored by the app that carries the network, here are their ids and names, and which subnets are on which.
import { defineTable, resourceHandle, type Chassis, type ReadView, type Row, type StandardRow } from "#app";
import { chosenId, chosenSegments, isPhysical, segmentFault } from "../l2/model.ts";

export interface NetworkSegment extends StandardRow {
  readonly network_id: string;
  /** Index of the chosen segment; null: nobody chose, and it is the tunnels of whatever kind two hosts share. */
  readonly index: number | null;
}
export const segmentResource = resourceHandle<NetworkSegment>("segment");
export const networkSegmentTable = defineTable<NetworkSegment>()("network_segment", { resource: "segment", indexes: { network: (s) => s.network_id } });

/** That a subnet is on one segment of its network alone; `id` is the subnet's. Of a network all subnets have a row, or none: then it is routed. */
export interface SubnetSegment extends Row {
  readonly network_id: string;
  readonly segment_id: string;
}
export const subnetSegmentTable = defineTable<SubnetSegment>()("subnet_segment", { indexes: { network: (s) => s.network_id, segment: (s) => s.segment_id } });

/** The chosen segment that it is. */
export const chosenOf = ({ network_id, index }: Pick<NetworkSegment, "network_id" | "index">): string => (index === null ? network_id : chosenId(network_id, index));

/** Of each segment that a network has now. */
export function indexesOf(view: ReadView, networkId: string): readonly (number | null)[] {
  const chosen = chosenSegments(view, networkId);
  return chosen.length === 0 ? [null] : chosen.map((s) => s.index);
}

/** Ids of the segments of a network that a host is on: the first of the physical ones that it has, then the tunnels if it has those. */
export function segmentsAt(view: ReadView, networkId: string, chassis: Readonly<Chassis>): readonly string[] {
  const ids = new Map(view.by(networkSegmentTable, "network", networkId).map((s) => [s.index, s.id]));
  const chosen = chosenSegments(view, networkId);
  if (chosen.length === 0) return [...ids.values()];
  const there = chosen.filter((s) => segmentFault(s, chassis) === undefined);
  return [...there.filter(isPhysical).slice(0, 1), ...there.filter((s) => !isPhysical(s))].flatMap((s) => ids.get(s.index) ?? []);
}
