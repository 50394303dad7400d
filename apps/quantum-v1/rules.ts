// No rule and no table of the pipeline: places of ports, for l2 to make flows of.
import { derivation, each, vifTable, type ReadView, type Vif } from "#app";
import { activeAttachment, attachmentId, attachmentTable, bindingFault, chosenSegmentTable, networkTable, pluggedAt, pluggedReads, portTable, type Attachment } from "../l2/model.ts";
import { quantumAttachmentTable, type QuantumAttachment } from "./model.ts";

function place({ id, port_id: portId }: QuantumAttachment, view: ReadView): Attachment | undefined {
  // Plugged by its own id it is where l2 says.
  if (view.count(vifTable, "iface_id", portId) > 0) return undefined;
  const at = pluggedAt(view, portId, {}, id);
  const port = view.get(portTable, portId);
  const network = port?.admin_state_up === true ? view.get(networkTable, port.network_id) : undefined;
  if (at === undefined || port === undefined || network?.admin_state_up !== true || bindingFault(view, network.id, at.chassis) !== undefined) return undefined;
  return {
    id: attachmentId(port.id, at.chassis.id, "active"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: at.chassis.id, host_key: at.chassis.key, role: "active",
    ofport: at.vif.ofport, vlan: null, slot: at.vif.slot,
  };
}

export const derive = [
  derivation({ name: "quantum-attachment", on: each(quantumAttachmentTable), into: attachmentTable, reads: [portTable, networkTable, chosenSegmentTable, ...pluggedReads], derive: place }),
];

export const vif = {
  known: (view: ReadView, { iface_id: id }: Vif): boolean => view.get(quantumAttachmentTable, id) !== undefined,
  serves(view: ReadView, { iface_id: id, chassis, ofport }: Vif): boolean {
    const attached = view.get(quantumAttachmentTable, id);
    const at = attached === undefined ? undefined : activeAttachment(view, attached.port_id);
    return at?.chassis === chassis && at.ofport === ofport;
  },
  concerned: (view: ReadView, id: string): readonly string[] => view.by(quantumAttachmentTable, "port", id).map((a) => a.id),
};
