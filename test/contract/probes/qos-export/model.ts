// Policies of uplinks: how fast they are, and who is told of the flows of their host.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface UplinkPolicy extends StandardRow {
  /** System-id of the host; one policy each. */
  readonly host: string;
  /** Port of a bridge that is not the controller's. */
  readonly uplink: string;
  readonly kbps: number;
  /** address:port of an IPFIX collector. */
  readonly collector: string;
}
export const uplinkPolicyResource = resourceHandle<UplinkPolicy>("uplink_policy");
export const uplinkPolicyTable = defineTable<UplinkPolicy>()("uplink_policy", { resource: "uplink_policy", indexes: { host: (p) => p.host } });
