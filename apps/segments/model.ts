// Segments as the API has them: what they are is stored by the app that carries the network, here are their ids and names.
import { defineTable, resourceHandle, type ReadView, type StandardRow } from "#app";
import { chosenId, chosenSegments } from "../l2/model.ts";

export interface NetworkSegment extends StandardRow {
  readonly network_id: string;
  /** Index of the chosen segment; null: nobody chose, and it is the tunnels of whatever kind two hosts share. */
  readonly index: number | null;
}
export const segmentResource = resourceHandle<NetworkSegment>("segment");
export const networkSegmentTable = defineTable<NetworkSegment>()("network_segment", { resource: "segment", indexes: { network: (s) => s.network_id } });

/** The chosen segment that it is. */
export const chosenOf = ({ network_id, index }: Pick<NetworkSegment, "network_id" | "index">): string => (index === null ? network_id : chosenId(network_id, index));

/** Of each segment that a network has now. */
export function indexesOf(view: ReadView, networkId: string): readonly (number | null)[] {
  const chosen = chosenSegments(view, networkId);
  return chosen.length === 0 ? [null] : chosen.map((s) => s.index);
}
