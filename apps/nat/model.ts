// nat's entities: what of a gateway's traffic is translated, and where.
import type { ReadView } from "#app";
import { addressTable } from "../l2/model.ts";

/** The address that sources are translated to: the gateway's first of IPv4. */
export const ownAddress = (view: ReadView, gatewayId: string): string | undefined =>
  view.by(addressTable, "port", gatewayId).filter((a) => a.family === 4).toSorted((a, b) => a.position - b.position)[0]?.ip;
