// Whether new security groups of a project are stateful where nobody says.
import type { App } from "#app";
import { aliases, extend, resources } from "./api.ts";
import { groupStatefulnessTable } from "./model.ts";

export default {
  name: "group-statefulness",
  about: "whether new security groups of a project are stateful where nobody says",
  requires: ["l2", "security-groups"],
  partOf: "security-groups",
  tables: [groupStatefulnessTable],
  resources,
  extend,
  aliases,
} satisfies App;
