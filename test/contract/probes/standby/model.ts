// A port that is to move: its interface at another host hears what it hears, before the port is there.
import { defineTable, resourceHandle, type StandardRow } from "#app";

export interface Standby extends StandardRow {
  readonly port_id: string;
  /** Id of the chassis. */
  readonly host: string;
  /** Whether it speaks there already. */
  readonly speaks: boolean;
}
export const standbyTable = defineTable<Standby>()("standby", { resource: "standby", indexes: { place: (s) => `${s.port_id}@${s.host}` } });
export const standbyResource = resourceHandle<Standby>("standby");
