// prefix-delegation: a machine that is a router gets a prefix of its own by DHCPv6 (IA_PD, RFC 8415), from a subnet pool, and routers send there what is for it.
import { derivation, each, type App, type LiveView, type OpsList } from "#app";
import { portPrefixTable, type PortPrefix } from "../dhcp6/model.ts";
import { addressTable, portTable } from "../l2/model.ts";
import { routerInterfaceTable, routeTable, type Route } from "../l3/model.ts";
import { extend, mend, references } from "./api.ts";
import { delegatedPrefixTable, nextHopOf } from "./model.ts";

const derive = [
  derivation({
    name: "told",
    on: each(delegatedPrefixTable),
    into: portPrefixTable,
    reads: [],
    derive: ({ id, cidr }): PortPrefix => ({ id: `prefix-delegation/${id}`, port_id: id, prefix: cidr }),
  }),
  derivation({
    name: "routed",
    on: each(delegatedPrefixTable),
    into: routeTable,
    reads: [portTable, addressTable, routerInterfaceTable],
    derive(row, view): Route[] {
      const network = view.get(portTable, row.id)?.network_id;
      const nexthop = nextHopOf(view, row);
      if (network === undefined || nexthop === undefined) return [];
      // Whoever connected a router to a network of others sends nobody's packets there.
      return view.by(routerInterfaceTable, "network", network).filter((i) => i.guest !== true).map((i): Route => ({
        id: `prefix-delegation/${row.id}/${i.id}`, router_id: i.router_id, destination: row.cidr, via: network, leg: i.id, nexthop, source: "prefix-delegation", metric: 0,
      }));
    },
  }),
];

const opsLists: readonly OpsList[] = [{
  path: "delegated-prefixes",
  about: "prefixes that are delegated to ports, of which pool, and where they are routed to (null: the port has no address there any more)",
  filters: { project: { about: "of this project", project: true } },
  *rows(view: LiveView, { project }): Iterable<object> {
    for (const row of view.all(delegatedPrefixTable)) {
      if (project === undefined || row.project_id === project) yield { port: row.id, project: row.project_id, prefix: row.cidr, subnetpool: row.subnetpool_id, next_hop: nextHopOf(view, row) ?? null };
    }
  },
}];

export default {
  name: "prefix-delegation",
  about: "prefixes from subnet pools for machines that are routers",
  requires: ["l2", "ipam", "l3", "dhcp", "dhcp6", "subnet-pools"],
  partOf: ["dhcp6", "subnet-pools"],
  tables: [delegatedPrefixTable],
  extend,
  references,
  mend,
  derive,
  opsLists,
} satisfies App;
