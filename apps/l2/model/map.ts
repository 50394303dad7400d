// What the operator's map shows of networks and ports.
import { mapList, mapPorts, type MapPart } from "#app";
import { activeAttachment, attachmentTable } from "./places.ts";
import { networkTable, portStatusTable, portTable, statusNowhere } from "./ports.ts";

export const map: MapPart = {
  networks: mapList({ table: networkTable, state: (_, network) => (network.admin_state_up ? "ACTIVE" : "DOWN"), order: (network) => network.key }),
  ports: mapPorts({
    table: portTable,
    state: (view, port) => (view.get(portStatusTable, port.id) ?? statusNowhere(port)).status,
    network: (port) => port.network_id,
    countIn: (view, network) => view.count(portTable, "network", network),
    in: (view, network, most) => view.first(portTable, "network", network, most),
    of: (view, project, most) => view.first(portTable, "project", project, most),
    countAt: (view, chassis) => view.count(attachmentTable, "chassis", chassis),
    hosts: (view, network) => view.pairKeys(attachmentTable, "network_chassis", network),
    host: (view, { id }) => activeAttachment(view, id)?.chassis,
    device: ({ device_id: id, device_owner: owner }) => ({ id, owner }),
  }),
};
