// What is kept of ports for others: the compute service, and whoever watches the hosts.
import { defineTable, type Row } from "#app";

/** A port of which something is said; `id` is the port's. What is absent has not been said. */
export interface PortExtra extends Row {
  readonly data_plane_status?: "ACTIVE" | "DOWN" | undefined;
  /** Only where it is not to be. */
  readonly propagate_uplink_status?: false | undefined;
  readonly numa_affinity_policy?: string | undefined;
  readonly device_profile?: string | undefined;
  readonly trusted?: boolean | undefined;
}
export const portExtraTable = defineTable<PortExtra>()("port_extra", {});
