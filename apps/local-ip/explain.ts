// Where a packet to a local IP goes, for those that trace one.
import { answer, type ReadView } from "#app";
import { ledTo } from "../ipam/model.ts";
import { hereOf, localIpPlaceTable } from "./model.ts";

export const answers = [answer(ledTo, (view: ReadView, network: string, address: string, chassis: string): string | undefined =>
  view.by(localIpPlaceTable, "here", hereOf(network, chassis)).find((p) => p.address === address)?.port_id)];
