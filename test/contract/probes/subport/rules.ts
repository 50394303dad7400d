// No rule and no table of the pipeline: places of ports, for l2 to make flows of.
import { claimTable, derivation, each, poolNumberTable, vifTable, type Claim, type ReadView } from "#app";
import { attachmentId, attachmentTable, networkTable, pluggedAt, pluggedReads, portTable, type Attachment } from "../../../../apps/l2/model.ts";
import { subPortTable, zoneClaim, zoneOf, type SubPort } from "./model.ts";

function place(s: SubPort, view: ReadView): Attachment | undefined {
  const at = pluggedAt(view, s.parent_id);
  const port = view.get(portTable, s.port_id);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  // Plugged by itself it is where l2 says.
  if (at === undefined || port === undefined || network?.admin_state_up !== true || view.count(vifTable, "iface_id", port.id) > 0) return undefined;
  const slot = zoneOf(view, s, at.chassis.id);
  if (slot === undefined) return undefined;
  return {
    id: attachmentId(port.id, at.chassis.id, "active"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: at.chassis.id, host_key: at.chassis.key, role: "active",
    ofport: at.vif.ofport, vlan: s.vlan, slot,
  };
}

const zone = (s: SubPort, view: ReadView): Claim | undefined => {
  const at = pluggedAt(view, s.parent_id);
  return at === undefined ? undefined : zoneClaim(s, at.chassis.id);
};

export const derive = [
  derivation({ name: "sub-port-zone", on: each(subPortTable), into: claimTable, reads: pluggedReads, derive: zone }),
  derivation({ name: "sub-port", on: each(subPortTable), into: attachmentTable, reads: [portTable, networkTable, poolNumberTable, ...pluggedReads], derive: place }),
];
