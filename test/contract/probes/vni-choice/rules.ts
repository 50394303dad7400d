// One more segment of the network, with the number that was asked for.
import { derivation, each } from "#app";
import { segmentTable, type Segment } from "../../../../apps/l2/model.ts";
import { vniChoiceTable } from "./model.ts";

export const derive = [
  derivation({
    name: "segment",
    on: each(vniChoiceTable),
    into: segmentTable,
    reads: [],
    derive: ({ id, network_id, vni }): Segment => ({ id: `vni-choice/${id}`, network_id, type: "tunnel", physical_network: null, segmentation_id: vni }),
  }),
];
