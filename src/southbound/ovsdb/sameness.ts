// Whether what is written of a host, or to it, is what was written before.
import type { Chassis, Vif } from "#app";
import type { Operation } from "ovsdb-client";

/** With what is in maps and sets: two transactions that set a column to different ones are not the same. */
export const textOf = (operations: readonly Operation[]): string =>
  JSON.stringify(operations, (_, value: unknown) => (value instanceof Map || value instanceof Set ? Array.from(value as Iterable<unknown>) : typeof value === "bigint" ? String(value) : value));

export function sameChassis(a: Chassis, b: Chassis): boolean {
  const mappings = Object.entries(b.bridge_mappings);
  return (
    a.hostname === b.hostname && a.key === b.key && a.bridge === b.bridge && a.dpid === b.dpid && a.datapath_type === b.datapath_type &&
    a.encap_ip === b.encap_ip && a.gateway === b.gateway && a.drain === b.drain && a.ovs_version === b.ovs_version && a.vlan_limit === b.vlan_limit && a.zone === b.zone &&
    a.encap_types.length === b.encap_types.length && a.encap_types.every((t, i) => t === b.encap_types[i]) &&
    mappings.length === Object.keys(a.bridge_mappings).length && mappings.every(([physnet, bridge]) => a.bridge_mappings[physnet] === bridge)
  );
}

/** What changed of the interfaces, in a few words. */
export function differenceText(stored: readonly Vif[], plugged: readonly { readonly name: string; readonly ifaceId: string }[]): string {
  const before = new Map(stored.map((v) => [v.name, v.iface_id]));
  const now = new Map(plugged.map((p) => [p.name, p.ifaceId]));
  const changes = [
    ...plugged.filter((p) => before.get(p.name) !== p.ifaceId).map((p) => `${p.name} plugged`),
    ...stored.filter((v) => now.get(v.name) !== v.iface_id).map((v) => `${v.name} unplugged`),
  ];
  return changes.length === 0 ? "inventory changed" : changes.length > 4 ? `${changes.length} interfaces changed` : changes.join(", ");
}
