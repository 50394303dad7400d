// A flow for each address of a resolver, and one for each port in its network.
import { chassisScope, each, ethType, ipProto, toTable } from "#app";
import { addressTable, attachmentTable, lanScope, networkTable, portTable } from "../../../../apps/l2/model.ts";
import { resolverTable } from "./model.ts";
import { resolverPipeline } from "./tables.ts";

const ask = resolverPipeline.rule({
  name: "ask",
  about: "questions to a resolver leave the pipeline",
  on: each(resolverTable),
  emit(resolver, view, out) {
    const port = view.get(portTable, resolver.port_id);
    const network = view.get(networkTable, resolver.network_id);
    if (port === undefined || network === undefined) return;
    for (const { ip, family } of view.by(addressTable, "port", port.id)) {
      if (family !== 4) continue;
      out.flow(lanScope(network.id), "resolver_input", {
        priority: 100,
        match: { "reg:net": network.key, eth_dst: port.mac_address, eth_type: ethType.ip, ip_proto: ipProto.udp, udp_dst: 53, ipv4_dst: ip },
        actions: [toTable("resolver_punt")],
      });
    }
  },
});

const punt = resolverPipeline.rule({
  name: "punt",
  about: "one port's share of questions",
  on: each(attachmentTable),
  emit(at, view, out) {
    if (view.count(resolverTable, "network", at.network_id) === 0) return;
    out.flow(chassisScope(at.chassis), "resolver_punt", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: at.slot, actions: [{ type: "punt" }] });
  },
});

export const rules = [ask, punt];
