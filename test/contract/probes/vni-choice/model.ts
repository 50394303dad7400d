// The VNI that a caller wants a network to have.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface VniChoice extends StandardRow {
  readonly network_id: string;
  readonly vni: number;
}
export const vniChoiceResource = resourceHandle<VniChoice>("vni_choice");
export const vniChoiceTable = defineTable<VniChoice>()("vni_choice", { resource: "vni_choice" });
