import type { App } from "#app";
import { aliases, extend, references, resources } from "./api.ts";
import { badgeTwoTable } from "./model.ts";
import { portContext, rules } from "./rules.ts";
import { scratchTwo } from "./tables.ts";

export default {
  name: "scratch-two",
  about: "uses a scratch register, and lets pass only packets for which it holds what was put there",
  requires: ["l2"],
  tables: [badgeTwoTable],
  resources,
  references,
  extend,
  aliases,
  pipeline: scratchTwo,
  portContext,
  rules,
} satisfies App;
