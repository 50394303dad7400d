// Where sub-ports are: at the interface of their parent, behind a tag. They are places of ports as any, of which l2 and all others make their flows;
// what is left for the trunk itself is what has a tag that is nobody's.
import { chassisScope, claimTable, core, definePipeline, derivation, each, poolNumberTable, vifTable, type Claim, type ReadView } from "#app";
import { activeAttachment, attachmentId, attachmentTable, bindingFault, chosenSegmentTable, networkTable, pluggedAt, pluggedReads, portTable, TAGGED, type Attachment } from "../l2/model.ts";
import { subPortTable, trunkParentTable, trunkTable, zoneClaim, zoneOf, type SubPort, type TrunkParent } from "./model.ts";

/** Where the parent's interface is, of a parent that is not closed. */
const behind = (view: ReadView, { parent_id: parent }: SubPort): ReturnType<typeof pluggedAt> => (view.get(portTable, parent)?.admin_state_up === true ? pluggedAt(view, parent) : undefined);

function place(sub: SubPort, view: ReadView): Attachment | undefined {
  const at = behind(view, sub);
  const port = view.get(portTable, sub.id);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  // Plugged by itself it is where l2 says.
  if (at === undefined || port === undefined || network?.admin_state_up !== true || view.count(vifTable, "iface_id", port.id) > 0) return undefined;
  if (bindingFault(view, network.id, at.chassis) !== undefined) return undefined;
  const slot = zoneOf(view, sub, at.chassis.id);
  if (slot === undefined) return undefined;
  return {
    id: attachmentId(port.id, at.chassis.id, "active"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: at.chassis.id, host_key: at.chassis.key, role: "active",
    ofport: at.vif.ofport, vlan: sub.segmentation_id, slot,
  };
}

function zone(sub: SubPort, view: ReadView): Claim | undefined {
  const at = behind(view, sub);
  return at === undefined ? undefined : zoneClaim(sub, at.chassis.id);
}

export const derive = [
  derivation({ name: "sub-port-zone", on: each(subPortTable), into: claimTable, reads: pluggedReads, derive: zone }),
  derivation({ name: "sub-port", on: each(subPortTable), into: attachmentTable, reads: [networkTable, chosenSegmentTable, poolNumberTable, ...pluggedReads], derive: place }),
  derivation({ name: "trunk-parent", on: each(trunkTable), into: trunkParentTable, reads: [], derive: ({ id, port_id }): TrunkParent => ({ id: port_id, trunk_id: id }) }),
];

export const trunks = definePipeline({ tables: {}, registers: {} });

export const rules = [
  trunks.rule({
    name: "unknown-tag",
    about: "what comes from the interface of a trunk with a tag that is no sub-port's is dropped, and counted",
    on: each(trunkParentTable),
    drops: { classify: "unknown_vlan" },
    emit({ id }, view, out) {
      const at = activeAttachment(view, id);
      if (at !== undefined) out.into(core).flow(chassisScope(at.chassis), "classify", { priority: 80, match: { in_port: at.ofport, vlan_vid: TAGGED }, actions: [] });
    },
  }),
];
