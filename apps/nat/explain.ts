// Which ports translation is about, and by which addresses of the outside they are reached.
import type { Explains } from "#app";
import { floatingIpTable, portForwardingTable } from "./model.ts";

export const explains: Explains = {
  *ports(view, type, id) {
    const port = type === "floatingip" ? view.get(floatingIpTable, id)?.port_id : type === "port_forwarding" ? view.get(portForwardingTable, id)?.internal_port_id : undefined;
    if (port !== undefined && port !== null) yield port;
  },
  *addresses(view, port) {
    for (const floating of view.by(floatingIpTable, "port", port)) yield floating.floating_ip_address;
  },
};
