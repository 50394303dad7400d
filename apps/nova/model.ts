// Where Nova is, and whether it hears.
import { defineSettings, defineSoftTable, type Row } from "#app";

export const novaSettings = defineSettings({
  "nova-url": { kind: "url", about: "Nova's compute API, with or without /v2.1, which is told when ports of its servers are plugged, unplugged, changed or deleted; with --auth keystone in the name of --keystone-user" },
});

/** Why Nova does not hear now. One fact. */
export interface NovaTrouble extends Row {
  readonly text: string;
}
export const novaTroubleTable = defineSoftTable<NovaTrouble>()("nova_trouble", { ttlS: 60, limitPerOwner: 1, limit: 1 });
