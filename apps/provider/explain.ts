// Where packets for a port come in that a router of the physical network sends it, which is none of ours.
import { numberOf, type Explains } from "#app";
import { activeAttachment, chosenSegments, portTable } from "../l2/model.ts";
import { patchPool, wireTable } from "./model.ts";

export const explains: Explains = {
  entrance(view, id) {
    const [port, at] = [view.get(portTable, id), activeAttachment(view, id)];
    if (port === undefined || at === undefined) return undefined;
    const wire = view.get(wireTable, `${port.network_id}@${at.chassis}`);
    const segment = chosenSegments(view, port.network_id).find(({ index }) => index === wire?.segment);
    if (segment === undefined || segment.physical_network === null) return undefined;
    const ofport = numberOf(view, patchPool, "", segment.physical_network);
    return ofport === undefined ? undefined : { chassis: at.chassis, ofport, vlan: segment.type === "vlan" ? segment.segmentation_id : null, mac: port.mac_address };
  },
};
