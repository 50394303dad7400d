// Quality of service: limits and marks of what ports send and get, by policies.
import { reference, type App, type Tx } from "#app";
import { networkTable, portTable } from "../l2/model.ts";
import {
  bandwidthLimitTable, dscpMarkingTable, leastRateQueueTable, leastRateTable, limitMeters, minimumBandwidthTable, packetRateLimitTable, qosPolicyTable, qosUseTable, type QosUse,
} from "./model.ts";
import * as policies from "./policies.ts";
import * as kinds from "./rule-kinds.ts";
import { derive, portContext, problems, rules } from "./rules.ts";
import { qos } from "./tables.ts";

const forgetUse = (tx: Tx, { id }: QosUse): void => tx.delete(qosUseTable, id);

export default {
  name: "qos",
  about: "limits and marks of what ports send and get, by policies",
  requires: ["l2"],
  tables: [qosPolicyTable, bandwidthLimitTable, packetRateLimitTable, dscpMarkingTable, minimumBandwidthTable, qosUseTable, leastRateTable, leastRateQueueTable],
  pools: [...Object.values(limitMeters.egress), ...Object.values(limitMeters.ingress)],
  resources: [policies.qosPolicy, ...kinds.resources],
  references: [
    ...kinds.references,
    reference(qosUseTable, { to: qosPolicyTable, ids: (u) => u.policy_id, gone: forgetUse }),
    reference(qosUseTable, { to: portTable, ids: ({ id, kind }) => (kind === "port" ? id : undefined), gone: forgetUse }),
    reference(qosUseTable, { to: networkTable, ids: ({ id, kind }) => (kind === "network" ? id : undefined), gone: forgetUse }),
  ],
  extend: policies.extend,
  policies: policies.policies,
  aliases: [...policies.aliases, ...kinds.aliases],
  pipeline: qos,
  portContext,
  derive,
  rules,
  problems,
  problemKinds: {
    minimum_unkept: { cause: "a port is to have a least rate, and no queue at the uplink of its host has room for it", cure: "make a queue with a `min-rate` of as much at the uplink's QoS, or have the port elsewhere" },
  },
} satisfies App;
