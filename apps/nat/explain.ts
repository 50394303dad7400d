// Which ports translation is about, and by which addresses of the outside they are reached.
import { ipProto, type Explains, type PacketCause, type PacketQuestion, type PacketStop, type ReadView } from "#app";
import { addressId, addressTable, networkTable } from "../l2/model.ts";
import { floatingIpTable, portForwardingTable } from "./model.ts";

/** Of a floating IP the port that it is of, or that a packet of this kind is forwarded to. */
export function behind(view: ReadView, networkId: string, ip: string, { protocol, port = 0 }: Pick<PacketQuestion, "protocol" | "port">): string | undefined {
  const holder = view.get(addressTable, addressId(networkId, ip))?.port_id;
  const [floating] = holder === undefined ? [] : view.by(floatingIpTable, "floating_port", holder);
  if (floating === undefined) return undefined;
  const forwarded = view.by(portForwardingTable, "floatingip", floating.id).find((f) => ipProto[f.protocol] === protocol && f.external.min <= port && port <= f.external.max);
  return floating.port_id ?? forwarded?.internal_port_id;
}

/** Of what comes from outside, and neither belongs to a connection nor may open one. */
function openedNone(view: ReadView, stop: PacketStop): PacketCause | undefined {
  const [network] = view.by(networkTable, "key", String(stop.register("net")));
  const ip = stop.start?.address;
  const holder = network === undefined || ip === undefined ? undefined : view.get(addressTable, addressId(network.id, ip))?.port_id;
  if (holder === undefined) return undefined;
  const [floating] = view.by(floatingIpTable, "floating_port", holder);
  if (floating === undefined) return { reason: "not_served", text: `${ip} is a router's own, by which connections from the inside leave: none from outside is let in`, resources: [{ type: "port", id: holder }], cure: { text: "give the machine a floating IP, or forward a port of one" } };
  if (floating.port_id !== null) return undefined;
  return { reason: "not_served", text: `${ip} forwards nothing of this protocol and port`, resources: [{ type: "floatingip", id: floating.id }], cure: { text: "forward the port (port_forwardings of the floating IP)" } };
}

export const explains: Explains = {
  cause: (view, stop) => (stop.table === "nat_known" && stop.did === "dropped" ? openedNone(view, stop) : undefined),
  *ports(view, type, id) {
    const port = type === "floatingip" ? view.get(floatingIpTable, id)?.port_id : type === "port_forwarding" ? view.get(portForwardingTable, id)?.internal_port_id : undefined;
    if (port !== undefined && port !== null) yield port;
  },
  *addresses(view, port) {
    for (const floating of view.by(floatingIpTable, "port", port)) yield floating.floating_ip_address;
  },
};
