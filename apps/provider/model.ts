// What provider networks are made of: kinds of segments, what may be named, and the numbers that go with physical networks.
import { chassisTable, definePool, defineScope, defineSettings, defineTable, type ReadView, type Row, type Scope } from "#app";
import { overlaySettings } from "../overlay/model.ts";

/** As callers spell them, in the order in which they are named to them. */
export const networkTypes = ["local", "flat", "vlan", "vxlan", "gre", "geneve"] as const;
export type NetworkType = (typeof networkTypes)[number];

export const VLAN_MIN = 1;
export const VLAN_MAX = 4094;

export const providerSettings = defineSettings({
  "tenant-network-types": {
    kind: { listOf: networkTypes }, value: "TYPE,...",
    about: "kinds of networks whose makers name none, the first that has a free number (local, vlan, vxlan, gre, geneve); none given: tunnels of whatever kind two hosts share",
  },
  "vlan-ranges": { kind: { namedRanges: [VLAN_MIN, VLAN_MAX] }, value: "NETWORK:FROM:TO,...", about: "VLANs of physical networks for networks whose makers name none; a physical network alone is known, and has none" },
});

/** VLANs of each physical network. The holder is a network's id. */
export const vlanPool = definePool({ name: "vlan", of: "vlan", min: VLAN_MIN, max: VLAN_MAX, about: "VLANs of physical networks" });

/** OpenFlow ports of the patches to physical networks, the same on every host. The holder is the physical network's name. */
export const patchPool = definePool({ name: "physical-patch", of: "ofport", min: 50_001, max: 54_000, about: "OpenFlow ports of patches to physical networks" });

/** Whether anybody has said that there is such a physical network: a host that is mapped to it, or the operator. */
export const isKnown = (view: ReadView, physicalNetwork: string): boolean =>
  view.count(chassisTable, "physical_network", physicalNetwork) > 0 || view.settings(providerSettings)["vlan-ranges"].has(physicalNetwork) || view.settings(overlaySettings)["physical-network-mtus"].has(physicalNetwork);

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
