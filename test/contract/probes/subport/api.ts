// A sub-port is a port and its parent, and goes with either.
import { badRequest, conflict, defineResource, extendResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { subPortResource, subPortTable, type SubPort } from "./model.ts";

const subPort = defineResource(subPortResource, {
  collection: "sub_ports",
  about: "A port behind another one.",
  alias: "subport",
  table: subPortTable,
  notFound: { type: "SubPortNotFound", message: (id) => `Sub-port ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The port.", post: true, required: true },
    parent_id: { type: "uuid", about: "The port whose interface it is behind.", post: true, put: true, required: true },
    vlan: { type: "integer", about: "Tag of its frames there.", post: true, required: true, check: { range: [1, 4094] } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const row: SubPort = {
      ...standard, port_id: ctx.visible(portResource, input.port_id as string).id, parent_id: ctx.visible(portResource, input.parent_id as string).id, vlan: input.vlan as number,
    };
    if (row.port_id === row.parent_id) throw badRequest(`Port ${row.port_id} cannot be behind itself.`);
    if (tx.by(subPortTable, "port", row.port_id).length > 0) throw conflict("SubPortInUse", `Port ${row.port_id} is a sub-port.`);
    if (tx.by(subPortTable, "parent", row.parent_id).some((other) => other.vlan === row.vlan)) throw conflict("SubPortVlanInUse", `VLAN ${row.vlan} of port ${row.parent_id} is in use.`);
    tx.put(subPortTable, row);
    return row;
  },
  update(tx, row, changes, ctx) {
    const after = { ...row, parent_id: ctx.visible(portResource, (changes.parent_id as string | undefined) ?? row.parent_id).id };
    if (row.port_id === after.parent_id) throw badRequest(`Port ${row.port_id} cannot be behind itself.`);
    if (tx.by(subPortTable, "parent", after.parent_id).some((other) => other.vlan === row.vlan && other.id !== row.id)) throw conflict("SubPortVlanInUse", `VLAN ${row.vlan} of port ${after.parent_id} is in use.`);
    tx.put(subPortTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(subPortTable, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of [...tx.by(subPortTable, "port", port.id), ...tx.by(subPortTable, "parent", port.id)]) tx.delete(subPortTable, id);
  },
});

export const resources = [subPort];
export const extend = [portGuard];
export const references = [reference(subPortTable, { to: portTable, ids: (s) => [s.port_id, s.parent_id], gone: (tx, s) => tx.delete(subPortTable, s.id) })];
export const aliases: readonly Alias[] = [{ alias: "subport", name: "Sub-port", description: "Ports behind other ports", updated: "2026-01-01T00:00:00-00:00" }];
