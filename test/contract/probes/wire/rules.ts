// A patch between the integration bridge and the bridge of a physical network, which is the operator's: one port at either end, and
// nothing else of that bridge is touched.
import { chassisScope, claim, claimTable, core, derivation, each, ethType, numberOf, type PortContext } from "#app";
import { pluggedAt } from "../../../../apps/l2/model.ts";
import { patchPool, wireTable } from "./model.ts";
import { wire } from "./tables.ts";

export const derive = [
  derivation({ name: "wire-number", on: each(wireTable), into: claimTable, reads: [], derive: (w) => claim(`wire/wire-number/${w.id}`, patchPool, "", w.physical_network) }),
];

const patch = wire.rule({
  name: "patch",
  about: "the patch to a physical network, and what goes through it",
  on: each(wireTable),
  emit(w, view, out) {
    const at = pluggedAt(view, w.port_id);
    const bridge = at?.chassis.bridge_mappings[w.physical_network];
    const number = numberOf(view, patchPool, "", w.physical_network);
    if (at === undefined || bridge === undefined || number === undefined) return;
    const scope = chassisScope(at.chassis.id);
    const [near, far] = [`axion-near-${number}`, `axion-far-${number}`];
    out.row(scope, "Port", near, { interface: { type: "patch", options: { peer: far }, ofport_request: number } });
    out.row(scope, "Port", far, { interface: { type: "patch", options: { peer: near } }, bridge });
    const match = { in_port: at.vif.ofport } as const;
    out.flow(scope, "wires", { priority: 100, match, actions: [{ type: "output", port: number }] });
    for (const prefix of w.blocked) out.flow(scope, "wires", { priority: 200, match: { ...match, eth_type: ethType.ipv6, ipv6_dst: prefix }, actions: [] });
    // What is known of an address by its prefix makes one megaflow, not one for each address.
    if (w.blocked.length > 0) out.row(scope, "Flow_Table", "wires", { prefixes: ["ipv6_dst"] });
    out.into(core).flow(scope, "classify", { priority: 200, match: { in_port: number }, actions: [{ type: "output", port: at.vif.ofport }] });
  },
});

export const rules = [patch];
export const portContext: readonly PortContext[] = [{ ingress: (view, place) => view.count(wireTable, "port", place.port_id) > 0 }];
