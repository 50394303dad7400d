// The VNI that a caller wants a network to have.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface VniWish extends StandardRow {
  readonly network_id: string;
  readonly vni: number;
}
export const vniWishResource = resourceHandle<VniWish>("vni_wish");
export const vniWishTable = defineTable<VniWish>()("vni_wish", { resource: "vni_wish" });
