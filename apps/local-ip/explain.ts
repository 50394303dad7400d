// Where a packet to a local IP goes, for those that trace one.
import { answer, type ReadView } from "#app";
import { ledTo } from "../ipam/model.ts";
import { associationTable, hereOf, localIpPlaceTable } from "./model.ts";

export const answers = [answer(ledTo, (view: ReadView, network: string, address: string, chassis: string): string | undefined => {
  const place = view.by(localIpPlaceTable, "here", hereOf(network, chassis)).find((p) => p.address === address);
  return place === undefined ? undefined : view.get(associationTable, place.id)?.fixed_port_id;
})];
