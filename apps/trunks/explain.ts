// Why a sub-port is at no host: its parent is not, or lets nothing pass.
import { answer, type PacketCause, type ReadView } from "#app";
import { bindingFault, pluggedAt, portTable, whyNowhere } from "../l2/model.ts";
import { subPortTable } from "./model.ts";

export const answers = [answer(whyNowhere, (view: ReadView, portId: string): PacketCause | undefined => {
  const sub = view.get(subPortTable, portId);
  if (sub === undefined) return undefined;
  const { parent_id: parent, trunk_id: trunk } = sub;
  const resources = [{ type: "port", id: portId }, { type: "trunk", id: trunk }, { type: "port", id: parent }];
  if (view.get(portTable, parent)?.admin_state_up === false) {
    return {
      reason: "admin_state_down", text: `port ${portId} is in trunk ${trunk}, whose parent ${parent} is closed: its admin_state_up is false`, resources,
      cure: { text: "open it", call: { method: "PUT", path: `/v2.0/ports/${parent}`, body: { port: { admin_state_up: true } } } },
    };
  }
  const at = pluggedAt(view, parent)?.chassis;
  const port = view.get(portTable, portId);
  const fault = at === undefined || port === undefined ? undefined : bindingFault(view, port.network_id, at);
  if (fault !== undefined) return { reason: "not_plugged", text: `port ${portId} cannot be where the parent of trunk ${trunk} is: ${fault}`, resources, cure: { text: "give the host what the network needs, or take the port out of the trunk" } };
  return {
    reason: "not_plugged", text: at === undefined ? `port ${portId} is in trunk ${trunk}, whose parent ${parent} is plugged at no host` : `port ${portId} of trunk ${trunk} is about to come to ${at.id}`, resources,
    cure: { text: at === undefined ? `start the machine of port ${parent}, or plug its interface` : "try again" },
  };
})];
