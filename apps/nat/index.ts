import type { App } from "#app";
import { derive } from "./derive.ts";
import { effects, rules } from "./rules.ts";
import { nat } from "./tables.ts";

export default {
  name: "nat",
  about: "translation of IPv4 at gateways: sources of the inside",
  requires: ["l2", "ipam", "l3", "gateway"],
  aliases: [{ alias: "ext-gw-mode", name: "Neutron L3 Configurable external gateway mode", description: "Whether sources are translated at a router's gateway.", updated: "2013-03-28T10:00:00-00:00" }],
  pipeline: nat,
  derive,
  rules,
  effects,
} satisfies App;
