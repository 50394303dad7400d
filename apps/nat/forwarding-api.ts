// Port forwardings: ports of a floating IP that lead to ports of others inside, by one router.
import { memberOf, conflict, defineResource, orNull, type ApiContext, type ReadView, type Tx, type Values } from "#app";
import { addressTable, isAnothersPort, portResource, portTable } from "../l2/model.ts";
import { floatingIpActiveTable, floatingIpResource, floatingIpTable, portForwardingResource, portForwardingTable, routerBetween, type FloatingIp, type PortForwarding } from "./model.ts";
import { badForwarding, overlaps, rangeOf, singleOf, sizeOf, textOf, type PortRange } from "./ports.ts";

const MEMBER = memberOf("floatingip:project_id");
const PROTOCOLS = ["tcp", "udp"] as const;

/** Of a floating IP. */
const FORWARDINGS_MAX = 256;
/** Each is flows of its own; a range that keeps its numbers, or becomes one port, is a few. */
const SHIFTED_MAX = 256;
const shifted = ({ internal, external }: Leads): number => (sizeOf(internal) > 1 && external.min !== internal.min ? sizeOf(internal) : 0);

type Leads = Pick<PortForwarding, "protocol" | "internal_port_id" | "internal_ip_address" | "internal" | "external">;

/** @throws ApiError for what cannot be. `id`: it is that one, as it is to be. */
function check(tx: Tx, floating: FloatingIp, id: string, wanted: Leads, ctx: ApiContext): string {
  const { protocol, internal_port_id, internal_ip_address: ip, internal, external } = wanted;
  if (sizeOf(internal) !== 1 && sizeOf(internal) !== sizeOf(external)) throw badForwarding("the ranges of external and internal ports have to be of the same size, unless the internal one is a single port");
  if (floating.port_id !== null) {
    throw conflict("FloatingIPPortAlreadyAssociated", `Cannot forward ports of floating IP ${floating.floating_ip_address} (${floating.id}), as it leads to port ${floating.port_id}.`);
  }
  const port = ctx.visible(portResource, internal_port_id);
  if (isAnothersPort(port, floating, ctx)) throw badForwarding(`port ${port.id} is of another project than floating IP ${floating.id}`);
  if (tx.by(addressTable, "port", port.id).find((a) => a.ip === ip)?.family !== 4) throw badForwarding(`port ${port.id} does not have the IPv4 address ${ip}`);
  const router = routerBetween(tx, port, ip, floating.floating_network_id);
  if (router === undefined) throw badForwarding(`external network ${floating.floating_network_id} is not reachable from port ${port.id}`);
  const others = tx.by(portForwardingTable, "floatingip", floating.id).filter((f) => f.id !== id);
  if (others.length >= FORWARDINGS_MAX) throw badForwarding(`floating IP ${floating.id} has ${FORWARDINGS_MAX} port forwardings, which is the most`);
  if (shifted(wanted) > 0 && [wanted, ...others].reduce((sum, f) => sum + shifted(f), 0) > SHIFTED_MAX) throw badForwarding(`of a floating IP not more than ${SHIFTED_MAX} ports lead by ranges to ports of other numbers`);
  if (others.length > 0 && floating.router_id !== router) throw badForwarding(`floating IP ${floating.id} leads inside by router ${floating.router_id!}`);
  const own = tx.by(floatingIpTable, "port", port.id).find((f) => f.fixed_ip_address === ip && f.floating_network_id === floating.floating_network_id);
  if (own !== undefined) {
    throw conflict("PortHasBindingFloatingIP", `Cannot create port forwarding to floating IP ${own.floating_ip_address} (${own.id}) with port ${port.id} using fixed IP ${ip}, as that port already has a binding floating IP.`);
  }
  if (others.some((f) => f.protocol === protocol && overlaps(f.external, external))) throw badForwarding(`${protocol} ports ${textOf(external)} of floating IP ${floating.id} are forwarded already`);
  const inside = tx.by(portForwardingTable, "port", port.id).filter((f) => f.id !== id && f.internal_ip_address === ip && f.protocol === protocol);
  if (inside.some((f) => overlaps(f.internal, internal))) throw badForwarding(`${protocol} ports ${textOf(internal)} of ${ip} are forwarded to already`);
  return router;
}

const side = (which: "external" | "internal", input: Values): PortRange => rangeOf(which, (input[`${which}_port`] as number | null | undefined) ?? null, (input[`${which}_port_range`] as string | null | undefined) ?? null);
const given = (which: "external" | "internal", changes: Values): boolean => changes[`${which}_port`] !== undefined || changes[`${which}_port_range`] !== undefined;

function setRouter(tx: Tx, floating: FloatingIp, router_id: string | null): void {
  if (floating.router_id !== router_id) tx.put(floatingIpTable, { ...floating, router_id });
}

/** Takes port forwardings away, and what the floating IP is in place for with the last. */
export function removeForwarding(tx: Tx, { id, floatingip_id }: PortForwarding): void {
  tx.delete(portForwardingTable, id);
  const floating = tx.get(floatingIpTable, floatingip_id);
  if (floating === undefined || tx.count(portForwardingTable, "floatingip", floatingip_id) > 0) return;
  setRouter(tx, floating, null);
  tx.delete(floatingIpActiveTable, floatingip_id);
}

export const shownForwardings = (view: ReadView, floatingId: string): Record<string, unknown>[] =>
  view.by(portForwardingTable, "floatingip", floatingId).toSorted((a, b) => (a.id < b.id ? -1 : 1)).map((f) => ({
    id: f.id, protocol: f.protocol, internal_ip_address: f.internal_ip_address, internal_port_id: f.internal_port_id, ...presentPorts(f),
  }));
const presentPorts = ({ internal, external }: PortForwarding): Record<string, unknown> => ({
  internal_port: singleOf(internal), internal_port_range: textOf(internal), external_port: singleOf(external), external_port_range: textOf(external),
});

const forwardingRange = { type: "string", post: true, put: true, default: null, check: orNull({ type: "string", max: 11 }), alias: "floating-ip-port-forwarding-port-ranges" } as const;
const forwardingPort = { type: "integer", post: true, put: true, default: null, check: orNull({ range: [1, 65_535] }) } as const;

export const portForwarding = defineResource(portForwardingResource, {
  collection: "port_forwardings",
  about: "Ports of a floating IP that lead to ports of an address inside.",
  alias: "floating-ip-port-forwarding",
  parent: { resource: floatingIpResource, attribute: "floatingip_id" },
  table: portForwardingTable,
  standard: ["id", "description"],
  notFound: { type: "PortForwardingNotFound", message: (id) => `Port Forwarding ${id} could not be found.` },
  attributes: {
    floatingip_id: { type: "uuid", about: "The floating IP.", post: true, required: true, visible: false, index: "floatingip" },
    protocol: { type: "string", about: "tcp or udp.", post: true, put: true, required: true, check: { enum: PROTOCOLS, anyCase: true }, filter: true, sort: true },
    external_port: { ...forwardingPort, about: "Port of the floating IP; null of several.", filter: true, sort: true },
    external_port_range: { ...forwardingRange, about: "Ports of the floating IP, \"a:b\".", filter: true, sort: true },
    internal_port_id: { type: "uuid", about: "Port that they lead to.", post: true, put: true, required: true, filter: true, sort: true },
    internal_ip_address: { type: "string", about: "Its address.", post: true, put: true, required: true, check: { type: "ip" } },
    internal_port: { ...forwardingPort, about: "Port of that address; null of several." },
    internal_port_range: { ...forwardingRange, about: "Ports of that address, \"a:b\": as many as outside, or one." },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(floatingip:project_id)s)", update: MEMBER, delete: MEMBER },
  relations: { "floatingip:project_id": (row, view) => view.get(floatingIpTable, row.floatingip_id)?.project_id },
  create(tx, { id, description }, input, ctx) {
    const floating = tx.get(floatingIpTable, input.floatingip_id as string)!;
    const leads: Leads = {
      protocol: input.protocol as PortForwarding["protocol"], internal_port_id: input.internal_port_id as string, internal_ip_address: input.internal_ip_address as string, internal: side("internal", input), external: side("external", input),
    };
    setRouter(tx, floating, check(tx, floating, id, leads, ctx));
    const row: PortForwarding = { id, description, floatingip_id: floating.id, ...leads };
    tx.put(portForwardingTable, row);
    ctx.bump(floatingIpResource, floating.id);
    return row;
  },
  update(tx, row, changes, ctx) {
    const floating = tx.get(floatingIpTable, row.floatingip_id)!;
    const after: PortForwarding = {
      ...row,
      ...(changes.protocol !== undefined && { protocol: changes.protocol as PortForwarding["protocol"] }),
      ...(changes.internal_port_id !== undefined && { internal_port_id: changes.internal_port_id as string }),
      ...(changes.internal_ip_address !== undefined && { internal_ip_address: changes.internal_ip_address as string }),
      ...(given("internal", changes) && { internal: side("internal", changes) }),
      ...(given("external", changes) && { external: side("external", changes) }),
    };
    setRouter(tx, floating, check(tx, floating, row.id, after, ctx));
    tx.put(portForwardingTable, after);
    ctx.bump(floatingIpResource, floating.id);
    return after;
  },
  remove(tx, row, ctx) {
    removeForwarding(tx, row);
    ctx.bump(floatingIpResource, row.floatingip_id);
  },
  present: (_view, row) => presentPorts(row),
});

/** Those to a port that is gone, or to an address that it has no more. */
export function removeStranded(tx: Tx, portId: string): void {
  const own = new Set(tx.get(portTable, portId) === undefined ? [] : tx.by(addressTable, "port", portId).map((a) => a.ip));
  for (const forwarding of tx.by(portForwardingTable, "port", portId)) if (!own.has(forwarding.internal_ip_address)) removeForwarding(tx, forwarding);
}
