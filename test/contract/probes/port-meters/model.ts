// Rates of ports. The numbers of the meters are stored with the rate: a restart finds the same.
import { definePool, defineTable, resourceHandle, type StandardRow } from "#app";

export interface Rate extends StandardRow {
  /** One rate for each port. */
  readonly port_id: string;
  readonly kbps: number;
  /** Meters of what the port sends and of what it gets: unique among all, above the punt meters, whose ids are slots (1..65534). */
  readonly sender_meter: number;
  readonly receiver_meter: number;
}
export const rateResource = resourceHandle<Rate>("rate");
export const rateTable = defineTable<Rate>()("rate", {
  resource: "rate",
  indexes: { port: (r) => r.port_id },
});
/** Above the punt meters, which have the numbers of zones. */
export const meterPool = definePool({ name: "rate-meter", of: "meter", min: 100_000, max: 0x7fff_ffff, about: "meters of rates, two for each" });
