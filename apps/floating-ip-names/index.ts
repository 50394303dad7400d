// What floating IPs are called: kept for whoever publishes names outside.
import type { App } from "#app";
import { extend, references } from "./api.ts";
import { floatingIpNameTable } from "./model.ts";

export default {
  name: "floating-ip-names",
  about: "names and domains of floating IPs",
  requires: ["nat", "dns"],
  partOf: ["nat", "dns"],
  tables: [floatingIpNameTable],
  extend,
  references,
} satisfies App;
