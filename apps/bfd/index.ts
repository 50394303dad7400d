// BFD with next hops outside.
import type { App } from "#app";
import { aliases, extend, references } from "./api.ts";
import { bfdMeters, bfdPeerTable, bfdRouterTable, bfdSessionTable } from "./model.ts";
import { problems } from "./problems.ts";
import { derive, rules } from "./rules.ts";
import { sessions } from "./sessions.ts";
import { bfd } from "./tables.ts";

export default {
  name: "bfd",
  about: "BFD of routers with their next hops outside",
  requires: ["l2", "ipam", "l3", "gateway"],
  partOf: "gateway",
  tables: [bfdRouterTable, bfdSessionTable, bfdPeerTable],
  pools: [bfdMeters],
  extend,
  references,
  aliases,
  pipeline: bfd,
  derive,
  rules,
  services: [sessions],
  problems,
  problemKinds: {
    session_down: { cause: "a next hop with which a router speaks BFD was up, and is not", cure: "look whether it is up, and speaks BFD with the router's gateway" },
  },
} satisfies App;
