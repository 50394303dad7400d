// Inventory: what the switches told us, as rows of the model. Stored, so that a restarted controller knows where every
// port is before the first switch is back. Written by the southbound layer only; apps read it.
import { normalizeIp } from "../lib/address.ts";
import { definePool, type Pool } from "./pools.ts";
import { defineTable } from "./table.ts";

export type EncapType = "geneve" | "vxlan" | "gre";

/** A hypervisor: one Open vSwitch database with one integration bridge. `id` is its system-id. */
export interface Chassis {
  readonly id: string;
  readonly hostname: string;
  /** 1..65535, unique among chassis, for life: `out_host` in the pipeline. */
  readonly key: number;
  /** Integration bridge name. */
  readonly bridge: string;
  /** Datapath id of that bridge, 16 lower-case hex digits; "" until known. */
  readonly dpid: string;
  readonly datapath_type: string;
  /** Tunnel endpoint, IPv4 or IPv6 text; "" if the host has none. */
  readonly encap_ip: string;
  /** In order of preference. */
  readonly encap_types: readonly EncapType[];
  /** physical network -> provider bridge. */
  readonly bridge_mappings: Readonly<Record<string, string>>;
  /** It may host centralised gateways. */
  readonly gateway: boolean;
  /** Those that it hosts shall be used elsewhere. */
  readonly drain?: boolean;
  readonly ovs_version: string;
  /** Tags of a frame that its flows can match, if more than one. */
  readonly vlan_limit?: 2;
  /** Availability zone, if it says one: see zoneOf. */
  readonly zone?: string;
  /** Queues that the operator made at its uplinks, if any: of each physical network by number. */
  readonly uplink_queues?: readonly UplinkQueue[];
}

/** A queue of the port by which a host leads to a physical network. */
export interface UplinkQueue {
  readonly physical_network: string;
  /** As set_queue names it. */
  readonly queue: number;
  /** What it has whatever others send, 1000 bits a second. */
  readonly min_kbps: number;
}

/** The availability zone of hosts that name none, as other OpenStack services call theirs. */
export const DEFAULT_ZONE = "nova";
export const zoneOf = ({ zone = DEFAULT_ZONE }: { readonly zone?: string }): string => zone;

export const chassisTable = defineTable<Chassis>()("chassis", {
  indexes: {
    dpid: (c) => (c.dpid === "" ? undefined : c.dpid),
    hostname: (c) => c.hostname,
    key: (c) => String(c.key),
    physical_network: (c) => Object.keys(c.bridge_mappings),
    /** In its canonical form, which its database need not have. */
    endpoint: (c) => (c.encap_ip === "" ? undefined : (normalizeIp(c.encap_ip) ?? c.encap_ip)),
    zone: (c) => zoneOf(c),
    queues: (c) => [...new Set(c.uplink_queues?.map((q) => q.physical_network) ?? [])],
    draining: (c) => (c.drain === true ? "" : undefined),
    /** `<type>/<4 or 6>`: each encapsulation that it may use, with the family of its endpoint. */
    encap: (c) => c.encap_types.map((type) => `${type}/${c.encap_ip.includes(":") ? 6 : 4}`),
  },
});

/** Not among the pools of apps: the southbound layer draws on it alone. */
export const chassisKeys = definePool({
  name: "chassis-key", of: "key", min: 1, max: 65_535, about: "keys of chassis: `out_host` in the pipeline", taken: (view, _part, n) => view.count(chassisTable, "key", String(n)) > 0,
});

/** A plugged interface with an iface-id on a chassis' integration bridge. `id` is `<chassis>/<interface name>`. */
export interface Vif {
  readonly id: string;
  readonly chassis: string;
  /** external_ids:iface-id. */
  readonly iface_id: string;
  readonly name: string;
  /** OpenFlow port number on the chassis, > 0. */
  readonly ofport: number;
  /** 1..65534, unique on the chassis while plugged: conntrack zone and meter id of the port there. */
  readonly slot: number;
}

export const vifTable = defineTable<Vif>()("vif", {
  indexes: { iface_id: (v) => v.iface_id, chassis: (v) => v.chassis, slot: (v) => `${v.chassis}/${v.slot}` },
});

/**
 * Conntrack zones, by chassis: one space for ports (their slots) and routers, for life, flushed when given back. A port's punt meter has
 * the same number, so meters begin where zones end.
 */
export const zonePool = definePool({
  name: "zone", of: ["zone", "meter"], min: 1, max: 65_534, about: "conntrack zones of a chassis", forgotten: true,
  taken: (view, chassis, n) => view.count(vifTable, "slot", `${chassis}/${n}`) > 0,
});

/** Meters of which each port of a host has one of its own: they are numbered as zones are, from `min` on. */
export const zoneMeters = (name: string, min: number, about: string): Pool => definePool({ name, of: "meter", min, max: min + zonePool.max - zonePool.min, about });
/** The number among them that goes with a zone. */
export const meterOfZone = ({ min }: Pool, zone: number): number => min + zone - zonePool.min;
