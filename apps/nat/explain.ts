// Which ports translation is about, and by which addresses of the outside they are reached.
import { ipProto, type Explains, type PacketQuestion, type ReadView } from "#app";
import { addressId, addressTable } from "../l2/model.ts";
import { floatingIpTable, portForwardingTable } from "./model.ts";

/** Of a floating IP the port that it is of, or that a packet of this kind is forwarded to. */
export function behind(view: ReadView, networkId: string, ip: string, { protocol, port = 0 }: Pick<PacketQuestion, "protocol" | "port">): string | undefined {
  const holder = view.get(addressTable, addressId(networkId, ip))?.port_id;
  const [floating] = holder === undefined ? [] : view.by(floatingIpTable, "floating_port", holder);
  if (floating === undefined) return undefined;
  const forwarded = view.by(portForwardingTable, "floatingip", floating.id).find((f) => ipProto[f.protocol] === protocol && f.external.min <= port && port <= f.external.max);
  return floating.port_id ?? forwarded?.internal_port_id;
}

export const explains: Explains = {
  *ports(view, type, id) {
    const port = type === "floatingip" ? view.get(floatingIpTable, id)?.port_id : type === "port_forwarding" ? view.get(portForwardingTable, id)?.internal_port_id : undefined;
    if (port !== undefined && port !== null) yield port;
  },
  *addresses(view, port) {
    for (const floating of view.by(floatingIpTable, "port", port)) yield floating.floating_ip_address;
  },
};
