// From chosen segments to what others need to know of them.
import { claim, claimTable, derivation, each, type Claim } from "#app";
import { chosenSegmentTable, networkTable, segmentTable, type Segment } from "../l2/model.ts";
import { vlanPool } from "./model.ts";

export const derive = [
  derivation({
    name: "segment",
    on: each(chosenSegmentTable),
    into: segmentTable,
    reads: [networkTable],
    derive({ id, network_id, type, physical_network, segmentation_id }, view): Segment | undefined {
      if (type === "local" || view.get(networkTable, network_id) === undefined) return undefined;
      return { id: `provider/${id}`, network_id, type, physical_network, segmentation_id };
    },
  }),
  derivation({
    name: "segment-vlan",
    on: each(chosenSegmentTable),
    into: claimTable,
    reads: [],
    derive: ({ id, network_id, type, physical_network, segmentation_id: n }): Claim | undefined => (type === "vlan" ? claim(`provider/segment-vlan/${id}`, vlanPool, physical_network!, network_id, { n: n! }) : undefined),
  }),
];
