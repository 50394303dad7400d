import type { App } from "#app";
import { aliases, extendAll, resources } from "./api.ts";
import { rbacPolicyTable } from "./model.ts";

export default {
  name: "rbac",
  about: "RBAC policies: what a project lets others use",
  requires: ["security-groups"],
  partOf: "security-groups",
  tables: [rbacPolicyTable],
  resources,
  extendAll,
  aliases,
} satisfies App;
