// Entity -> flow entries. Pure: what a rule reads through `view` is tracked, and it runs again when that changes.
import { chassisScope, each, ethType, ipProto, load, toTable } from "#app";
import { addressTable, attachmentTable, lanScope, networkTable, portTable } from "../l2/model.ts";
import { beaconTable } from "./model.ts";
import { beaconPipeline } from "./tables.ts";

const ping = beaconPipeline.rule({
  name: "ping",
  about: "pings of a beacon leave the pipeline",
  on: each(beaconTable),
  emit(beacon, view, out) {
    const port = view.get(portTable, beacon.port_id);
    const network = port === undefined ? undefined : view.get(networkTable, port.network_id);
    if (port === undefined || network === undefined) return;
    for (const address of view.by(addressTable, "port", port.id)) {
      if (address.family !== 4) continue;
      // In the scope of the network's members: every chassis with a port there gets the same bytes.
      out.flow(lanScope(network.id), "beacon_input", {
        priority: 100,
        match: { "reg:net": network.key, eth_dst: port.mac_address, eth_type: ethType.ip, ip_proto: ipProto.icmp, icmpv4_type: 8, ipv4_dst: address.ip },
        actions: [load("beacon_hit", 1), toTable("beacon_punt")],
      });
    }
  },
});

const punt = beaconPipeline.rule({
  name: "punt",
  about: "one port's share of packets to the controller",
  on: each(attachmentTable),
  emit(at, _view, out) {
    out.flow(chassisScope(at.chassis), "beacon_punt", { priority: 100, match: { "reg:in_port_key": at.port_key }, meter: at.slot, actions: [{ type: "punt" }] });
  },
});

export const rules = [ping, punt];
