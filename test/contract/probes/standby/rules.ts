// No rule and no table of the pipeline: places of ports, for l2 to make flows of, and what these may do.
import { chassisTable, derivation, each, vifTable, type PortContext, type ReadView } from "#app";
import { attachmentId, attachmentTable, networkTable, pluggedAt, pluggedReads, portTable, type Attachment } from "../../../../apps/l2/model.ts";
import { standbyTable, type Standby } from "./model.ts";

function place(s: Standby, view: ReadView): Attachment | undefined {
  const at = pluggedAt(view, s.port_id);
  const port = view.get(portTable, s.port_id);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  if (at === undefined || at.chassis.id === s.host || port === undefined || network?.admin_state_up !== true) return undefined;
  const vif = view.by(vifTable, "iface_id", port.id).filter((v) => v.chassis === s.host).sort((a, b) => (a.id < b.id ? -1 : 1))[0];
  const chassis = view.get(chassisTable, s.host);
  if (vif === undefined || chassis === undefined) return undefined;
  return {
    id: attachmentId(port.id, s.host, "standby"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: chassis.id, host_key: chassis.key, role: "standby",
    ofport: vif.ofport, vlan: null, slot: vif.slot,
  };
}

export const derive = [derivation({ name: "standby", on: each(standbyTable), into: attachmentTable, reads: [portTable, networkTable, ...pluggedReads], derive: place })];

export const portContext: readonly PortContext[] = [{ speaks: (view, at) => view.by(standbyTable, "place", `${at.port_id}@${at.chassis}`).some((s) => s.speaks) }];
