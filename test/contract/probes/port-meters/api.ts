// A rate is set on a port that is there, once, and goes with it.
import { conflict, defineResource, extendResource, reference, type Alias } from "#app";
import { portResource, portTable } from "../../../../apps/l2/model.ts";
import { rateResource, rateTable, type Rate } from "./model.ts";

const METERS = { min: 100_000, max: 0x7fff_ffff };

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
    const meter = (...taken: number[]): number =>
      tx.allocate("rate-meter", { ...METERS, used: (n) => taken.includes(n) || tx.by(rateTable, "meter", String(n)).length > 0 });
    const sender_meter = meter();
    const row: Rate = { ...standard, port_id: port.id, kbps: input.kbps as number, sender_meter, receiver_meter: meter(sender_meter) };
    tx.put(rateTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, kbps: (changes.kbps as number | undefined) ?? row.kbps };
    tx.put(rateTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(rateTable, row.id);
  },
});

const portGuard = extendResource(portResource, {
  remove(tx, port): void {
    for (const { id } of tx.by(rateTable, "port", port.id)) tx.delete(rateTable, id);
  },
});

export const resources = [rate];
export const extend = [portGuard];
export const references = [reference(rateTable, { to: portTable, ids: (r) => r.port_id, gone: (tx, r) => tx.delete(rateTable, r.id) })];
export const aliases: readonly Alias[] = [{ alias: "rate", name: "Rate", description: "Rates of ports", updated: "2026-01-01T00:00:00-00:00" }];
