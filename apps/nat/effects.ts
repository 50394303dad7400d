// What goes with flows of translations: connections end where an address leads elsewhere, and who is outside hears where it is now.
import { numberHeld, zonePool, type App, type ReadView, type StageOut, type TableEffects } from "#app";
import { buildGratuitousArp } from "packet-codec";
import { networkTable, portTable } from "../l2/model.ts";
import { routerTable, zoneHolder, type LiveRouter } from "../l3/model.ts";
import { floatingIpTable, floatingPlaceTable } from "./model.ts";

const routerOf = (view: ReadView, key: unknown): LiveRouter | undefined => view.by(routerTable, "key", String(key))[0];

/** The zone of a router at a chassis; that of one that is gone is flushed when it is given back. */
function zoneAt(view: ReadView, chassis: string, key: unknown): number | undefined {
  const router = routerOf(view, key);
  return router === undefined ? undefined : numberHeld(view, zonePool, chassis, zoneHolder(router.id));
}

/** Connections by an address that is not translated any more, or leads elsewhere now: those that were opened to it, and from behind it. */
const byAddress: TableEffects = {
  withdrawn({ chassis, match }, view) {
    const zone = zoneAt(view, chassis, match["reg:router"]);
    const dst = match.ipv4_dst;
    // Of a forwarded port, that is, which byPort knows; and what is let in as it is has no connection here.
    if (match.ip_proto !== undefined || match["reg:net"] !== undefined) return [];
    return zone === undefined || typeof dst !== "string" ? [] : [{ zone, dst }, { zone, reply: { dst } }];
  },
  // Who outside knew another MAC for it, or had it from another host, hears where it is now. What the gateway holds, that one announces.
  confirmed({ chassis, match }, view): StageOut[] {
    const router = match.ct_state === undefined ? routerOf(view, match["reg:router"]) : undefined;
    const place = router === undefined ? undefined : view.by(floatingPlaceTable, "address", `${router.id}|${String(match.ipv4_dst)}`)[0];
    const network = place === undefined ? undefined : view.get(networkTable, place.network_id);
    const port = place === undefined ? undefined : view.get(portTable, view.get(floatingIpTable, place.id)?.floating_port_id ?? "");
    if (place?.distributed !== true || network === undefined || port === undefined || !place.hosts.includes(chassis)) return [];
    return [{ chassis, stage: "forward", registers: { net: network.key, in_port_key: port.key }, data: buildGratuitousArp({ mac: place.mac, address: place.ip }) }];
  },
};
/** Likewise where it leads elsewhere from now on. By a forwarded port its own; of a block of ports those of all ports of the address and protocol. */
const byPort: TableEffects = {
  withdrawn(flow, view) {
    const { chassis, match } = flow;
    if (match.ct_nw_proto === undefined) return byAddress.withdrawn?.(flow, view) ?? [];
    // That a helper is gone ends nothing: what was said may have another length on either side, which conntrack makes up for.
    if (match.ip_proto !== undefined) return [];
    const zone = zoneAt(view, chassis, match["reg:router"]);
    const { ipv4_dst: dst, ct_nw_proto: protocol, ct_tp_dst: dstPort } = match;
    if (zone === undefined || typeof dst !== "string" || typeof protocol !== "number") return [];
    return [{ zone, dst, protocol, ...(typeof dstPort === "number" && { dstPort }) }];
  },
};
export const effects: NonNullable<App["effects"]> = { nat_in: byAddress, nat_known: byPort };
