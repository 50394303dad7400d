// Several bindings of a port: it is wired where it is about to be before it is there.
import type { App } from "#app";
import { moveAnnouncements } from "./announce.ts";
import { aliases, extend, resources } from "./api.ts";
import { arrivals } from "./arrivals.ts";
import { derive, portContext, vif } from "./rules.ts";

export default {
  name: "port-bindings",
  about: "several bindings of a port: it moves between hosts with nothing missing where it arrives",
  requires: ["l2"],
  resources,
  extend,
  aliases,
  derive,
  portContext,
  services: [moveAnnouncements, arrivals],
  vif,
} satisfies App;
