// Protocols whose connections speak of others: FTP, TFTP.
import { derivation, each, type App } from "#app";
import { translatedHelperTable, type TranslatedHelper } from "../nat/model.ts";
import { aliases, extend, references, resources } from "./api.ts";
import { conntrackHelperTable } from "./model.ts";

/** What nat does for them, it does where it translates. */
const derive = [
  derivation({
    name: "conntrack-helper",
    on: each(conntrackHelperTable),
    into: translatedHelperTable,
    reads: [],
    derive: ({ id, router_id, protocol, port, helper }): TranslatedHelper => ({ id: `conntrack-helpers/${id}`, router_id, protocol, port, alg: helper }),
  }),
];

export default {
  name: "conntrack-helpers",
  about: "conntrack helpers of routers: what translated connections of FTP and TFTP say of others",
  requires: ["l2", "l3", "nat"],
  partOf: "nat",
  tables: [conntrackHelperTable],
  resources,
  extend,
  references,
  aliases,
  derive,
} satisfies App;
