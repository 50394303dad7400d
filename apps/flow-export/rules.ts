// Samples of what a port sends are taken where its packets are told from others anyway, in the first table; of what gets to it, in a table before it. The observation point is
// the port's key, the observation domain that of its host.
import { chassisScope, chassisTable, derivation, each, next, ovsRef, type PortContext, type ReadView, type Sample } from "#app";
import { attachmentTable, comesBack, portTable } from "../l2/model.ts";
import { CACHED_FLOWS, COLLECTORS, exportHostTable, exportSettings, targetOf, type ExportHost } from "./model.ts";
import { flowExport } from "./tables.ts";

/** Key of the rows of a host's database. */
const OWN = "flow-export";

export const derive = [
  derivation({
    name: "export-host",
    on: each(chassisTable),
    into: exportHostTable,
    reads: [],
    derive({ id, key, encap_ip }, view): ExportHost | undefined {
      const s = view.settings(exportSettings);
      const [ipfix, sflow] = [s["ipfix-collectors"].map(targetOf), s["sflow-collectors"].map(targetOf)];
      if (ipfix.length + sflow.length === 0) return undefined;
      return {
        id,
        ipfix: ipfix.length === 0 ? undefined : { targets: ipfix, domain: key, probability: Math.max(1, Math.round(65_535 / s["ipfix-sampling"])), cacheS: s["ipfix-cache-s"] },
        sflow: sflow.length === 0 ? undefined : { targets: sflow, sampling: s["sflow-sampling"], pollingS: s["sflow-polling-s"], agent: encap_ip === "" ? undefined : encap_ip },
      };
    },
  }),
];

const collectors = flowExport.rule({
  name: "collectors",
  about: "the collectors that a host exports to",
  on: each(exportHostTable),
  emit({ id, ipfix, sflow }, _view, out) {
    const scope = chassisScope(id);
    if (ipfix !== undefined) {
      out.row(scope, "IPFIX", OWN, { targets: ipfix.targets, ...(ipfix.cacheS > 0 && { cache_active_timeout: ipfix.cacheS, cache_max_flows: CACHED_FLOWS }) });
      out.row(scope, "Flow_Sample_Collector_Set", OWN, { id: COLLECTORS, ipfix: ovsRef("IPFIX", OWN) });
    }
    const [first, ...others] = sflow?.targets ?? [];
    if (sflow !== undefined && first !== undefined) out.row(scope, "sFlow", OWN, { targets: [first, ...others], sampling: sflow.sampling, polling: sflow.pollingS, header: 128, ...(sflow.agent !== undefined && { agent: sflow.agent }) });
  },
});

/** NX_ACTION_SAMPLE_INGRESS and _EGRESS, as the switch sees it. ovs-actions(7) */
const INTO_SWITCH = 1;
const OUT_OF_SWITCH = 2;
/** OFPP_NONE: of whatever port. */
const NO_PORT = 0xffff;

function sampleOf(view: ReadView, chassis: string, portKey: number, direction: typeof INTO_SWITCH | typeof OUT_OF_SWITCH): Sample | undefined {
  const ipfix = view.get(exportHostTable, chassis)?.ipfix;
  return ipfix === undefined ? undefined : { type: "sample3", probability: ipfix.probability, collector_set_id: COLLECTORS, obs_domain_id: ipfix.domain, obs_point_id: portKey, sampling_port: NO_PORT, direction };
}

const got = flowExport.rule({
  name: "got",
  about: "samples of what gets to a port",
  on: each(attachmentTable),
  emit(at, view, out) {
    const sample = sampleOf(view, at.chassis, at.port_key, OUT_OF_SWITCH);
    if (sample === undefined) return;
    const scope = chassisScope(at.chassis);
    out.flow(scope, "sampled_in", { priority: 100, match: { "reg:out_port_key": at.port_key }, actions: [sample, next] });
    out.flow(scope, "sampled_in", { priority: 200, match: { "reg:out_port_key": at.port_key, ...comesBack(at) }, actions: [next] });
  },
});

export const rules = [collectors, got];

export const portContext: readonly PortContext[] = [{
  sample(view, { port_id: id, chassis }) {
    const key = view.get(portTable, id)?.key;
    return key === undefined ? undefined : sampleOf(view, chassis, key, INTO_SWITCH);
  },
  egress: (view, { chassis }) => view.get(exportHostTable, chassis)?.ipfix !== undefined,
}];
