// Where packets that a router forwards may come from. Whoever sends from one link in the name of another is not believed (RFC 2827,
// RFC 1812 section 5.3.8): the sender's host knows by which network a packet came, and nobody can tell later. What is of no link of the router is
// taken, since it may be behind a next hop or come by another router; but into the network of somebody else a guest sends nothing that is
// not of the link by which it came.
//
// l3_input says whether a source is of the link (`off_link`), which takes a flow for each prefix of a link; l3_route then drops, by one for each
// prefix of the router, and not one for each pair of them.
import { contains, derivation, each, familyMatch, formatCidr, ipSrc, isIpv6, overlap, parseCidr, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { portTable } from "../l2/model.ts";
import { legTable, pairSourceTable, type Leg, type PairSource } from "./model.ts";

/** Matches a source of a prefix, all of its family if that is the prefix. */
export const sourceIn = (cidr: string): ReturnType<typeof familyMatch> & Partial<ReturnType<typeof ipSrc>> => ({ ...familyMatch(cidr), ...(cidr.endsWith("/0") ? {} : ipSrc(cidr)) });

const prefixesOf = (networkId: string, view: ReadView): string[] => view.by(subnetTable, "network", networkId).map((s) => s.cidr);

/**
 * What is on the link of a leg: the subnets of its network, and what other legs of the router say to be there. A subnet in which the router
 * has no address may have any prefix: where it overlaps with those of another link it would hand out that link's addresses, and counts as none.
 */
export function ofLink({ router_id, network_id }: Leg, view: ReadView): string[] {
  const said = new Set(view.by(legTable, "place", `${router_id}|${network_id}`).flatMap((leg) => leg.addresses.map((a) => a.cidr)));
  const unconnected = prefixesOf(network_id, view).filter((cidr) => !said.has(cidr));
  // Most networks have none: then other legs are not looked at, whose changes would have this looked at again.
  const others = unconnected.length === 0 ? [] : view.by(legTable, "router", router_id).filter((l) => l.network_id !== network_id).flatMap((l) => kept(l, view).map((cidr) => parseCidr(cidr)!));
  return [...said, ...unconnected.filter((cidr) => !others.some((of) => overlap(of, parseCidr(cidr)!)))].sort();
}

/**
 * Sources that are not taken from any other link of the router, since they are of this one. Other subnets of the network may well come
 * by another link, when they have another router; but not to one that is a guest there, and has no business with them.
 */
export const kept = (leg: Leg, view: ReadView): string[] => [...new Set([...leg.addresses.map((a) => a.cidr), ...(leg.guest === true ? prefixesOf(leg.network_id, view) : [])])].sort();

/**
 * The parts of prefixes on the link of a leg that other networks have as well, where the router is a guest. Which prefixes a member gives to his own
 * networks is his choice, among these; there it would be in the name of somebody else.
 */
export function ofHostsToo({ router_id, network_id }: Leg, prefixes: readonly string[], view: ReadView): string[] {
  const elsewhere = new Set(view.by(legTable, "router", router_id).filter((l) => l.network_id !== network_id && l.guest === true).flatMap((l) => prefixesOf(l.network_id, view)));
  const parts = [...elsewhere].flatMap((prefix) => prefixes.flatMap((cidr) => common(cidr, prefix) ?? []));
  return [...new Set(parts)].sort();
}
/** What is in both of two prefixes: the longer one, if it is in the other. */
function common(a: string, b: string): string | undefined {
  const [x, y] = [parseCidr(a)!, parseCidr(b)!];
  return contains(x, y) ? formatCidr(y) : contains(y, x) ? formatCidr(x) : undefined;
}

export const pairSources = derivation({
  name: "pair-source",
  on: each(portTable),
  into: pairSourceTable,
  reads: [subnetTable],
  derive({ id, network_id, key, allowed_address_pairs: pairs }, view): PairSource | undefined {
    if (pairs.length === 0) return undefined;
    const link = prefixesOf(network_id, view).map((cidr) => parseCidr(cidr)!);
    const prefixes = pairs.flatMap(({ ip_address: text }) => {
      const cidr = parseCidr(text.includes("/") ? text : `${text}/${isIpv6(text) ? 128 : 32}`);
      return cidr === undefined || link.some((of) => contains(of, cidr)) ? [] : [formatCidr(cidr)];
    });
    return prefixes.length === 0 ? undefined : { id, network_id, port_key: key, prefixes: [...new Set(prefixes)].sort() };
  },
});

/**
 * Ports of a leg's network that may send in the name of other links of the router, as far as their pairs go into these. Whose network it is says who
 * may have which pair, in that network; so it counts among links of the router's own alone.
 */
export function excepted(leg: Leg, view: ReadView): { readonly port: number; readonly source: string }[] {
  const ports = leg.guest === true ? [] : view.by(pairSourceTable, "network", leg.network_id);
  if (ports.length === 0) return [];
  const links = view.by(legTable, "router", leg.router_id).filter((l) => l.network_id !== leg.network_id && l.guest !== true).flatMap((l) => l.addresses.map((a) => a.cidr));
  return ports.flatMap(({ port_key: port, prefixes }) => {
    const parts = prefixes.flatMap((prefix) => links.flatMap((cidr) => common(prefix, cidr) ?? []));
    return [...new Set(parts)].map((source) => ({ port, source }));
  });
}
