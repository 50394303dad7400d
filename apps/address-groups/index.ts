import type { App } from "#app";
import { aliases, converters, extend, policies, references, resources } from "./api.ts";
import { addressGroupTable } from "./model.ts";
import { derive } from "./rules.ts";

export default {
  name: "address-groups",
  about: "prefixes with a name, as the other side of security group rules",
  requires: ["security-groups"],
  partOf: "security-groups",
  tables: [addressGroupTable],
  resources,
  converters,
  references,
  extend,
  aliases,
  policies,
  derive,
} satisfies App;
