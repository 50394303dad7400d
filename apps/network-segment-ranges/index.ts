// Ranges of VLANs and VNIs, as administrators keep them.
import type { App } from "#app";
import { aliases, answers, resources } from "./api.ts";
import { rangeTable } from "./model.ts";

export default {
  name: "network-segment-ranges",
  about: "ranges of VLANs and VNIs that networks of all projects, or of one, get their numbers from",
  requires: ["l2", "overlay", "provider"],
  partOf: "provider",
  tables: [rangeTable],
  resources,
  answers,
  aliases,
} satisfies App;
