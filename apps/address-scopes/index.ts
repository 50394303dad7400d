// Address scopes.
import type { App } from "#app";
import { aliases, answers, extend, extendAll, mend, policies, references, resources } from "./api.ts";
import { derive } from "./domains.ts";
import { addressScopeTable, scopedPoolTable } from "./model.ts";

export default {
  name: "address-scopes",
  about: "address scopes: which networks routers route between",
  requires: ["l2", "ipam", "l3", "subnet-pools"],
  partOf: ["l3", "subnet-pools"],
  tables: [addressScopeTable, scopedPoolTable],
  resources,
  answers,
  references,
  extend,
  extendAll,
  mend,
  aliases,
  policies,
  derive,
} satisfies App;
