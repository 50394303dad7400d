// QoS policies of floating IPs and of gateways of routers.
import type { App } from "#app";
import { aliases, answers, extend, keys, references } from "./api.ts";
import { edgeLimitTable, edgeMeters } from "./model.ts";
import { derive, rules } from "./rules.ts";
import { qosExternal } from "./tables.ts";

export default {
  name: "qos-external",
  about: "limits of what crosses the edge of the cloud, by QoS policies: of floating IPs, and of the rest of a router by its gateway",
  requires: ["gateway", "l2", "l3", "nat", "qos"],
  partOf: ["gateway", "nat", "qos"],
  tables: [edgeLimitTable],
  pools: [edgeMeters],
  extend,
  references,
  answers,
  keys,
  aliases,
  pipeline: qosExternal,
  derive,
  rules,
} satisfies App;
