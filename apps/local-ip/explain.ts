// Where a packet to a local IP goes, for those that trace one.
import { answer, type ReadView } from "#app";
import { ledTo } from "../ipam/model.ts";
import { localIpPlaceTable } from "./model.ts";

export const answers = [answer(ledTo, (view: ReadView, network: string, address: string, chassis: string): string | undefined =>
  view.byPair(localIpPlaceTable, "here", network, chassis).find((p) => p.address === address)?.port_id)];
