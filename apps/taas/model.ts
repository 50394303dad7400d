// taas's entities: tap services and mirrors, to which the packets of ports are copied, and what follows from them.
import { defineScope, defineTable, resourceHandle, type Row, type StandardRow } from "#app";
import { portTable } from "../l2/model.ts";
import type { VlanRange } from "./vlans.ts";

type Named = Pick<StandardRow, "id" | "project_id" | "name" | "description">;

/** Seen from the machine that is copied: IN is what gets to it, OUT what it sends. */
export const DIRECTIONS = ["IN", "OUT", "BOTH"] as const;
export type Direction = (typeof DIRECTIONS)[number];

/** Where copies go: a port. */
export interface TapService extends Named {
  readonly port_id: string;
}
export const tapServiceResource = resourceHandle<TapService>("tap_service");
export const tapServiceTable = defineTable<TapService>()("tap_service", { resource: "tap_service", indexes: { project: (s) => s.project_id, port: (s) => s.port_id } });

/** Whose packets are copied there. */
export interface TapFlow extends Named {
  readonly tap_service_id: string;
  readonly source_port: string;
  readonly direction: Direction;
  /** As it was given; null: whatever tag a frame has, if any. */
  readonly vlan_filter: string | null;
}
export const tapFlowResource = resourceHandle<TapFlow>("tap_flow");
export const tapFlowTable = defineTable<TapFlow>()("tap_flow", {
  resource: "tap_flow",
  indexes: { project: (f) => f.project_id, service: (f) => f.tap_service_id, source: (f) => f.source_port },
  pairs: { sources: (f) => ["all", f.source_port] },
});

/** So many copies of one port's packets; each is work for its switch. */
export const COPIES_MAX = 8;

/** A copy of what a port sends, or gets. */
export interface Copy {
  /** Of the tap service: copies travel with it, and their flows are found by it. */
  readonly vni: number;
  readonly service: string;
  readonly direction: Direction;
  /** Empty: whatever tag. */
  readonly vlans: readonly VlanRange[];
}
/** A port whose packets are copied (derived). `id` is the port's. */
export interface TappedPort extends Row {
  readonly copies: readonly Copy[];
}
export const tappedPortTable = defineTable<TappedPort>()("tapped_port", { derived: true, of: portTable });

/** A tap service that copies go to, where its port is (derived). `id` is the service's. */
export interface TapPlace extends Row {
  readonly vni: number;
  readonly chassis: string;
  readonly host_key: number;
  readonly ofport: number;
  readonly vlan: number | null;
}
export const tapPlaceTable = defineTable<TapPlace>()("tap_place", { derived: true, of: tapServiceTable });

/** Hosts that have what a tap service or tap flow is, while there is one for each of its ports (derived). `id` is that of either. */
export interface TapHosts extends Row {
  readonly hosts: readonly string[];
}
export const tapHostsTable = defineTable<TapHosts>()("tap_hosts", { derived: true });

/** Tap services and tap flows whose hosts have confirmed their flows: `status` ACTIVE. */
export const tapActiveTable = defineTable<Row>()("tap_active");

/** Hosts with ports that are copied to a tap service; who may send to it. */
export const tapScope = defineScope("tap");
export const tapSendersScope = defineScope("tap-senders");
