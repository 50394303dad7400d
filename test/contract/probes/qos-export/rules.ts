// Rows of a host's database, and one column of a row that is somebody else's. No table of the pipeline.
import { chassisScope, chassisTable, definePipeline, each, ovsRef } from "#app";
import { uplinkPolicyTable } from "./model.ts";

export const qosExport = definePipeline({ registers: {}, tables: {} });

const policy = qosExport.rule({
  name: "uplink-policy",
  about: "QoS with a queue at an uplink, and IPFIX of the host's bridge",
  on: each(uplinkPolicyTable),
  emit({ id, host, uplink, kbps, collector }, view, out) {
    if (view.get(chassisTable, host) === undefined) return;
    const scope = chassisScope(host);
    const rate = String(kbps * 1000);
    out.row(scope, "Queue", `${id}/0`, { other_config: { "max-rate": rate } });
    out.row(scope, "QoS", id, { type: "linux-htb", other_config: { "max-rate": rate }, queues: { 0: ovsRef("Queue", `${id}/0`) } });
    out.patch(scope, { table: "Port", name: uplink, column: "qos", value: ovsRef("QoS", id) });
    out.row(scope, "IPFIX", id, { targets: [collector], sampling: 64, obs_domain_id: 7 });
  },
});

export const rules = [policy];
