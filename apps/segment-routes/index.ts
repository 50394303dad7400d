// Routes between the subnets of a routed network: machines with several networks find by them which way leads to the other segments of this one.
import type { App } from "#app";
import { aliases, extend } from "./api.ts";
import { derive } from "./peers.ts";

export default {
  name: "segment-routes",
  about: "machines of a routed network are told the way to its other segments",
  requires: ["l2", "ipam", "overlay", "l3", "dhcp", "provider", "segments"],
  partOf: ["dhcp", "segments"],
  extend,
  derive,
  aliases,
} satisfies App;
