// taas's entities: tap services and mirrors, to which the packets of ports are copied, and what follows from them.
import { definePool, defineScope, defineTable, resourceHandle, type Row, type StandardRow } from "#app";
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
});

/** By what copies leave for a machine outside. */
export const MIRROR_TYPES = ["gre", "erspanv1"] as const;
/** Copies of a port's packets to a machine outside, by a tunnel from the port's host. */
export interface TapMirror extends Named {
  readonly port_id: string;
  readonly remote_ip: string;
  readonly mirror_type: (typeof MIRROR_TYPES)[number];
  /** Keys of GRE, session ids of ERSPAN. */
  readonly directions: Readonly<Partial<Record<Direction, number>>>;
}
export const tapMirrorResource = resourceHandle<TapMirror>("tap_mirror");
export const tapMirrorTable = defineTable<TapMirror>()("tap_mirror", { resource: "tap_mirror", indexes: { project: (m) => m.project_id, port: (m) => m.port_id, remote: remoteOf } });
/** Where ids of tunnels are told apart for their users: those of a project to one machine. Projects know nothing of each other's. */
export function remoteOf({ project_id, remote_ip }: Pick<TapMirror, "project_id" | "remote_ip">): string {
  return `${project_id} ${remote_ip}`;
}
/** Who holds the OpenFlow port of a tunnel, at each host: all mirrors that send by it. Open vSwitch has one tunnel of a type to a machine with an id. */
export const tunnelHolder = ({ mirror_type, remote_ip }: Pick<TapMirror, "mirror_type" | "remote_ip">, id: number): string => `${mirror_type} ${remote_ip} ${id}`;
export const mirrorPorts = definePool({ name: "mirror-port", of: "ofport", min: 60_001, max: 64_000, about: "OpenFlow ports of tunnels of tap mirrors" });

/** So many copies of one port's packets; each is work for its switch. */
export const COPIES_MAX = 8;
/**
 * Flows of a port's host for tags of one direction: ranges of VLAN ids are matched by prefixes, those of several tap flows where they overlap. One more is for all other
 * frames, where tap flows without a filter, or mirrors, copy them; each has at most COPIES_MAX copies.
 */
export const TAG_FLOWS_MAX = 128;

/** A copy of what a port sends, or gets (derived). `id` is the tap flow's, or `<mirror>/<direction>`. */
export interface Copy extends Row {
  readonly port_id: string;
  readonly direction: Direction;
  /** Empty: whatever tag. */
  readonly vlans: readonly VlanRange[];
  /** To a tap service, by its VNI, or by the tunnel of a mirror, which has this holder. */
  readonly to: { readonly service: string; readonly vni: number } | { readonly tunnel: string };
}
export const copyTable = defineTable<Copy>()("tap_copy", { derived: true, indexes: { port: (c) => c.port_id }, pairs: { ports: (c) => ["all", c.port_id] } });

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
