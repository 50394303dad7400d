// Limits and marks of a port, at every place where it is.
import { chassisScope, each, ethType, next, setField, type PortContext } from "#app";
import { attachmentTable } from "../l2/model.ts";
import { askedBy, bandwidthMeter, limitMeter, packetsMeter, policyOfPort, type BandwidthLimit, type Direction, type PacketRateLimit } from "./model.ts";
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
    const sent = askedBy(view, policy, "egress");
    if (sent !== undefined) {
      const from = { "reg:in_port_key": at.port_key } as const;
      const metered = meterOf("egress", sent.bandwidth);
      if (sent.bandwidth !== undefined) out.flow(scope, "qos_out", { priority: 100, match: from, ...metered, actions: [next] });
      if (sent.mark !== undefined) {
        for (const eth_type of [ethType.ip, ethType.ipv6]) out.flow(scope, "qos_out", { priority: 110, match: { ...from, eth_type }, ...metered, actions: [setField("ip_dscp", sent.mark.dscp_mark), next] });
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

const enters = (direction: Direction): NonNullable<PortContext["ingress"]> => (view, { port_id: portId }) => {
  const policy = policyOfPort(view, portId);
  return policy !== undefined && askedBy(view, policy, direction) !== undefined;
};
export const portContext: readonly PortContext[] = [{ ingress: enters("egress"), egress: enters("ingress") }];
