// Numbers of segments: kinds of networks, what may be named, and where a number is drawn from that nobody names.
import { chassisTable, definePool, defineQuestion, defineSettings, type ReadView } from "#app";
import { overlaySettings, vniRanges } from "../overlay/model.ts";

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

/** Numbers that may be drawn, both ends included; VLANs of a physical network, or VNIs. */
export interface OfferedRange {
  readonly physical_network: string | null;
  readonly from: number;
  readonly to: number;
}

/** A type of networks, or tunnels of whatever kind two hosts share. */
export type NumberedType = NetworkType | "tunnel";

/** What the operator configured for a type that has numbers. */
export function configuredRanges(view: ReadView, type: NumberedType): readonly OfferedRange[] {
  if (type === "local" || type === "flat") return [];
  if (type !== "vlan") return vniRanges(view).map(([from, to]) => ({ physical_network: null, from, to }));
  return Array.from(view.settings(providerSettings)["vlan-ranges"], ([physical_network, ranges]) => ranges.map(([from, to]) => ({ physical_network, from, to }))).flat();
}

/**
 * From which numbers a network of a project may have one, where nobody names it. Several lists are used in turn: of a later one only when no number
 * of those before is free. Without an answer they are what the operator configured.
 */
export const offeredNumbers = defineQuestion<(view: ReadView, of: { readonly type: NumberedType; readonly project_id: string }) => readonly (readonly OfferedRange[])[]>("offered_numbers");
