// Segments of networks, each a resource of its own.
import type { App } from "#app";
import { aliases, extend, mend, references, resources } from "./api.ts";
import { networkSegmentTable } from "./model.ts";

export default {
  name: "segments",
  about: "the segments that networks travel on, one by one: named, added and taken away",
  requires: ["l2", "overlay", "provider"],
  partOf: "provider",
  tables: [networkSegmentTable],
  resources,
  extend,
  references,
  mend,
  aliases,
} satisfies App;
