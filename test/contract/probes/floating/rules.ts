// The address has a MAC of its own, at the chassis of the port; there its packets enter the router and are translated, to the port before
// they are routed and from it after, in one zone, so that a VM may reach a neighbour by its floating address.
import { chassisScope, derivation, each, ethType, numberHeld, numberOf, zonePool, type App, type TableEffects } from "#app";
import { addressTable, answerFor, holdMac, neighbour, networkTable, activeAttachment, portTable } from "../../../../apps/l2/model.ts";
import { enterRouter, routerTable, translationTable, zoneHolder } from "../../../../apps/l3/model.ts";
import { floatingTable } from "./model.ts";
import { floating } from "./tables.ts";

export const derive = [
  derivation({
    name: "translates",
    on: each(floatingTable),
    into: translationTable,
    reads: [],
    derive: (f) => ({ id: `floating/${f.id}`, router_id: f.router_id, out: f.outside_id }),
  }),
];

const translate = floating.rule({
  name: "translate",
  about: "a floating address where its port is",
  on: each(floatingTable),
  emit(f, view, out) {
    const port = view.get(portTable, f.port_id);
    const at = activeAttachment(view, f.port_id);
    const outside = view.get(networkTable, f.outside_id);
    const router = view.get(routerTable, f.router_id);
    const inside = view.by(addressTable, "port", f.port_id).find((a) => a.family === 4);
    if (port === undefined || at === undefined || outside === undefined || router === undefined || inside === undefined) return;
    if (numberOf(view, zonePool, at.chassis, zoneHolder(router.id)) === undefined) return;
    const scope = chassisScope(at.chassis);
    // Routers everywhere, and with them every host, know its MAC, and answer their own ports: a question is not carried to a host that has
    // no port in the network, and the answer is the same. What is asked from afar, where many may hear it, is answered by the port's host
    // alone. Pings are the port's to answer.
    neighbour(out, outside, f.address, f.mac);
    answerFor(out, scope, outside, f.address, f.mac, { arp: true });
    holdMac(out, outside, f.mac, at);
    enterRouter(out, at.chassis, outside, f.mac, router);
    const match = { "reg:router": router.key, eth_type: ethType.ip } as const;
    const ct = { type: "ct", zone: "router_zone", commit: true } as const;
    out.flow(scope, "floating", { priority: 100, match: { ...match, ipv4_dst: f.address }, actions: [{ ...ct, nat: { kind: "dst", addr_min: inside.ip }, then: { stage: "route" } }] });
    // Only what the router sends outside: between its own networks nothing is translated.
    out.flow(scope, "floating_out", {
      priority: 100, match: { ...match, "reg:net": outside.key, ipv4_src: inside.ip }, actions: [{ ...ct, nat: { kind: "src", addr_min: f.address }, then: { stage: "resolve" } }],
    });
  },
});

export const rules = [translate];

/** Connections that a flow made, when it goes: by the address that it names. */
const forgotten: TableEffects = {
  withdrawn({ chassis, match }, view) {
    const router = view.by(routerTable, "key", String(match["reg:router"]))[0];
    const zone = router === undefined ? undefined : numberHeld(view, zonePool, chassis, zoneHolder(router.id));
    if (zone === undefined) return []; // the zone is flushed when it is given back
    const [src, dst] = [match.ipv4_src, match.ipv4_dst];
    return typeof src === "string" ? [{ zone, src }] : typeof dst === "string" ? [{ zone, dst }] : [];
  },
};
export const effects: NonNullable<App["effects"]> = { floating: forgotten, floating_out: forgotten };
