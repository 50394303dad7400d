// distributed and ha of routers: both are so whatever is asked, and no flow follows from them.
import { badRequest, extendResource, orNull, reference, type Alias, type Attribute, type Tx, type Values } from "#app";
import { routerResource, routerTable, type Router } from "../l3/model.ts";
import { routerModeTable } from "./model.ts";

const ADMIN = "rule:admin_only";
const mode = (alias: string, about: string): Attribute => ({
  type: "boolean", about, alias, post: true, put: true, default: null, check: orNull({ type: "boolean" }), policy: { create: ADMIN, get: ADMIN, update: ADMIN },
});

/** What a router is where nobody said otherwise. */
const TRUE_MODE = { distributed: true, ha: true } as const;

function keep(tx: Tx, { id }: Router, values: Values): void {
  const before = tx.get(routerModeTable, id) ?? TRUE_MODE;
  const distributed = (values.distributed as boolean | null | undefined) ?? before.distributed;
  const ha = (values.ha as boolean | null | undefined) ?? before.ha;
  if (distributed === before.distributed && ha === before.ha) return;
  if (distributed && ha) tx.delete(routerModeTable, id);
  else tx.put(routerModeTable, { id, distributed, ha });
}

const ofRouter = extendResource(routerResource, {
  attributes: {
    distributed: mode("dvr", "Kept and shown; every router is on each host that needs it. Changed while the router is down."),
    ha: mode("l3-ha", "Kept and shown; a gateway is on several hosts where there are several. Changed while the router is down."),
  },
  create: keep,
  update(tx, row, changes, _ctx, before) {
    const now = tx.get(routerModeTable, row.id) ?? TRUE_MODE;
    const changed = (["distributed", "ha"] as const).find((name) => typeof changes[name] === "boolean" && changes[name] !== now[name]);
    if (changed !== undefined && before.admin_state_up && row.admin_state_up) throw badRequest(`Bad router request: Cannot change the '${changed}' attribute of active routers. Please set router admin_state_up to False prior to upgrade.`, "BadRequest");
    keep(tx, row, changes);
  },
  remove(tx, { id }) {
    if (tx.get(routerModeTable, id) !== undefined) tx.delete(routerModeTable, id);
  },
  present(view, { id }) {
    const { distributed, ha } = view.get(routerModeTable, id) ?? TRUE_MODE;
    return { distributed, ha };
  },
});

export const extend = [ofRouter];
export const references = [reference(routerModeTable, { to: routerTable, ids: (m) => m.id, gone: (tx, m) => tx.delete(routerModeTable, m.id) })];
export const aliases: readonly Alias[] = [
  { alias: "dvr", name: "Distributed Virtual Router", description: "Routers are on every host that needs them.", updated: "2014-06-01T10:00:00-00:00" },
  { alias: "l3-ha", name: "HA Router extension", description: "Gateways of routers are on several hosts.", updated: "2014-04-26T00:00:00-00:00" },
  { alias: "router-admin-state-down-before-update", name: "Enforce Router's Admin State Down Before Update Extension", description: "What a router is asked to be changes while it is down.", updated: "2019-07-02T15:56:00-00:00" },
];
