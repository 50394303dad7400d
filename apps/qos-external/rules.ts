// Limits of floating IPs and gateways as flows. At the edge egress, as machines see it, is what leaves. A floating IP's policy counts for what is sent to its address and for what leaves from
// where it leads; the gateway's for all else that crosses it, and not for floating IPs without a policy: these may leave from other hosts.
import { chassisScope, claim, claimTable, derivation, each, ethType, ipProto, numberOf, portMatches, toTable, type Claim, type Emit, type ReadView } from "#app";
import { gatewayLimitTable, gatewayPlanTable, routerGatewayTable, sentBy, type GatewayLimit } from "../gateway/model.ts";
import { networkTable, portTable } from "../l2/model.ts";
import { liveRouterTable } from "../l3/model.ts";
import { floatingIpTable, floatingPlaceTable, gatewayOn, portForwardingTable, type FloatingPlace } from "../nat/model.ts";
import { bandwidthLimitTable, bandwidthMeter, directions, limitsOf, packetRateLimitTable, packetsMeter, qosUseTable, type Limits } from "../qos/model.ts";
import { edgeLimitTable, edgeMeters, limitId, meterHolder, policyOfFloatingIp, policyOfGateway, units, type EdgeLimit } from "./model.ts";
import { qosExternal } from "./tables.ts";

const isLimited = (view: ReadView, policy: string): boolean => directions.some((direction) => Object.keys(limitsOf(view, policy, direction)).length > 0);

const POLICIES = [qosUseTable, bandwidthLimitTable, packetRateLimitTable] as const;

/** Numbers for the meters of what is limited, at its hosts. */
const meters = (id: string, hosts: readonly string[], view: ReadView): Claim[] => {
  const limit = view.get(edgeLimitTable, id);
  if (limit === undefined) return [];
  return directions.flatMap((direction) => units.flatMap((unit) => (limitsOf(view, limit.policy_id, direction)[unit] === undefined ? [] : hosts.map((host) => claim("qos-external/meter", edgeMeters, host, meterHolder(id, direction, unit))))));
};

export const derive = [
  // What is limited follows from what the API says alone: where it is depends on the routers' legs, and these on what is limited.
  derivation({
    name: "limited-floating-ip",
    on: each(floatingIpTable),
    into: edgeLimitTable,
    reads: [routerGatewayTable, ...POLICIES],
    derive({ id, router_id, floating_network_id }, view): EdgeLimit | undefined {
      const policy_id = policyOfFloatingIp(view, id);
      const gateway_id = router_id === null ? undefined : gatewayOn(view, router_id, floating_network_id);
      return policy_id === undefined || gateway_id === undefined || !isLimited(view, policy_id) ? undefined : { id: limitId("floatingip", id), gateway_id, policy_id };
    },
  }),
  derivation({
    name: "limited-gateway",
    on: each(routerGatewayTable),
    into: edgeLimitTable,
    reads: [...POLICIES],
    derive({ id }, view): EdgeLimit | undefined {
      const policy_id = policyOfGateway(view, id);
      return policy_id === undefined || !isLimited(view, policy_id) ? undefined : { id: limitId("gateway", id), gateway_id: id, policy_id };
    },
  }),
  derivation({ name: "floating-ip-meters", on: each(floatingPlaceTable), into: claimTable, reads: [edgeLimitTable, ...POLICIES], derive: ({ id, hosts }, view) => meters(limitId("floatingip", id), hosts, view) }),
  derivation({ name: "gateway-meters", on: each(gatewayPlanTable), into: claimTable, reads: [edgeLimitTable, ...POLICIES], derive: ({ id, hosts }, view) => meters(limitId("gateway", id), hosts, view) }),
  derivation({
    name: "limited",
    on: each(routerGatewayTable),
    into: gatewayLimitTable,
    reads: [edgeLimitTable],
    derive: ({ id }, view): GatewayLimit | undefined =>
      view.count(edgeLimitTable, "gateway", id) === 0 ? undefined : { id: `qos-external/${id}`, gateway_id: id, out: qosExternal.entrance("qos_leaves"), in: qosExternal.entrance("qos_enters") },
  }),
];

/** Of what crosses the edge, what a limit is for. */
type Leaving = { readonly "reg:router": number; readonly "reg:net": number; readonly eth_src?: string } | ({ readonly "reg:router": number; readonly "reg:net": number; readonly eth_type: number; readonly ipv4_src: string } & Partial<Record<"ip_proto" | "tcp_src" | "udp_src", number | { readonly value: number; readonly mask: number }>>);
type Entering = { readonly "reg:router": number; readonly "reg:net": number; readonly eth_dst: string } | { readonly "reg:router": number; readonly "reg:net": number; readonly eth_type: number; readonly ipv4_dst: string };
interface Crossing {
  readonly priority: number;
  readonly leaves: readonly Leaving[];
  readonly enters: Entering;
}

/** Undefined while there is no router or network to cross. */
function crossingOf(of: { readonly router_id: string; readonly network_id: string }, view: ReadView): { readonly "reg:router": number; readonly "reg:net": number } | undefined {
  const router = view.get(liveRouterTable, of.router_id);
  const network = view.get(networkTable, of.network_id);
  return router === undefined || network === undefined ? undefined : { "reg:router": router.key, "reg:net": network.key };
}

function ofGateway(id: string, view: ReadView): Crossing | undefined {
  const plan = view.get(gatewayPlanTable, id);
  const mac = view.get(portTable, id)?.mac_address;
  const router = plan === undefined ? undefined : view.get(liveRouterTable, plan.router_id);
  const network = plan === undefined ? undefined : view.get(networkTable, plan.network_id);
  if (plan === undefined || mac === undefined || router === undefined || network === undefined) return undefined;
  return { priority: 50, leaves: [sentBy(plan, router, network, mac, view)], enters: { "reg:router": router.key, "reg:net": network.key, eth_dst: mac } };
}

/** Of a floating IP whose ports are forwarded, what leaves from one of the ports that they lead to. */
function ofFloatingIp(place: FloatingPlace, view: ReadView): Crossing | undefined {
  const crossing = crossingOf(place, view);
  if (crossing === undefined) return undefined;
  const from = { ...crossing, eth_type: ethType.ip } as const;
  const leaves: Leaving[] = place.inside !== null ? [{ ...from, ipv4_src: place.inside }] : view.by(portForwardingTable, "floatingip", place.id).flatMap(({ protocol, internal, internal_ip_address: ipv4_src }) =>
    portMatches(internal.min, internal.max).map((port) => ({ ...from, ipv4_src, ip_proto: ipProto[protocol], [`${protocol}_src`]: port })));
  return { priority: 100, leaves, enters: { ...from, ipv4_dst: place.ip } };
}

/** What passes meters at a host, or, where nothing is asked, none: then no other limit counts for it. */
function pass(host: string, { priority, leaves, enters }: Crossing, id: string, policy: string | undefined, view: ReadView, out: Emit<typeof qosExternal>): void {
  const scope = chassisScope(host);
  for (const direction of directions) {
    const asked: Limits = policy === undefined ? {} : limitsOf(view, policy, direction);
    const meterOf = (unit: (typeof units)[number]): number | undefined => numberOf(view, edgeMeters, host, meterHolder(id, direction, unit));
    const bits = asked.bandwidth === undefined ? undefined : meterOf("bandwidth");
    const packets = asked.packets === undefined ? undefined : meterOf("packets");
    if (bits !== undefined) out.item(scope, "meter", bits, bandwidthMeter(asked.bandwidth!));
    if (packets !== undefined) out.item(scope, "meter", packets, packetsMeter(asked.packets!));
    const first = { priority, ...(bits !== undefined && { meter: bits }) };
    if (direction === "ingress") {
      out.flow(scope, "qos_enters", { ...first, match: enters, actions: packets === undefined ? [] : [toTable("qos_enters_packets")] });
      if (packets !== undefined) out.flow(scope, "qos_enters_packets", { priority, match: enters, meter: packets, actions: [] });
      continue;
    }
    for (const match of leaves) {
      out.flow(scope, "qos_leaves", { ...first, match, actions: packets === undefined ? [] : [toTable("qos_leaves_packets")] });
      if (packets !== undefined) out.flow(scope, "qos_leaves_packets", { priority, match, meter: packets, actions: [] });
    }
  }
}

const gateways = qosExternal.rule({
  name: "gateways",
  about: "the meters of a router's gateway with a QoS policy, at its hosts",
  on: each(gatewayPlanTable),
  emit({ id, hosts }, view, out) {
    const limit = view.get(edgeLimitTable, limitId("gateway", id));
    const crossing = limit === undefined ? undefined : ofGateway(id, view);
    if (limit === undefined || crossing === undefined) return;
    for (const host of hosts) pass(host, crossing, limit.id, limit.policy_id, view, out);
  },
});

const floatingIps = qosExternal.rule({
  name: "floating-ips",
  about: "the meters of a floating IP with a QoS policy where it is translated; one without passes none, whatever its router's gateway has",
  on: each(floatingPlaceTable),
  emit(place, view, out) {
    const limit = view.get(edgeLimitTable, limitId("floatingip", place.id));
    const isExempt = limit === undefined && view.get(edgeLimitTable, limitId("gateway", place.gateway_id)) !== undefined;
    const crossing = limit === undefined && !isExempt ? undefined : ofFloatingIp(place, view);
    if (crossing === undefined) return;
    for (const host of place.hosts) pass(host, crossing, limitId("floatingip", place.id), limit?.policy_id, view, out);
  },
});

export const rules = [gateways, floatingIps];
