import type { App } from "#app";
import { aliases, resources } from "./api.ts";
import { uplinkPolicyTable } from "./model.ts";
import { qosExport, rules } from "./rules.ts";

export default {
  name: "qos-export",
  about: "queues of uplinks and flow export, as rows of hosts' databases",
  tables: [uplinkPolicyTable],
  resources,
  aliases,
  pipeline: qosExport,
  rules,
} satisfies App;
