// A wire is a port's, and goes with it.
import { conflict, defineResource, extendResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { wireResource, wireTable, type Wire } from "./model.ts";

const wire = defineResource(wireResource, {
  collection: "wires",
  about: "A port that is on a physical network.",
  alias: "wire",
  table: wireTable,
  notFound: { type: "WireNotFound", message: (id) => `Wire ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The port.", post: true, required: true },
    physical_network: { type: "string", about: "The network; it has one wire.", post: true, required: true, check: { type: "string", blank: false } },
    blocked: { type: "string[]", about: "IPv6 prefixes that the port may not send to.", post: true, put: true, default: [], check: { list: { type: "strict-cidr" }, unique: true, max: 8 } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const row: Wire = {
      ...standard, port_id: ctx.visible(portResource, input.port_id as string).id, physical_network: input.physical_network as string, blocked: input.blocked as string[],
    };
    if (tx.by(wireTable, "port", row.port_id).length > 0) throw conflict("WireInUse", `Port ${row.port_id} has a wire.`);
    if (tx.by(wireTable, "physnet", row.physical_network).length > 0) throw conflict("WireInUse", `Physical network ${row.physical_network} has a wire.`);
    tx.put(wireTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, blocked: (changes.blocked as string[] | undefined) ?? row.blocked };
    tx.put(wireTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(wireTable, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of tx.by(wireTable, "port", port.id)) tx.delete(wireTable, id);
  },
});

export const resources = [wire];
export const extend = [portGuard];
export const references = [reference(wireTable, { to: portTable, ids: (w) => w.port_id, gone: (tx, w) => tx.delete(wireTable, w.id) })];
export const aliases: readonly Alias[] = [{ alias: "wire", name: "Wire", description: "Ports on physical networks", updated: "2026-01-01T00:00:00-00:00" }];
