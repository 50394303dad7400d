// Quantum v1.0 and v1.1: no network function, another way into the API.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { faces } from "./faces.ts";
import { quantumAttachmentTable } from "./model.ts";
import { derive, vif } from "./rules.ts";

export default {
  name: "quantum-v1",
  about: "the API's first versions, 1.0 and 1.1, over the same networks and ports, and interfaces plugged by ids that callers choose",
  requires: ["l2", "ipam"],
  tables: [quantumAttachmentTable],
  extend,
  references,
  aliases,
  derive,
  vif,
  faces,
} satisfies App;
