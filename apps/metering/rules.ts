// Metering as flows. Packets of one router may be counted under several labels, so each label's rules are a call of their own, and the packet goes on
// afterwards as if nothing had been. Of the rules of a label the narrowest that matches has the packet: it is counted once.
import { callTable, chassisScope, each, ethType, ipDst, ipSrc, load, next, parseCidr, familyMatch, derivation, type Emit, type ReadView } from "#app";
import { gatewayAddressTable, gatewayPassageTable, gatewayPlanTable, routerGatewayTable, type GatewayPassage } from "../gateway/model.ts";
import { networkTable } from "../l2/model.ts";
import { liveRouterTable, routerTable, translationTable, type Translation } from "../l3/model.ts";
import { labelScope, labelsOf, meteringLabelRuleTable, meteringLabelTable, type Direction, type MeteringLabelRule } from "./model.ts";
import { metering } from "./tables.ts";

/** At a host where packets of a router leave by a gateway, or come in by it. */
function atEdge(chassis: string, { router_id, network_id }: { readonly router_id: string; readonly network_id: string }, view: ReadView, out: Emit<typeof metering>): void {
  const row = view.get(routerTable, router_id);
  const router = view.get(liveRouterTable, router_id);
  const network = view.get(networkTable, network_id);
  const labels = row === undefined ? [] : labelsOf(view, row);
  if (router === undefined || network === undefined || labels.length === 0) return;
  const scope = chassisScope(chassis);
  for (const { id } of labels) out.include(scope, labelScope(id));
  const crossing = { "reg:router": router.key, "reg:net": network.key } as const;
  const through = <const T extends "metered_in" | "metered_out">(table: T) => labels.flatMap(({ key }) => [load("metering_label", key), callTable(table)]);
  for (const eth_type of [ethType.ip, ethType.ipv6]) {
    out.flow(scope, "metering_out", { priority: 100, match: { ...crossing, eth_type }, actions: [...through("metered_out"), next] });
    out.flow(scope, "metering_in", { priority: 100, match: { ...crossing, eth_type }, actions: [...through("metered_in"), next] });
  }
}

const labelsAt = (routerId: string, view: ReadView): number => {
  const router = view.get(routerTable, routerId);
  return router === undefined ? 0 : labelsOf(view, router).length;
};

export const derive = [
  derivation({
    name: "passage",
    on: each(routerGatewayTable),
    into: gatewayPassageTable,
    reads: [routerTable, meteringLabelTable],
    derive: ({ id, router_id }, view): GatewayPassage | undefined => (labelsAt(router_id, view) === 0 ? undefined : { id: `metering/${id}`, gateway_id: id, table: metering.entrance("metering_out") }),
  }),
  /** What comes in passes the stage in which it is counted, whether it is translated there or not. */
  derivation({
    name: "entry",
    on: each(routerGatewayTable),
    into: translationTable,
    reads: [routerTable, meteringLabelTable],
    derive: ({ id, router_id, network_id }, view): Translation | undefined => (labelsAt(router_id, view) === 0 ? undefined : { id: `metering/${id}`, router_id, from: network_id }),
  }),
];

const gateways = metering.rule({
  name: "gateways",
  about: "at the hosts of a gateway: what leaves by it and comes in is counted under the labels of its router",
  on: each(gatewayPlanTable),
  emit(plan, view, out) {
    if (plan.kind === "gateway") for (const host of plan.hosts) atEdge(host, plan, view, out);
  },
});

const addresses = metering.rule({
  name: "addresses",
  about: "likewise at hosts that have an address of a gateway's in its place, as of a floating IP",
  on: each(gatewayAddressTable),
  emit({ gateway_id, at = [] }, view, out) {
    const plan = at.length === 0 ? undefined : view.get(gatewayPlanTable, gateway_id);
    if (plan !== undefined) for (const host of at) atEdge(host, plan, view, out);
  },
});

/** Prefixes that a rule matches; undefined: any. */
function sidesOf({ direction, remote_ip_prefix: inside, source_ip_prefix: source, destination_ip_prefix: destination }: MeteringLabelRule): { readonly source: string | undefined; readonly destination: string | undefined } {
  return direction === "egress" ? { source: source ?? inside ?? undefined, destination: destination ?? undefined } : { source: source ?? undefined, destination: destination ?? inside ?? undefined };
}

/** The narrower a rule is, the earlier it has its turn; excluded ones before all others. */
const BITS_MAX = 256;

function count(rule: MeteringLabelRule, key: number, out: Emit<typeof metering>): void {
  const { source, destination } = sidesOf(rule);
  const bits = [source, destination].reduce((all, prefix) => all + (prefix === undefined ? 0 : parseCidr(prefix)!.prefix), 0);
  const isAny = (prefix: string | undefined): prefix is undefined => prefix === undefined || prefix.endsWith("/0");
  const match = { "reg:metering_label": key, ...familyMatch(source ?? destination!), ...(!isAny(source) && ipSrc(source)), ...(!isAny(destination) && ipDst(destination)) };
  out.flow(labelScope(rule.metering_label_id), rule.direction === "ingress" ? "metered_in" : "metered_out", { priority: 10 + bits + (rule.excluded ? BITS_MAX + 1 : 0), match, actions: [] });
}

/** By direction the rule whose flows count, for the app's service. */
export const countingRule: Readonly<Record<Direction, string>> = { ingress: "counted-ingress", egress: "counted-egress" };

const counting = (name: string, about: string, wanted: (rule: MeteringLabelRule) => boolean, counted?: true) => metering.rule({
  name,
  about,
  ...(counted && { counted }),
  on: each(meteringLabelTable),
  emit({ id, key }, view, out) {
    for (const rule of view.by(meteringLabelRuleTable, "label", id)) if (wanted(rule)) count(rule, key, out);
  },
});

export const rules = [
  gateways,
  addresses,
  counting(countingRule.ingress, "what comes in and is counted under a label", (r) => !r.excluded && r.direction === "ingress", true),
  counting(countingRule.egress, "what leaves and is counted under a label", (r) => !r.excluded && r.direction === "egress", true),
  counting("excluded", "what is not counted under a label, though others of its rules match", (r) => r.excluded),
];
