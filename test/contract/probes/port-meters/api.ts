// A rate is set on a port that is there, once, and goes with it.
import { conflict, integer, uuid, type Alias, type ApiContext, type Extension, type Resource, type StandardRow, type Tx, type Values } from "#app";
import type { Port } from "../../../../apps/l2/model.ts";
import { rateTable, type Rate } from "./model.ts";

const METERS = { min: 100_000, max: 0x7fff_ffff };

const rate: Resource<Rate> = {
  name: "rate",
  collection: "rates",
  about: "How much a port may send, and get, per second.",
  alias: "rate",
  table: rateTable,
  notFound: { type: "RateNotFound", message: (id) => `Rate ${id} could not be found.` },
  attributes: {
    port_id: { type: "uuid", about: "The port.", post: true, required: true, check: uuid, filter: true },
    kbps: { type: "integer", about: "1000 bits per second, each way.", post: true, put: true, required: true, check: integer(1, 100_000_000) },
    sender_meter: { type: "integer", about: "Its meter in a switch." },
    receiver_meter: { type: "integer", about: "Its meter in a switch." },
  },
  policy: { create: "admin", get: "admin", update: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values, ctx: ApiContext): Rate {
    const port = ctx.visible<Port>("port", input.port_id as string);
    if (tx.by(rateTable, "port", port.id).length > 0) throw conflict("RateInUse", `Port ${port.id} has a rate.`);
    const meter = (...taken: number[]): number =>
      tx.allocate("rate-meter", { ...METERS, used: (n) => taken.includes(n) || tx.by(rateTable, "meter", String(n)).length > 0 });
    const sender_meter = meter();
    const row: Rate = { ...standard, port_id: port.id, kbps: input.kbps as number, sender_meter, receiver_meter: meter(sender_meter) };
    tx.put(rateTable, row);
    return row;
  },
  update(tx, row, changes): Rate {
    const after = { ...row, kbps: (changes.kbps as number | undefined) ?? row.kbps };
    tx.put(rateTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(rateTable, row.id);
  },
};

const portGuard: Extension<Port> = {
  remove(tx, port): void {
    for (const { id } of tx.by(rateTable, "port", port.id)) tx.delete(rateTable, id);
  },
};

export const resources = [rate] as unknown as readonly Resource<never>[];
export const extend: Readonly<Record<string, Extension<never>>> = { port: portGuard };
export const aliases: readonly Alias[] = [{ alias: "rate", name: "Rate", description: "Rates of ports", updated: "2026-01-01T00:00:00-00:00" }];
