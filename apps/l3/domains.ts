// Routing domains: a router routes between networks of one of them alone.
import { defineQuestion, defineTable, load, next, type ReadView, type Row } from "#app";

/** By family, where a router's networks are not all of one domain: these domains, in order. */
export interface Domains {
  readonly 4?: readonly string[];
  readonly 6?: readonly string[];
}
/** A router, as far as its domains go. */
interface Divided {
  readonly domains?: Domains;
}

/**
 * Of which routing domain a network is, in one family. A joint (derived): an app that requires l3 says so. A router routes between networks of one
 * domain alone; those of which nobody says anything are of one too. IPv4 that leaves by a network into which the router translates is no matter of
 * domains here, nor what is translated on its way in: whoever translates decides. Rows carry `<app>/...` as id; those of one network and family say the same.
 */
export interface RoutingDomain extends Row {
  readonly network_id: string;
  readonly ip_version: 4 | 6;
  readonly domain: string;
}
export const routingDomainTable = defineTable<RoutingDomain>()("routing_domain", { derived: true, open: true, indexes: { network: (d) => d.network_id } });

/** The same in a transaction, answered by who fills `routing_domain`; undefined: of this one nothing is said. */
export const routingDomainOf = defineQuestion<(view: ReadView, networkId: string, family: 4 | 6) => string | undefined>("routing_domain_of");

/** The domain of a network; "": nobody says. */
export const domainOf = (view: ReadView, networkId: string, family: 4 | 6): string => view.by(routingDomainTable, "network", networkId).find((d) => d.ip_version === family)?.domain ?? "";

/** The number by which packets of a router have the domain of a network, 1 to 254, or NO_DOMAIN. Undefined: the router routes between all of its networks. */
export function domainNumber({ domains }: Divided, networkId: string, family: 4 | 6, view: ReadView): number | undefined {
  const all = domains?.[family];
  if (all === undefined) return undefined;
  const at = all.indexOf(domainOf(view, networkId, family));
  return at < 0 || at >= NO_DOMAIN - 1 ? NO_DOMAIN : at + 1;
}
/** Beyond as many domains as a router can tell apart, and when its networks change: routed nowhere. */
export const NO_DOMAIN = 255;

/** A packet of a family that is of a domain. */
export const inDomain = (family: 4 | 6, n: number) => (family === 4 ? ({ "reg:domain4": n, "reg:translated": 0 } as const) : ({ "reg:domain6": n } as const));

/** What comes into a router by a network is of its domains, and not translated yet. */
export function inDomains(router: Divided, networkId: string, view: ReadView) {
  const [four, six] = [domainNumber(router, networkId, 4, view), domainNumber(router, networkId, 6, view)];
  return [...(four === undefined ? [] : [load("domain4", four), load("translated", 0)]), ...(six === undefined ? [] : [load("domain6", six)])];
}

/** In the stage `translate`: what was translated on its way in goes on and is routed, whatever domain it comes from. */
export const routeTranslated = ({ domains }: Divided) => [...(domains?.[4] === undefined ? [] : [load("translated", 1)]), next] as const;
