import { conflict, defineResource, reference } from "#app";
import { networkTable, portTable } from "../../../../apps/l2/model.ts";
import { routerTable } from "../../../../apps/l3/model.ts";
import { floatingResource, floatingTable, type Floating } from "./model.ts";

const floating = defineResource(floatingResource, {
  collection: "floatings",
  about: "An address outside that leads to a port.",
  alias: "floating",
  table: floatingTable,
  notFound: { type: "FloatingNotFound", message: (id) => `Floating ${id} could not be found.` },
  attributes: {
    router_id: { type: "uuid", about: "Router.", post: true, required: true },
    outside_id: { type: "uuid", about: "Network it is seen from.", post: true, required: true },
    port_id: { type: "uuid", about: "Port it leads to.", post: true, required: true },
    address: { type: "string", about: "The address.", post: true, required: true },
  },
  policy: { create: "rule:admin_only or (role:member and project_id:%(project_id)s)", get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", delete: "rule:admin_only or (role:member and project_id:%(project_id)s)" },
  create(tx, standard, input) {
    const address = input.address as string;
    const taken = tx.by(floatingTable, "address", `${input.outside_id as string}|${address}`).length > 0 || tx.by(floatingTable, "router", input.router_id as string).some((f) => f.address === address);
    if (taken) throw conflict("AddressInUse", `${address} is in use.`);
    if (tx.by(floatingTable, "port", input.port_id as string).length > 0) throw conflict("PortInUse", `Port ${input.port_id as string} has an address.`);
    // By the address: who has asked for it before finds it again.
    const mac = `fa:16:3f:${address.split(".").slice(1).map((n) => Number(n).toString(16).padStart(2, "0")).join(":")}`;
    const row: Floating = { ...standard, router_id: input.router_id as string, outside_id: input.outside_id as string, port_id: input.port_id as string, address, mac };
    tx.put(floatingTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(floatingTable, row.id),
});

export const resources = [floating];
export const references = [
  reference(floatingTable, { to: portTable, ids: (f) => f.port_id }),
  reference(floatingTable, { to: networkTable, ids: (f) => f.outside_id }),
  reference(floatingTable, { to: routerTable, ids: (f) => f.router_id }),
];
