// Private VLANs as flows. A port that is kept apart has a flow that stops and, in a community, one that lets pass, at either end; its MACs and addresses have one each for all of its network.
import { chassisScope, derivation, each, eachPair, ethType, ipDst, ipProto, isIpv6, load, next, toTable, type PortContext } from "#app";
import { addressTable, attachmentTable, lanScope, networkTable, portTable } from "../l2/model.ts";
import { addressesOfPort, classOf, ISOLATED, isOpenly, macsOf, PROMISCUOUS, pvlanIdentityTable, pvlanNetworkTable, pvlanPortTable, type PvlanIdentity } from "./model.ts";
import { pvlan } from "./tables.ts";

const arp = (ip: string) => ({ eth_type: ethType.arp, arp_tpa: ip }) as const;
/** RFC 4861 section 4.3 */
const solicitation = (ip: string) => ({ eth_type: ethType.ipv6, ip_proto: ipProto.icmpv6, icmpv6_type: 135, ipv6_nd_target: ip }) as const;

export const derive = [
  derivation({
    name: "identity",
    on: each(pvlanPortTable),
    into: pvlanIdentityTable,
    reads: [pvlanNetworkTable, pvlanPortTable, portTable, addressTable],
    derive({ id, network_id }, view): PvlanIdentity[] {
      const port = view.get(portTable, id);
      const its = classOf(view, id);
      if (port === undefined || its === PROMISCUOUS) return [];
      return [...macsOf(port).map((mac) => `mac|${mac}`), ...addressesOfPort(view, port).map((ip) => `ip|${ip}`)].map((key) => ({ id: `${id}/${key}`, network_id, class: its, key }));
    },
  }),
];

const ports = pvlan.rule({
  name: "ports",
  about: "a port that is kept apart where it is: what it sends to others that are, and what these send to it, passes within its community alone",
  on: each(attachmentTable),
  emit({ port_id, port_key, chassis }, view, out) {
    const its = classOf(view, port_id);
    const port = its === PROMISCUOUS ? undefined : view.get(portTable, port_id);
    if (port === undefined) return;
    const scope = chassisScope(chassis);
    const [from, to] = [{ "reg:in_port_key": port_key }, { "reg:out_port_key": port_key }] as const;
    // Who says which address it has, or asks whether somebody has it, names its own.
    for (const ip of addressesOfPort(view, port)) out.flow(scope, "pvlan_out", { priority: 200, match: { ...from, ...(isIpv6(ip) ? solicitation(ip) : arp(ip)) }, actions: [next] });
    out.flow(scope, "pvlan_asked", { priority: 50, match: from, actions: [] });
    out.flow(scope, "pvlan_heard", { priority: 50, match: to, actions: [] });
    if (its === ISOLATED) return;
    out.flow(scope, "pvlan_asked", { priority: 100, match: { ...from, "reg:pvlan_class": its }, actions: [next] });
    out.flow(scope, "pvlan_heard", { priority: 100, match: { ...to, "reg:pvlan_class": its }, actions: [next] });
  },
});

const identities = pvlan.rule({
  name: "identities",
  about: "a MAC or an address of ports that are kept apart, wherever their network is",
  on: eachPair(pvlanIdentityTable, "keys"),
  emit({ a: networkId, b: key }, view, out) {
    const network = view.get(networkTable, networkId);
    const classes = new Set(view.byPair(pvlanIdentityTable, "keys", networkId, key).map((i) => i.class));
    const [only = PROMISCUOUS] = classes;
    if (network === undefined || classes.size === 0) return;
    const [kind, value = ""] = key.split("|");
    // Of a MAC that several may send from nobody can say who did: it is as if it were isolated. An address that one has who may be reached is asked for, and who answers is judged then.
    if (kind === "mac") {
      out.flow(lanScope(networkId), "pvlan_in", { priority: 100, match: { "reg:net": network.key, eth_src: value }, actions: [load("pvlan_class", classes.size === 1 ? only : ISOLATED), toTable("pvlan_heard")] });
      return;
    }
    if (classes.size > 1 || isOpenly(view, networkId, value)) return;
    for (const match of [isIpv6(value) ? solicitation(value) : arp(value), { eth_type: isIpv6(value) ? ethType.ipv6 : ethType.ip, ...ipDst(value) }]) {
      out.flow(lanScope(networkId), "pvlan_out", { priority: 100, match: { "reg:net": network.key, ...match }, actions: [load("pvlan_class", only), toTable("pvlan_asked")] });
    }
  },
});

export const rules = [ports, identities];

const isApart: NonNullable<PortContext["ingress"]> = (view, { port_id }) => classOf(view, port_id) !== PROMISCUOUS;
export const portContext: readonly PortContext[] = [{ ingress: isApart, egress: isApart }];
