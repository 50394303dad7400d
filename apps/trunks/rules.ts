// Where sub-ports are: at the interface of their parent, behind a tag. They are places of ports as any, of which l2 and all others make their flows;
// what is left for the trunk itself is what has a tag that is nobody's.
import { chassisScope, claimTable, core, definePipeline, derivation, each, poolNumberTable, vifTable, type Claim, type PortContext, type ReadView } from "#app";
import { activeAttachment, attachmentId, attachmentTable, bindingFault, chosenSegmentTable, inactiveBindingAt, inactiveBindingTable, networkTable, pluggedAt, pluggedReads, portTable, requestedChassis, TAGGED, type Attachment } from "../l2/model.ts";
import { subPortTable, trunkParentTable, trunkTable, zoneClaim, zoneOf, type SubPort, type TrunkParent } from "./model.ts";

type Place = NonNullable<ReturnType<typeof pluggedAt>>;

/** Where the parent's interface is, of a parent that is not closed. */
const behind = (view: ReadView, { parent_id: parent }: SubPort): Place | undefined => (view.get(portTable, parent)?.admin_state_up === true ? pluggedAt(view, parent) : undefined);

/** Other hosts where it is plugged for an inactive binding of the parent: what is behind it has a place there too, until it moves. */
function* standby(view: ReadView, { parent_id: parent }: SubPort): Iterable<Place> {
  for (const { host } of view.by(inactiveBindingTable, "port", parent)) {
    const chassis = requestedChassis(view, host);
    const vif = chassis === undefined ? undefined : view.by(vifTable, "iface_id", parent).find((v) => v.chassis === chassis.id);
    if (chassis !== undefined && vif !== undefined) yield { chassis, vif };
  }
}
/** Each chassis once, that of the active place first. */
function placesBehind(view: ReadView, sub: SubPort): readonly (Place & { readonly role: "active" | "standby" })[] {
  const at = behind(view, sub);
  if (at === undefined) return [];
  return [{ ...at, role: "active" }, ...[...standby(view, sub)].filter(({ chassis }, i, all) => chassis.id !== at.chassis.id && all.findIndex((p) => p.chassis.id === chassis.id) === i).map((p) => ({ ...p, role: "standby" as const }))];
}

function places(sub: SubPort, view: ReadView): Attachment[] {
  const port = view.get(portTable, sub.id);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  // Plugged by itself it is where l2 says.
  if (port === undefined || network?.admin_state_up !== true || view.count(vifTable, "iface_id", port.id) > 0) return [];
  return placesBehind(view, sub).flatMap(({ chassis, vif, role }) => {
    const slot = zoneOf(view, sub, chassis.id);
    if (slot === undefined || bindingFault(view, network.id, chassis) !== undefined) return [];
    return [{
      id: attachmentId(port.id, chassis.id, role), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: chassis.id, host_key: chassis.key, role,
      ofport: vif.ofport, vlan: sub.segmentation_id, slot,
    }];
  });
}

const zones = (sub: SubPort, view: ReadView): Claim[] => placesBehind(view, sub).map(({ chassis }) => zoneClaim(sub, chassis.id));

export const derive = [
  derivation({ name: "sub-port-zone", on: each(subPortTable), into: claimTable, reads: pluggedReads, derive: zones }),
  derivation({ name: "sub-port", on: each(subPortTable), into: attachmentTable, reads: [networkTable, chosenSegmentTable, poolNumberTable, ...pluggedReads], derive: places }),
  derivation({ name: "trunk-parent", on: each(trunkTable), into: trunkParentTable, reads: [], derive: ({ id, port_id }): TrunkParent => ({ id: port_id, trunk_id: id }) }),
];

/** As its parent: a machine that does not run there yet must not find old packets, and one that is gone must not answer. */
export const portContext: readonly PortContext[] = [{
  deaf(view, { port_id: id, chassis }) {
    const sub = view.get(subPortTable, id);
    return sub !== undefined && inactiveBindingAt(view, sub.parent_id, chassis) !== undefined;
  },
}];

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
