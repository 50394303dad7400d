// What is said of ports to the compute service and to whoever watches hosts.
import type { App } from "#app";
import { aliases, extend, policies, references } from "./api.ts";
import { portExtraTable } from "./model.ts";

export default {
  name: "port-extras",
  about: "what is kept of ports for the compute service and for who watches the hosts: no flow follows from it",
  requires: ["l2"],
  partOf: "l2",
  tables: [portExtraTable],
  extend,
  references,
  policies,
  aliases,
} satisfies App;
