// Limits and marks of a port, at every place where it is.
import { chassisScope, each, ethType, next, setField, type PortContext } from "#app";
import { attachmentTable } from "../l2/model.ts";
import { askedBy, limitMeter, policyOfPort, type BandwidthLimit, type Direction, type PacketRateLimit } from "./model.ts";
import { qos } from "./tables.ts";

/**
 * Four fifths of a second: TCP that lost packets waits a fifth or more (RFC 6298), and finds then what it did not use. At least a frame of 64 KiB, as kernels hand it
 * over with TCP: a bucket that it does not fit into lets none of them pass.
 */
const bitsAtOnce = ({ max_kbps, max_burst_kbps }: BandwidthLimit): number => (max_burst_kbps > 0 ? max_burst_kbps : Math.max(600, Math.ceil((max_kbps * 4) / 5)));
const packetsAtOnce = ({ max_kpps, max_burst_kpps }: PacketRateLimit): number => (max_burst_kpps > 0 ? max_burst_kpps * 1000 : max_kpps * 100);
/** Rates and bursts on the wire have 32 bits. */
const UINT32 = 0xffff_ffff;

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
      out.item(scope, "meter", meter, { unit: "kbps", rate: bandwidth.max_kbps, burst: bitsAtOnce(bandwidth) });
      return { meter };
    };
    const packetMeterOf = (direction: Direction, packets: PacketRateLimit): number => {
      const meter = limitMeter(direction, "packets", at.slot);
      out.item(scope, "meter", meter, { unit: "pps", rate: Math.min(UINT32, packets.max_kpps * 1000), burst: Math.min(UINT32, packetsAtOnce(packets)) });
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
