import { answer, type App } from "#app";
import { portBehind } from "../gateway/model.ts";
import { aliases, resources } from "./api.ts";
import { derive } from "./derive.ts";
import { effects } from "./effects.ts";
import { behind, explains } from "./explain.ts";
import { extend, references } from "./guards.ts";
import { calledMeters, floatingIpActiveTable, floatingIpTable, floatingPlaceTable, natSettings, openedMeters, portForwardingTable, translatedHelperTable, translatedLimitTable } from "./model.ts";
import { rules } from "./rules.ts";
import { floatingStatus } from "./status.ts";
import { nat } from "./tables.ts";

export default {
  name: "nat",
  about: "translation of IPv4 at the edge: sources of the inside, floating IPs, port forwarding",
  requires: ["l2", "ipam", "l3", "overlay", "gateway"],
  tables: [floatingIpTable, portForwardingTable, floatingIpActiveTable, floatingPlaceTable, translatedHelperTable, translatedLimitTable],
  pools: [openedMeters, calledMeters],
  settings: natSettings,
  resources,
  extend,
  references,
  aliases,
  pipeline: nat,
  derive,
  rules,
  effects,
  services: [floatingStatus],
  explains,
  answers: [answer(portBehind, behind)],
} satisfies App;
