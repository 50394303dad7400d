// Who is a member of a group, as far as addresses go: what rules with a remote group let in, or send to. A port's fixed address is nobody
// else's in its network. An allowed pair is only what that port may send, and may name addresses that others have: it counts by address
// alone where nobody else can be meant, and otherwise together with the MAC that the port sends it from, in the port's own network.
import { contains, derivation, each, parseCidr, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { addressTable, macOfPair, networkTable, portTable, singleAddress, type Port } from "../l2/model.ts";
import { memberTable, portGroupsTable, type Member } from "./model.ts";

type Place = Pick<Member, "ip" | "bound">;

/** Whether an address in the network can be this port's alone: in a subnet of its network, and not another's fixed address. */
function isOwn(ip: string, port: Port, view: ReadView): boolean {
  const address = parseCidr(ip)!;
  if (view.get(addressTable, `${port.network_id}/${ip}`) !== undefined) return false;
  return view.by(subnetTable, "network", port.network_id).some((subnet) => contains(parseCidr(subnet.cidr)!, address));
}

function placesOf(port: Port, fixed: readonly string[], view: ReadView): Place[] {
  const out: Place[] = fixed.map((ip) => ({ ip }));
  for (const pair of port.allowed_address_pairs) {
    const whole = singleAddress(pair.ip_address) ?? pair.ip_address;
    if (fixed.includes(whole)) continue;
    const mac = macOfPair(port, pair);
    // The MAC of another port: what comes from it is that one's.
    if (view.by(portTable, "network_mac", `${port.network_id}|${mac}`).some((p) => p.id !== port.id)) continue;
    if (!whole.includes("/") && isOwn(whole, port, view)) {
      if (!out.some((p) => p.ip === whole && p.bound === undefined)) out.push({ ip: whole });
      continue;
    }
    const network = view.get(networkTable, port.network_id);
    if (network !== undefined && !out.some((p) => p.ip === whole && p.bound?.mac === mac)) out.push({ ip: whole, bound: { net: network.key, mac } });
  }
  return out;
}

export const members = derivation({
  name: "sg-member",
  on: each(portGroupsTable),
  into: memberTable,
  reads: [addressTable, portTable, networkTable, subnetTable],
  derive({ id: portId, groups }, view): Member[] {
    const fixed = view.by(addressTable, "port", portId).map((a) => a.ip);
    const port = view.get(portTable, portId);
    const places = port === undefined ? fixed.map((ip): Place => ({ ip })) : placesOf(port, fixed, view);
    return groups.flatMap((group) => places.map((place) => ({ id: `${group}/${portId}/${place.ip}${place.bound === undefined ? "" : `/${place.bound.mac}`}`, of: group, ...place })));
  },
});
