// A rate is set on a port that is there, once, and goes with it.
import { conflict, defineResource, extendResource, giveBack, reference, take, type Alias, type Tx } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { meterPool, rateResource, rateTable, type Rate } from "./model.ts";

/** Holders of a rate's two meters. */
const sender = (id: string): string => `${id}/sender`;
const receiver = (id: string): string => `${id}/receiver`;

function removeRate(tx: Tx, id: string): void {
  for (const holder of [sender(id), receiver(id)]) giveBack(tx, meterPool, "", holder);
  tx.delete(rateTable, id);
}

const rate = defineResource(rateResource, {
  collection: "rates",
  about: "How much a port may send, and get, per second.",
  alias: "rate",
  table: rateTable,
  notFound: { type: "RateNotFound", message: (id) => `Rate ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The port.", post: true, required: true, filter: true },
    kbps: { type: "integer", about: "1000 bits per second, each way.", post: true, put: true, required: true, check: { range: [1, 100_000_000] } },
    sender_meter: { type: "integer", about: "Its meter in a switch." },
    receiver_meter: { type: "integer", about: "Its meter in a switch." },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input, ctx) {
    const port = ctx.visible(portResource, input.port_id as string);
    if (tx.by(rateTable, "port", port.id).length > 0) throw conflict("RateInUse", `Port ${port.id} has a rate.`);
    const row: Rate = { ...standard, port_id: port.id, kbps: input.kbps as number, sender_meter: take(tx, meterPool, "", sender(standard.id)), receiver_meter: take(tx, meterPool, "", receiver(standard.id)) };
    tx.put(rateTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, kbps: (changes.kbps as number | undefined) ?? row.kbps };
    tx.put(rateTable, after);
    return after;
  },
  remove(tx, row): void {
    removeRate(tx, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of tx.by(rateTable, "port", port.id)) removeRate(tx, id);
  },
});

export const resources = [rate];
export const extend = [portGuard];
export const references = [reference(rateTable, { to: portTable, ids: (r) => r.port_id, gone: (tx, r) => removeRate(tx, r.id) })];
export const aliases: readonly Alias[] = [{ alias: "rate", name: "Rate", description: "Rates of ports", updated: "2026-01-01T00:00:00-00:00" }];
