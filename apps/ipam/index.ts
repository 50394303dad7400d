import type { App } from "#app";
import { aliases, extend, references, resources, tables } from "./api.ts";
import { explains } from "./explain.ts";
import { converters } from "./checks.ts";
import { subnetTable } from "./subnets.ts";

export default {
  name: "ipam",
  about: "subnets, pools, gateways; which addresses a port gets",
  requires: ["l2"],
  tables: [subnetTable, ...tables],
  resources,
  references,
  extend,
  converters,
  aliases,
  explains,
} satisfies App;
