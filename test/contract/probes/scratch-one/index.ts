import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { badgeOneTable } from "./model.ts";
import { portContext, rules } from "./rules.ts";
import { scratchOne } from "./tables.ts";

export default {
  name: "scratch-one",
  about: "uses a scratch register, and lets pass only packets for which it holds what was put there",
  requires: ["l2"],
  tables: [badgeOneTable],
  resources,
  references,
  extend,
  aliases,
  pipeline: scratchOne,
  portContext,
  rules,
} satisfies App;
