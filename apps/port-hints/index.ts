// Hints of ports.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { portHintsTable } from "./model.ts";
import { portHints, rules } from "./rules.ts";

export default {
  name: "port-hints",
  about: "what administrators say of how Open vSwitch carries the interfaces of ports",
  requires: ["l2"],
  partOf: "l2",
  tables: [portHintsTable],
  extend,
  references,
  aliases,
  pipeline: portHints,
  rules,
} satisfies App;
