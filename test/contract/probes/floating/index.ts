import type { App } from "#app";
import { references, resources } from "./api.ts";
import { floatingTable } from "./model.ts";
import { derive, effects, rules } from "./rules.ts";
import { floating } from "./tables.ts";

export default {
  name: "floating",
  about: "probe: floating addresses with hairpin, taken away under traffic",
  requires: ["l2", "ipam", "l3"],
  tables: [floatingTable],
  resources,
  references,
  aliases: [{ alias: "floating", name: "Floating", description: "Floating addresses of a probe", updated: "2026-01-01T00:00:00-00:00" }],
  pipeline: floating,
  derive,
  rules,
  effects,
} satisfies App;
