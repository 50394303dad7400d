// A wire: what a port sends goes to a physical network as it is, and what comes from there goes to the port.
import { definePool, defineTable, resourceHandle, type StandardRow } from "#app";

export interface Wire extends StandardRow {
  readonly port_id: string;
  /** By axion-bridge-mappings of the port's host; it has one wire. */
  readonly physical_network: string;
  /** IPv6 prefixes that the port may not send to. */
  readonly blocked: readonly string[];
}
export const wireTable = defineTable<Wire>()("wire", { resource: "wire", indexes: { port: (w) => w.port_id, physnet: (w) => w.physical_network } });
export const wireResource = resourceHandle<Wire>("wire");

/** OpenFlow ports of patches, one for each physical network, the same on every host. */
export const patchPool = definePool({ name: "wire-patch", of: "ofport", min: 64_001, max: 65_000, about: "OpenFlow ports of patches to physical networks" });
