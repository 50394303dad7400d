// The manifest: what this app is and what it plugs in. To make an app, copy this folder to apps/<name>, give it that name
// here and its own names to resources, tables, registers and the model; then `npm run docs`. No other file of the project changes.
import type { App } from "#app";
import { aliases, converters, extend, references, resources } from "./api.ts";
import { beaconTable } from "./model.ts";
import { answerPing } from "./packet-in.ts";
import { rules } from "./rules.ts";
import { beaconPipeline } from "./tables.ts";

export default {
  name: "_template",
  about: "the documented skeleton: addresses that answer pings",
  requires: ["l2", "ipam"],
  tables: [beaconTable],
  resources,
  references,
  extend,
  converters,
  aliases,
  pipeline: beaconPipeline,
  rules,
  packetIn: { beacon_punt: answerPing },
} satisfies App;
