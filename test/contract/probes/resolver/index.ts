import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { resolverTable, spokenTable } from "./model.ts";
import { rules } from "./rules.ts";
import { resolve } from "./service.ts";
import { resolverPipeline } from "./tables.ts";

export default {
  name: "resolver",
  about: "addresses that answer questions, later",
  requires: ["l2", "ipam"],
  tables: [resolverTable, spokenTable],
  resources,
  extend,
  references,
  aliases,
  pipeline: resolverPipeline,
  rules,
  services: [resolve],
} satisfies App;
