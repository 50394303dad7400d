// Flow export: what hosts tell collectors of packets.
import type { App } from "#app";
import { exportHostTable, exportSettings } from "./model.ts";
import { derive, portContext, rules } from "./rules.ts";
import { opsLists } from "./shown.ts";
import { flowExport } from "./tables.ts";

export default {
  name: "flow-export",
  about: "IPFIX of what ports send and get, and sFlow, from hosts to the operator's collectors",
  requires: ["l2"],
  settings: exportSettings,
  tables: [exportHostTable],
  pipeline: flowExport,
  derive,
  rules,
  portContext,
  opsLists,
} satisfies App;
