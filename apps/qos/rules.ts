// Limits and marks of a port, at every place where it is.
import { chassisScope, chassisTable, derivation, each, eachPair, ethType, next, setField, type AppProblem, type LiveView, type PortContext } from "#app";
import { attachmentTable, chosenSegmentTable, portTable } from "../l2/model.ts";
import {
  askedBy, bandwidthMeter, leastRateQueueTable, leastRateTable, limitMeter, minimumBandwidthTable, minimumOf, packetsMeter, physicalAt, policyOfPort, queuesFor, qosUseTable, type LeastRate, type LeastRateQueue, type BandwidthLimit, type Direction, type PacketRateLimit 
} from "./model.ts";
import { qos } from "./tables.ts";

const limits = qos.rule({
  name: "port-limits",
  about: "the meters and the mark of a port with a QoS policy",
  on: each(attachmentTable),
  emit(at, view, out) {
    const policy = policyOfPort(view, at.port_id);
    if (policy === undefined) return;
    const scope = chassisScope(at.chassis);
    const meterOf = (direction: Direction, bandwidth: BandwidthLimit | undefined): { readonly meter?: number } => {
      if (bandwidth === undefined) return {};
      const meter = limitMeter(direction, "bandwidth", at.slot);
      out.item(scope, "meter", meter, bandwidthMeter(bandwidth));
      return { meter };
    };
    const packetMeterOf = (direction: Direction, packets: PacketRateLimit): number => {
      const meter = limitMeter(direction, "packets", at.slot);
      out.item(scope, "meter", meter, packetsMeter(packets));
      return meter;
    };
    const queue = view.get(leastRateQueueTable, at.id)?.queue;
    const sent = askedBy(view, policy, "egress") ?? (queue === undefined ? undefined : {});
    if (sent !== undefined) {
      const from = { "reg:in_port_key": at.port_key } as const;
      const metered = meterOf("egress", sent.bandwidth);
      // Wherever it leaves: only uplinks have such a queue.
      const queued = queue === undefined ? [] : [{ type: "set_queue", queue_id: queue } as const];
      if (sent.bandwidth !== undefined || queue !== undefined) out.flow(scope, "qos_out", { priority: 100, match: from, ...metered, actions: [...queued, next] });
      if (sent.mark !== undefined) {
        for (const eth_type of [ethType.ip, ethType.ipv6]) out.flow(scope, "qos_out", { priority: 110, match: { ...from, eth_type }, ...metered, actions: [setField("ip_dscp", sent.mark.dscp_mark), ...queued, next] });
      }
      if (sent.packets !== undefined) out.flow(scope, "qos_out_packets", { priority: 100, match: from, meter: packetMeterOf("egress", sent.packets), actions: [next] });
    }
    const got = askedBy(view, policy, "ingress");
    if (got === undefined) return;
    const to = { "reg:out_port_key": at.port_key } as const;
    if (got.bandwidth !== undefined) out.flow(scope, "qos_in", { priority: 100, match: to, ...meterOf("ingress", got.bandwidth), actions: [next] });
    if (got.packets !== undefined) out.flow(scope, "qos_in_packets", { priority: 100, match: to, meter: packetMeterOf("ingress", got.packets), actions: [next] });
  },
});

export const rules = [limits];

export const derive = [
  derivation({
    name: "least-rate",
    on: each(attachmentTable),
    into: leastRateTable,
    reads: [chassisTable, chosenSegmentTable, portTable, qosUseTable, minimumBandwidthTable],
    derive({ id, port_id, port_key, network_id, chassis: at, role }, view): LeastRate | undefined {
      const policy = policyOfPort(view, port_id);
      const min_kbps = policy === undefined ? 0 : minimumOf(view, policy);
      const chassis = min_kbps === 0 ? undefined : view.get(chassisTable, at);
      const physical_network = chassis === undefined || role !== "active" ? undefined : physicalAt(view, network_id, chassis);
      return physical_network === undefined ? undefined : { id, port_id, port_key, chassis: at, physical_network, min_kbps };
    },
  }),
  derivation({
    name: "least-rate-queue",
    on: eachPair(leastRateTable, "places"),
    into: leastRateQueueTable,
    reads: [leastRateTable, chassisTable],
    derive: ({ a: chassis, b: physical }, view): LeastRateQueue[] => [...queuesFor(view, chassis, physical, view.byPair(leastRateTable, "places", chassis, physical))].map(([id, queue]) => ({ id, queue })),
  }),
];

/** Ports that no queue of their host has room for: bound there though nobody asked, or queues that are smaller now. */
export const problems = (view: LiveView): AppProblem[] => view.by(leastRateTable, "all", "").filter(({ id }) => view.get(leastRateQueueTable, id) === undefined).map(({ port_id, chassis, physical_network, min_kbps }) => ({
  kind: "minimum_unkept", severity: "warning", text: `port ${port_id} is to have ${min_kbps} kbps of what leaves ${chassis} by ${physical_network}, and no queue there has room for it`, resources: [{ type: "port", id: port_id }], switches: [chassis],
  cure: { text: "make a queue with a min-rate of as much at the uplink's QoS, or have the port elsewhere" },
}));

const enters = (direction: Direction): NonNullable<PortContext["ingress"]> => (view, { port_id: portId }) => {
  const policy = policyOfPort(view, portId);
  return policy !== undefined && (askedBy(view, policy, direction) !== undefined || (direction === "egress" && minimumOf(view, policy) > 0));
};
export const portContext: readonly PortContext[] = [{ ingress: enters("egress"), egress: enters("ingress") }];
