// Where Local IPs lead, and the flows of it: at hosts that have an associated port, for all ports of the network there.
import {
  chassisScope, claim, claimTable, derivation, each, eachPair, familyMatch, ipDst, ipSrc, load, next, numberOf, setField, zonePool, type Claim, type PortContext, type PortPlace, type ReadView,
} from "#app";
import { activeAttachment, addressId, addressTable, answerFor, attachmentTable, isNetworkPort, networkTable, portTable } from "../l2/model.ts";
import { associatedPortTable, associationTable, hereOf, localIpHostTable, localIpPlaceTable, localIpTable, openedMeter, OPENED_METER, zoneHolderOf, type AssociatedPort, type LocalIpHost, type LocalIpPlace } from "./model.ts";
import { localIp } from "./tables.ts";

export const derive = [
  derivation({
    name: "associated",
    on: each(associationTable),
    into: associatedPortTable,
    reads: [attachmentTable, addressTable],
    derive({ id, local_ip_id, fixed_port_id, fixed_ip }, view): AssociatedPort | undefined {
      const at = activeAttachment(view, fixed_port_id);
      const hasAddress = view.by(addressTable, "port", fixed_port_id).some((a) => a.ip === fixed_ip);
      return at?.role === "active" && hasAddress ? { id, local_ip_id, fixed_port_id, chassis: at.chassis } : undefined;
    },
  }),
  derivation({
    name: "places",
    on: eachPair(associatedPortTable, "hosts"),
    into: localIpPlaceTable,
    reads: [associatedPortTable, associationTable, localIpTable, attachmentTable, portTable, addressTable],
    derive({ a: localIpId, b: chassis }, view): LocalIpPlace | undefined {
      const [first] = view.byPair(associatedPortTable, "hosts", localIpId, chassis).toSorted((a, b) => (a.fixed_port_id < b.fixed_port_id ? -1 : 1));
      const association = first === undefined ? undefined : view.get(associationTable, first.id);
      const local = view.get(localIpTable, localIpId);
      const port = association === undefined ? undefined : view.get(portTable, association.fixed_port_id);
      // Somebody else may have the address, if the local port lost it while the app was left out.
      const holder = local === undefined ? undefined : view.get(addressTable, addressId(local.network_id, local.local_ip_address))?.port_id;
      const own = holder === undefined || holder !== local?.local_port_id ? undefined : view.get(portTable, holder);
      if (association === undefined || local === undefined || port === undefined || own === undefined) return undefined;
      return {
        id: association.id, network_id: local.network_id, chassis, address: local.local_ip_address, mac: own.mac_address, port_id: port.id, port_key: port.key, port_mac: port.mac_address, port_ip: association.fixed_ip,
        mode: local.ip_mode, answers: !isNetworkPort(own) && view.by(attachmentTable, "port", own.id).length === 0,
      };
    },
  }),
  derivation({
    name: "hosts",
    on: eachPair(localIpPlaceTable, "here"),
    into: localIpHostTable,
    reads: [localIpPlaceTable],
    derive: ({ a: network, b: chassis }, view): LocalIpHost => ({ id: hereOf(network, chassis), translates: view.byPair(localIpPlaceTable, "here", network, chassis).some((p) => p.mode === "translate") }),
  }),
  derivation({
    name: "zones",
    on: each(localIpPlaceTable),
    into: claimTable,
    reads: [],
    // Several may be of one port, which has one zone.
    derive: ({ id, chassis, port_id, mode }): Claim[] => (mode === "translate" ? [claim(`local-ip/zone/${id}`, zonePool, chassis, zoneHolderOf(port_id))] : []),
  }),
];

/** ct_state bits, ovs-fields(7): +trk-new-inv, +trk+new-inv, +trk-inv, +trk. */
const KNOWN = { value: 0x20, mask: 0x31 } as const;
const NEW = { value: 0x21, mask: 0x31 } as const;
const VALID = { value: 0x20, mask: 0x30 } as const;
const TRACKED = { value: 0x20, mask: 0x20 } as const;
/** The zone's register is a router's later on. */
const ON = [{ type: "ct_clear" }, load("router_zone", 0)] as const;

export const rules = [
  localIp.rule({
    name: "leads",
    about: "what ports of a host send to a local IP gets to the associated port there, and answers come from the local IP",
    on: each(localIpPlaceTable),
    emit(place, view, out) {
      const { address, mac, mode, port_key, port_mac, port_ip } = place;
      const network = view.get(networkTable, place.network_id);
      if (network === undefined) return;
      const scope = chassisScope(place.chassis);
      if (place.answers) answerFor(out, scope, network, address, mac, { arp: "here" });
      const sent = { "reg:net": network.key, eth_dst: mac, ...familyMatch(address), ...ipDst(address) } as const;
      const toPort = setField("eth_dst", port_mac);
      if (mode === "passthrough") {
        out.flow(scope, "local_ip_out", { priority: 100, match: sent, actions: [toPort, next] });
        return;
      }
      const zone = numberOf(view, zonePool, place.chassis, zoneHolderOf(place.port_id));
      if (zone === undefined) return;
      const meter = openedMeter(zone);
      out.item(scope, "meter", meter, OPENED_METER);
      const inZone = { ct_zone: zone, ...familyMatch(address) } as const;
      out.flow(scope, "local_ip_out", { priority: 100, match: sent, actions: [load("router_zone", zone), { type: "ct", zone: "router_zone", nat: {}, then: { table: "local_ip_known" } }] });
      out.flow(scope, "local_ip_known", { priority: 100, match: { ...inZone, ct_state: KNOWN, ...ipDst(port_ip) }, actions: [...ON, toPort, next] });
      out.flow(scope, "local_ip_known", { priority: 100, match: { ...inZone, ct_state: NEW, ...ipDst(address) }, meter, actions: [{ type: "ct", zone: "router_zone", commit: true, nat: { kind: "dst", addr_min: port_ip }, then: { table: "local_ip_opened" } }] });
      out.flow(scope, "local_ip_opened", { priority: 100, match: { ...inZone, ct_state: VALID, ...ipDst(port_ip) }, actions: [...ON, toPort, next] });
      const back = { "reg:in_port_key": port_key, ...familyMatch(port_ip), ...ipSrc(port_ip) } as const;
      out.flow(scope, "local_ip_in", { priority: 100, match: back, actions: [load("router_zone", zone), { type: "ct", zone: "router_zone", nat: {}, then: { table: "local_ip_back" } }] });
      // What is of no connection to the local IP goes on as it came.
      out.flow(scope, "local_ip_back", { priority: 100, match: { ct_zone: zone, ct_state: TRACKED }, actions: [...ON, next] });
    },
  }),
];

const hostAt = (view: ReadView, { port_id, chassis }: PortPlace): Readonly<LocalIpHost> | undefined => {
  const network = view.get(portTable, port_id)?.network_id;
  return network === undefined ? undefined : view.get(localIpHostTable, hereOf(network, chassis));
};
export const portContext: readonly PortContext[] = [{ ingress: (view, place) => hostAt(view, place) !== undefined, egress: (view, place) => hostAt(view, place)?.translates === true }];
