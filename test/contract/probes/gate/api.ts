// A gate is made of a router, a network outside and the hosts that lead there.
import { chassisTable, conflict, defineResource, extendResource, giveBack, observed, reference, take, type Alias, type Tx } from "#app";
import { networkResource, networkTable } from "../../../../apps/l2/model.ts";
import { routerResource, routerTable } from "../../../../apps/l3/model.ts";
import { gateResource, gateTable, macOf, macPool, portNameTo, usersOf, type Gate } from "./model.ts";

const HOSTS = { list: { type: "string", blank: false }, unique: true, max: 8 } as const;

function removeGate(tx: Tx, id: string): void {
  giveBack(tx, macPool, "", id);
  tx.delete(gateTable, id);
}

const gate = defineResource(gateResource, {
  collection: "gates",
  about: "Where a router's packets leave for the outside.",
  alias: "gate",
  table: gateTable,
  notFound: { type: "GateNotFound", message: (id) => `Gate ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "The router; it has one gate.", post: true, required: true },
    outside_id: { type: "uuid", about: "The network outside.", post: true, required: true },
    address: { type: "string", about: "The router's there.", post: true, required: true, check: { type: "ip" } },
    nexthop: { type: "string", about: "Where its default route leads.", post: true, required: true, check: { type: "ip" } },
    hosts: { type: "string[]", about: "Gateways, the preferred one first.", post: true, put: true, required: true, check: HOSTS },
    tunnels: { type: "object[]", about: "Between hosts that use it and gateways, by the end at `at`: what BFD says there, null when it is not known." },
    mac: { type: "mac", about: "By it gateways know what is meant for them." },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  present(view, row) {
    const pairs = usersOf(row, view).flatMap((user) => row.hosts.flatMap((host) => [{ at: user, to: host }, { at: host, to: user }]));
    const key = (id: string): number => view.get(chassisTable, id)?.key ?? 0;
    return { tunnels: pairs.map(({ at, to }) => ({ at, to, bfd: observed(view, at, "Interface", portNameTo(key(to)))?.bfd_status?.state ?? null })) };
  },
  create(tx, standard, input, ctx) {
    const router = ctx.visible(routerResource, input.router_id as string);
    const outside = ctx.visible(networkResource, input.outside_id as string);
    if (tx.by(gateTable, "router", router.id).length > 0) throw conflict("GateInUse", `Router ${router.id} has a gate.`);
    const { address, nexthop } = input as { address: string; nexthop: string };
    const row: Gate = { ...standard, router_id: router.id, outside_id: outside.id, address, nexthop, hosts: input.hosts as string[], mac: macOf(take(tx, macPool, "", standard.id)) };
    tx.put(gateTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, hosts: (changes.hosts as string[] | undefined) ?? row.hosts };
    tx.put(gateTable, after);
    return after;
  },
  remove: (tx, row) => removeGate(tx, row.id),
});

const routerGuard = extendResource(routerResource, {
  remove(tx, router): void {
    for (const { id } of tx.by(gateTable, "router", router.id)) removeGate(tx, id);
  },
});

export const resources = [gate];
export const extend = [routerGuard];
export const references = [
  reference(gateTable, { to: routerTable, ids: (g) => g.router_id, gone: (tx, g) => removeGate(tx, g.id) }),
  reference(gateTable, { to: networkTable, ids: (g) => g.outside_id }),
];
export const aliases: readonly Alias[] = [{ alias: "gate", name: "Gate", description: "Gateways of routers", updated: "2026-01-01T00:00:00-00:00" }];
