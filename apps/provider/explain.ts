// Where packets come in from a physical network.
import { numberOf, type Explains, type ReadView } from "#app";
import { activeAttachment, chosenSegments, portTable, type WireEntrance } from "../l2/model.ts";
import { patchPool, wireTable } from "./model.ts";

/** undefined: they do not, at this host. */
export function entranceOf(view: ReadView, networkId: string, chassis: string): WireEntrance | undefined {
  const wire = view.get(wireTable, `${networkId}@${chassis}`);
  const segment = chosenSegments(view, networkId).find(({ index }) => index === wire?.segment);
  if (segment === undefined || segment.physical_network === null) return undefined;
  const ofport = numberOf(view, patchPool, "", segment.physical_network);
  return ofport === undefined ? undefined : { ofport, vlan: segment.type === "vlan" ? segment.segmentation_id : null };
}

export const explains: Explains = {
  entrance(view, id) {
    const [port, at] = [view.get(portTable, id), activeAttachment(view, id)];
    const entrance = port === undefined || at === undefined ? undefined : entranceOf(view, port.network_id, at.chassis);
    return entrance === undefined ? undefined : { chassis: at!.chassis, ...entrance, mac: port!.mac_address };
  },
};
