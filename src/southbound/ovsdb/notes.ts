// What the operator should know of a host's rows, beside what the plan of adoption.ts says: bridges that are not there, interfaces that the switch cannot
// use; and whether what a host reports of itself is what is stored.
import type { Chassis } from "#app";
import type { BridgeRow, HostRows, Note } from "./host-rows.ts";
import { PORT } from "./patches.ts";
import type { HostSettings } from "./settings.ts";

/** A note, and since when it holds. */
export interface Reported extends Note {
  readonly since: Date;
}

/** Bridges of physical networks that are not there. */
export function mappingNotes(rows: HostRows, { bridgeMappings, bridge: integration }: HostSettings): Note[] {
  const there = new Set(rows.bridges().map((b) => b.name));
  return Object.entries(bridgeMappings).filter(([, bridge]) => bridge !== integration && !there.has(bridge)).map(([physnet, bridge]) => ({
    kind: "bridge_mapping", about: `external_ids:axion-bridge-mappings, ${physnet}:${bridge}`, problem: `the host has no bridge ${bridge}`, cure: `make the bridge (ovs-vsctl add-br ${bridge}), with the interface that leads to ${physnet}, or correct the mapping`,
  }));
}

/** Interfaces on the bridge, not ours, that the switch cannot use. */
export function interfaceNotes(rows: HostRows, bridge: BridgeRow): Note[] {
  const notes: Note[] = [];
  rows.forEachInterface(bridge, ({ name, error, external_ids: ids }, { external_ids: ofPort }) => {
    if (error === undefined || error === "" || ofPort[PORT] === "true") return;
    const port = ids["iface-id"] === undefined ? "" : ` (iface-id ${ids["iface-id"].slice(0, 64)})`;
    notes.push({ kind: "interface_error", about: `interface ${name}${port}`, problem: error.slice(0, 200), cure: `look whether the device ${name} is there (ip link); plug it again, or take it away with ovs-vsctl del-port ${name}` });
  });
  return notes;
}

export function sameChassis(a: Chassis, b: Chassis): boolean {
  const mappings = Object.entries(b.bridge_mappings);
  return (
    a.hostname === b.hostname && a.key === b.key && a.bridge === b.bridge && a.dpid === b.dpid && a.datapath_type === b.datapath_type &&
    a.encap_ip === b.encap_ip && a.gateway === b.gateway && a.drain === b.drain && a.ovs_version === b.ovs_version && a.vlan_limit === b.vlan_limit && a.zone === b.zone &&
    a.encap_types.length === b.encap_types.length && a.encap_types.every((t, i) => t === b.encap_types[i]) &&
    JSON.stringify(a.uplink_queues ?? []) === JSON.stringify(b.uplink_queues ?? []) &&
    mappings.length === Object.keys(a.bridge_mappings).length && mappings.every(([physnet, bridge]) => a.bridge_mappings[physnet] === bridge)
  );
}
