// What other apps may know of provider networks, and where they are.
import { defineScope, defineTable, type Row, type Scope } from "#app";
import { partOf, type Spread } from "../l2/model.ts";

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
export const wireTable = defineTable<Wire>()("wire_host", {
  derived: true,
  pairs: {
    /** The second is the segment's index. */
    sides: (w) => [w.network_id, String(w.segment)],
    /** Of those that are on no physical one; the second is partOf its key. */
    parts: (w) => (w.segment < 0 ? [w.network_id, String(partOf(w.host_key))] : undefined),
  },
});

/** Of a network with several segments who hands on between a physical one and the tunnels (derived). `id` is sideId(...). */
export interface Side extends Row {
  readonly chassis: string;
  readonly host_key: number;
}
export const sideTable = defineTable<Side>()("wire_side", { derived: true });
export const sideId = (networkId: string, segment: number): string => `${networkId}/${segment}`;

/** Of a network with several segments the list of the hosts that are on no physical one, where there are any (derived). `id` is the network's. */
export interface InlandList extends Row {
  readonly net_key: number;
  readonly spread: Spread;
}
export const inlandListTable = defineTable<InlandList>()("wire_inland", { derived: true });

/** Hosts of a network that are on one physical segment of it; -1: on none. */
export const wireScope: (networkId: string, segment: number) => Scope = defineScope("wire");
/** Those of them that have its tunnels too. */
export const wireTunnelScope: (networkId: string, segment: number) => Scope = defineScope("wire-tunnel");
/** Hosts that send to all of those that are on none. */
export const inlandScope: (networkId: string) => Scope = defineScope("wire-inland");
/** Hosts that are on any physical network. */
export const physicalScope: () => Scope = defineScope("physical");
