// The gateways of a router as rows: made, changed, found by what a caller says of them, and taken away. The first is the one that
// `external_gateway_info` shows; the order of the others means nothing to callers.
import { badRequest, chassisTable, conflict, type ApiContext, type Check, type ReadView, type Tx, type Values } from "#app";
import { addressTable, deviceOwner, networkResource, portResource } from "../../l2/model.ts";
import { badRouter, checkNewPrefix, interfaceOf, routerLinkTable, type Router } from "../../l3/model.ts";
import { checkNotNextHop, gatewaySaid, leadsOutside, routerGatewayTable, routerGatewaysOf, type RouterGateway } from "../model.ts";
import { rank } from "../placement.ts";

interface FixedIp {
  readonly subnet_id?: string;
  readonly ip_address?: string;
}
export interface GatewayInfo extends Values {
  readonly network_id: string;
  readonly enable_snat?: boolean;
  readonly external_fixed_ips?: readonly FixedIp[];
}

export const gatewayInfo: Check = {
  more: "gateway-info",
  dict: {
    network_id: { check: { type: "uuid" }, required: true },
    enable_snat: { check: { type: "boolean" } },
    external_fixed_ips: { check: { null: undefined, else: { convert: "fixed-ips" } } },
  },
};

/** As many gateways has a router at most. */
export const GATEWAYS_MAX = 16;

const unableToAdd = (routerId: string): Error => badRequest(`Unable to add extra gateways to a router ${routerId}: it has ${GATEWAYS_MAX}, which is the most.`, "UnableToAddExtraGateways");
export const unableToRemove = (routerId: string): Error => badRequest(`Unable to remove extra gateways from a router ${routerId}: it has none.`, "UnableToRemoveGateways");
export const unableToMatch = (routerId: string, why: string): Error => badRequest(`Unable to match a requested gateway port to existing gateway ports for router ${routerId}: ${why}.`, "UnableToMatchGateways");

const fixedIpsOf = ({ external_fixed_ips: given }: GatewayInfo): readonly FixedIp[] => given ?? [];

/** Addresses that are no next hop's, of subnets that the router does not know by another network. Several gateways may be on one subnet. */
function checkGateway(tx: Tx, routerId: string, portId: string): void {
  const gateway = interfaceOf(tx, portId)!;
  if (gateway.addresses.length === 0) throw conflict("IpAddressGenerationFailure", `No more IP addresses available on network ${gateway.port.network_id}.`);
  for (const address of gateway.addresses) checkNotNextHop(tx, address);
  const there = new Set(routerGatewaysOf(tx, routerId).flatMap((g) => (g.network_id === gateway.port.network_id ? [g.id] : [])));
  for (const subnet of gateway.subnets) checkNewPrefix(tx, routerId, subnet, there.add(portId));
}

function externalNetwork(tx: Tx, networkId: string, ctx: ApiContext): string {
  const network = ctx.visible(networkResource, networkId);
  if (!leadsOutside(tx, network, ctx)) throw badRouter(`Network ${network.id} is not an external network`);
  return network.id;
}

/** So many hosts that are being drained does a new gateway avoid, those that it would be on first. */
const AVOIDS_MAX = 64;

function drainedFor(tx: Tx, portId: string): Pick<RouterGateway, "avoids"> {
  const avoids = rank(portId, tx.by(chassisTable, "draining", "").map((c) => c.id), undefined, AVOIDS_MAX);
  return avoids.length === 0 ? {} : { avoids };
}

/** One more, after those that there are, or at a place. */
export function addGateway(tx: Tx, router: Router, info: GatewayInfo, ctx: ApiContext, at?: number): void {
  const network_id = externalNetwork(tx, info.network_id, ctx);
  const others = routerGatewaysOf(tx, router.id);
  if (others.length >= GATEWAYS_MAX) throw unableToAdd(router.id);
  const fixed = fixedIpsOf(info);
  const port = ctx.create(portResource, {
    project_id: "", network_id, device_id: router.id, device_owner: deviceOwner.routerGateway, admin_state_up: true, ...(fixed.length > 0 && { fixed_ips: fixed }),
  });
  checkGateway(tx, router.id, port.id);
  const last = others.at(-1)?.position ?? -1;
  const gateway: RouterGateway = { id: port.id, router_id: router.id, network_id, position: at ?? last + 1, enable_snat: info.enable_snat ?? true, ...drainedFor(tx, port.id) };
  tx.put(routerGatewayTable, gateway);
  tx.put(routerLinkTable, { id: port.id, router_id: router.id });
  ctx.ask(gatewaySaid, tx, gateway, info, ctx);
}

/** What is said of it; the port stays. */
export function changeGateway(tx: Tx, gateway: RouterGateway, info: GatewayInfo, ctx: ApiContext): void {
  ctx.ask(gatewaySaid, tx, gateway, info, ctx);
  if (info.enable_snat !== undefined && info.enable_snat !== gateway.enable_snat) tx.put(routerGatewayTable, { ...gateway, enable_snat: info.enable_snat });
  // Any address is as good as none said.
  if (fixedIpsOf(info).length === 0) return;
  ctx.update(portResource, gateway.id, { fixed_ips: info.external_fixed_ips });
  checkGateway(tx, gateway.router_id, gateway.id);
}

/** Without the first, the next takes its place. */
export function removeGateways(tx: Tx, routerId: string, ids: Iterable<string>, ctx: ApiContext): void {
  for (const id of ids) ctx.remove(portResource, id);
  const first = routerGatewaysOf(tx, routerId)[0];
  if (first !== undefined && first.position !== 0) tx.put(routerGatewayTable, { ...first, position: 0 });
}

/** Makes it the first; the one that was is where it was. */
export function putFirst(tx: Tx, id: string): void {
  const gateway = tx.get(routerGatewayTable, id)!;
  if (gateway.position === 0) return;
  const first = routerGatewaysOf(tx, gateway.router_id).find((g) => g.position === 0);
  if (first !== undefined) tx.put(routerGatewayTable, { ...first, position: gateway.position });
  tx.put(routerGatewayTable, { ...gateway, position: 0 });
}

/**
 * The gateway that a caller means: of several on the network the one with any of the addresses, or on any of the subnets, that he names.
 * `but`: not these. Undefined: there is none.
 * @throws ApiError 400 UnableToMatchGateways if he names nothing, and there are several
 */
export function matching(view: ReadView, routerId: string, info: GatewayInfo, but: ReadonlySet<string> = new Set()): RouterGateway | undefined {
  const there = routerGatewaysOf(view, routerId).filter((g) => g.network_id === info.network_id && !but.has(g.id));
  const named = fixedIpsOf(info);
  if (named.length === 0) {
    if (there.length > 1) throw unableToMatch(routerId, `several gateways are on network ${info.network_id}, and external_fixed_ips does not say which`);
    return there[0];
  }
  return there.find(({ id }) => view.by(addressTable, "port", id).some((a) => named.some((f) => (f.ip_address === undefined ? f.subnet_id === a.subnet_id : f.ip_address === a.ip))));
}
