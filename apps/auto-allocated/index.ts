import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { autoAllocatedTopologyTable, defaultNetworkTable } from "./model.ts";

export default {
  name: "auto-allocated",
  about: "networks that projects get without making their parts",
  requires: ["l2", "ipam", "l3", "gateway", "subnet-pools"],
  partOf: "gateway",
  tables: [autoAllocatedTopologyTable, defaultNetworkTable],
  resources,
  references,
  extend,
  aliases,
} satisfies App;
