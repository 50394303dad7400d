// What other apps may know of provider networks, and where they are.
import { defineScope, defineTable, type Row, type Scope } from "#app";

export { addSegment, removeSegment, type SegmentWish } from "./choice.ts";
export * from "./numbers.ts";

/** A host with ports of a network that has physical segments (derived). `id` is `<network>@<chassis>`. */
export interface Wire extends Row {
  readonly network_id: string;
  readonly net_key: number;
  readonly chassis: string;
  readonly host_key: number;
  /** Index of the physical segment that it is on; -1: none. */
  readonly segment: number;
  /** Whether it has the network's tunnels. */
  readonly tunnel: boolean;
}
export const wireTable = defineTable<Wire>()("wire_host", { derived: true, indexes: { network: (w) => w.network_id } });

/** Hosts of a network that are on one physical segment of it. */
export const wireScope: (networkId: string, segment: number) => Scope = defineScope("wire");
/** Hosts that are on any physical network. */
export const physicalScope: () => Scope = defineScope("physical");
