import type { App } from "#app";
import { aliases, extendAll, mend, resources } from "./api.ts";
import { rbacPolicyTable } from "./model.ts";

export default {
  name: "rbac",
  about: "RBAC policies: what a project lets others use",
  requires: ["l2"],
  tables: [rbacPolicyTable],
  resources,
  extendAll,
  mend,
  aliases,
} satisfies App;
