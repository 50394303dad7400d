// Why packets of ports go no further where l2 decides: what a port may send, and whether the one that it is for is there.
import { contains, parseCidr, parseIp, type Explains, type PacketCause, type PacketStop, type ReadView } from "#app";
import { absent, activeAttachment, attachmentTable, isNetworkPort, networkTable, portTable, singleAddress, type Port } from "../model.ts";

const SENDING: ReadonlySet<string> = new Set(["port_security", "nd_source", "inner_tag"]);

export const explains: Explains = {
  *ports(view, type, id) {
    if (type === "port") yield id;
    else if (type === "network") for (const port of view.by(portTable, "network", id)) yield port.id;
  },
  *around(view, id) {
    const port = view.get(portTable, id);
    for (const other of port === undefined ? [] : view.by(portTable, "network", port.network_id)) yield other.id;
  },
  *addresses(view, id) {
    for (const { ip_address: ip } of view.get(portTable, id)?.allowed_address_pairs ?? []) {
      const single = singleAddress(ip);
      if (single !== undefined) yield single;
    }
  },
  cause(view, stop, ask) {
    const sender = stop.question === undefined ? undefined : view.get(portTable, stop.question.from);
    const receiver = stop.start?.to === undefined ? undefined : view.get(portTable, stop.start.to);
    if (sender !== undefined && stop.table === "classify" && activeAttachment(view, sender.id) === undefined) return closed(view, sender) ?? absent(view, sender, ask);
    if (sender !== undefined && SENDING.has(stop.table)) return spoofed(sender, stop);
    if (receiver === undefined || isNetworkPort(receiver) || activeAttachment(view, receiver.id) !== undefined) return undefined;
    return closed(view, receiver) ?? absent(view, receiver, ask);
  },
  forwards(view, id, behind, address) {
    const [at, port] = [view.get(portTable, id), view.get(portTable, behind)];
    if (at === undefined || port === undefined || at.network_id !== port.network_id || isNetworkPort(at)) return undefined;
    const ip = parseIp(address);
    return ip !== undefined && (!at.port_security_enabled || at.allowed_address_pairs.some((pair) => contains(parseCidr(pair.ip_address)!, ip)));
  },
  behind: (view, chassis, ofport, vlan) => view.by(attachmentTable, "chassis", chassis).find((at) => at.ofport === ofport && at.vlan === vlan)?.port_id,
  takers(view, networkKey, mac) {
    const [network] = view.by(networkTable, "key", String(networkKey));
    return network === undefined ? [] : view.by(portTable, "network_mac", `${network.id}|${mac}`).flatMap((port) => activeAttachment(view, port.id)?.chassis ?? []);
  },
};

function closed(view: ReadView, port: Port): PacketCause | undefined {
  const down = (type: "port" | "network", id: string): PacketCause => ({
    reason: "admin_state_down", text: `${type} ${id} is closed: its admin_state_up is false`, resources: [{ type, id }],
    cure: { text: `open it`, call: { method: "PUT", path: `/v2.0/${type}s/${id}`, body: { [type]: { admin_state_up: true } } } },
  });
  if (!port.admin_state_up) return down("port", port.id);
  return view.get(networkTable, port.network_id)?.admin_state_up === false ? down("network", port.network_id) : undefined;
}

function spoofed({ id, mac_address: own, allowed_address_pairs: pairs }: Port, { question, start }: PacketStop): PacketCause {
  const { sourceMac: mac, source: ip } = start!;
  if (ip === "0.0.0.0") return addressless(id, own, mac);
  const named = question?.sourceMac !== undefined && question.sourceMac !== own;
  return {
    reason: "port_security", text: `port ${id} may not send as ${ip} from ${mac}: ${named ? "the MAC address" : "the address"} is not its own, and no allowed address pair names it`, resources: [{ type: "port", id }],
    cure: {
      text: "if its machine is to send so, allow it as an address pair of the port",
      call: { method: "PUT", path: `/v2.0/ports/${id}`, body: { port: { allowed_address_pairs: [...pairs.map((p) => ({ ip_address: p.ip_address, ...(p.mac_address !== "" && { mac_address: p.mac_address }) })), { ip_address: ip, ...(mac !== own && { mac_address: mac }) }] } } },
    },
  };
}

/** What machines send that have no address yet: no address pair lets another MAC do so. */
function addressless(id: string, own: string, mac: string): PacketCause {
  const resources = [{ type: "port", id }];
  if (mac === own) return { reason: "port_security", text: `port ${id} may send nothing but DHCP requests without an address (0.0.0.0)`, resources, cure: { text: "let its machine send as the port's address" } };
  return {
    reason: "port_security", text: `port ${id} may not send as 0.0.0.0 from ${mac}: the MAC address is not its own, and DHCP is answered to its own, ${own}, alone`, resources,
    cure: { text: `let its machine have the MAC address of the port, ${own}, or make a port with the machine's: no allowed address pair helps` },
  };
}
