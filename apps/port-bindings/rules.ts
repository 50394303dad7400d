// No rule and no table of the pipeline: where a port is about to be it has a place, of which l2 makes all flows but those by which packets come and go. So
// that it is there at once, all that has to change is what its new switch, and its old one, do with their own interface.
import { derivation, each, type PortContext, type ReadView, type Tx, type Vif } from "#app";
import { attachmentId, attachmentTable, chosenSegmentTable, inactiveBindingAt, inactiveBindingTable, networkTable, pluggedReads, portTable, type Attachment, type InactiveBinding } from "../l2/model.ts";
import { standbyOf } from "./model.ts";

function place(binding: InactiveBinding, view: ReadView): Attachment | undefined {
  const standby = standbyOf(view, binding);
  if (standby === undefined) return undefined;
  const { port, network, vif, chassis } = standby;
  return {
    id: attachmentId(port.id, chassis.id, "standby"), port_id: port.id, network_id: network.id, net_key: network.key, port_key: port.key, chassis: chassis.id, host_key: chassis.key, role: "standby",
    ofport: vif.ofport, vlan: null, slot: vif.slot,
  };
}

export const derive = [
  derivation({ name: "inactive-binding", on: each(inactiveBindingTable), into: attachmentTable, reads: [portTable, networkTable, chosenSegmentTable, ...pluggedReads], derive: place }),
];

/** A guest that does not run yet would find old packets in its interface's queue when it does, and one that is gone must not answer. */
export const portContext: readonly PortContext[] = [{ deaf: (view, at) => inactiveBindingAt(view, at.port_id, at.chassis) !== undefined }];

/** What plugging means where a port is not. */
export const vif = {
  installed(tx: Tx, { iface_id: portId, chassis, id }: Vif): void {
    const binding = inactiveBindingAt(tx, portId, chassis);
    if (binding !== undefined && binding.wired_at === undefined && standbyOf(tx, binding)?.vif.id === id) tx.put(inactiveBindingTable, { ...binding, wired_at: tx.now });
  },
  unplugged(tx: Tx, { iface_id: portId, chassis }: Vif): void {
    const binding = inactiveBindingAt(tx, portId, chassis);
    if (binding?.wired_at === undefined) return;
    const unwired: Omit<InactiveBinding, "wired_at"> & { wired_at?: string } = { ...binding };
    delete unwired.wired_at;
    tx.put(inactiveBindingTable, unwired);
  },
  serves: (view: ReadView, { iface_id: portId, chassis }: Vif): boolean => inactiveBindingAt(view, portId, chassis)?.wired_at !== undefined,
  /** By the id of an inactive binding, which begins with its port's. */
  concerned: (_view: ReadView, id: string): readonly string[] => (/^[0-9a-f-]{36}\//.test(id) ? [id.slice(0, 36)] : []),
};
