// Why packets go no further where a router decides.
import { contains, ipProto, parseCidr, parseIp, type Ask, type Explains, type PacketCause, type PacketStop, type ReadView } from "#app";
import { subnetTable } from "../ipam/model.ts";
import { addressesOf, addressId, addressTable, networkTable, portTable } from "../l2/model.ts";
import { routeTable, routerInterfaceTable, routerTable, undelivered, type Router } from "./model.ts";
import { outsideFor } from "./questions.ts";
import { l3 } from "./tables.ts";

export const explains: Explains = {
  *ports(view, type, id) {
    const router = type === "router" ? id : type === "port" ? view.get(routerInterfaceTable, id)?.router_id : undefined;
    if (router !== undefined) for (const network of networksOf(view, router)) for (const port of view.by(portTable, "network", network)) yield port.id;
  },
  *around(view, id) {
    const home = view.get(portTable, id)?.network_id;
    if (home === undefined) return;
    const networks = new Set([home]);
    const routers = new Set<string>();
    // Grows while it is walked: routers of networks of routers.
    for (const network of networks) {
      if (network !== home) for (const port of view.by(portTable, "network", network)) yield port.id;
      for (const { router_id: router } of view.by(routerInterfaceTable, "network", network)) {
        if (routers.has(router)) continue;
        routers.add(router);
        for (const other of networksOf(view, router)) networks.add(other);
      }
    }
  },
  waits: (view, stop) => routerOf(view, stop) !== undefined && stop.did === "punted" && stop.register("undelivered", l3) === undelivered.unresolved,
  cause(view, stop, ask) {
    const router = routerOf(view, stop);
    if (router === undefined) return closedInterface(view, stop);
    if (!stop.table.startsWith("l3_") && stop.app !== "l3") return undefined;
    return ofRouter(view, stop, router, ask);
  },
};

const networksOf = (view: ReadView, router: string): ReadonlySet<string> => new Set(view.by(routerInterfaceTable, "router", router).map((i) => i.network_id));

const routerOf = (view: ReadView, stop: PacketStop): Readonly<Router> | undefined => view.by(routerTable, "key", String(stop.register("router")))[0];

const opened = (type: "router" | "port", id: string): PacketCause => ({
  reason: "admin_state_down", text: `${type} ${id} is closed: its admin_state_up is false`, resources: [{ type, id }],
  cure: { text: "open it", call: { method: "PUT", path: `/v2.0/${type}s/${id}`, body: { [type]: { admin_state_up: true } } } },
});

/** A packet for the MAC of an interface by which nobody enters its router. */
function closedInterface(view: ReadView, stop: PacketStop): PacketCause | undefined {
  const [network] = view.by(networkTable, "key", String(stop.register("net")));
  if (network === undefined) return undefined;
  const mac = stop.field("eth_dst").toString(16).padStart(12, "0").replace(/..(?!$)/g, "$&:");
  for (const port of view.by(portTable, "network_mac", `${network.id}|${mac}`)) {
    const link = view.get(routerInterfaceTable, port.id);
    const router = link === undefined ? undefined : view.get(routerTable, link.router_id);
    if (router === undefined) continue;
    if (!router.admin_state_up) return opened("router", router.id);
    if (!port.admin_state_up) return opened("port", port.id);
  }
  return undefined;
}

function ofRouter(view: ReadView, stop: PacketStop, router: Readonly<Router>, ask: Ask): PacketCause | undefined {
  const resources = [{ type: "router", id: router.id }];
  const to = stop.start?.address ?? "its destination";
  const path = `/v2.0/routers/${router.id}`;
  // What is from outside is of no link either, and may come further: only there is it turned away for that.
  if (stop.table === "l3_route" && stop.did === "dropped" && stop.register("off_link", l3) !== 0) {
    return {
      reason: "port_security", text: `router ${router.id} takes no packets from ${stop.start?.source ?? "such a source"} here: the address is of another of its networks, or of none`, resources,
      cure: { text: "send from an address of the network that the packet comes from" },
    };
  }
  switch (stop.register("undelivered", l3)) {
    case undelivered.expired:
      if (stop.field("ip_ttl") > 1n) return undefined;
      return { reason: "ttl", text: `the packet's time to live ends at router ${router.id}`, resources, cure: { text: "send it with a larger time to live; if it had one, look for a loop among the routes" } };
    case undelivered.noRoute: {
      const family = stop.field("eth_type") === 0x86ddn ? 6 : 4;
      const inside = stop.start?.to !== undefined || view.by(routeTable, "router", router.id).some(({ destination }) => parseCidr(destination)?.family === family && parseCidr(destination)!.prefix === 0);
      const isPrivate = PRIVATE.some((cidr) => parseIp(to) !== undefined && contains(parseCidr(cidr)!, parseIp(to)!));
      if (!inside && !isPrivate) {
        return { reason: "no_gateway", text: `router ${router.id} has no route to ${to}, and no gateway to the outside`, resources, cure: leadOutside(router, ask(outsideFor, view, router.id).flat()) };
      }
      return { reason: "no_route", text: `router ${router.id} has no route to ${to}`, resources, cure: connecting(view, stop, router) };
    }
    case undelivered.unresolved: {
      const hop = stop.register("nexthop");
      if (hop !== to) return { reason: "no_route", text: `router ${router.id} sends what is for ${to} to ${hop}, which nobody is known to have`, resources, cure: { text: "correct the route's next hop, or see why it does not answer", call: { method: "PUT", path: `${path}/remove_extraroutes`, body: { router: { routes: routesBy(router, hop) } } } } };
      if (stop.start?.goal === "none") return undefined;
      return { reason: "unknown_address", text: `router ${router.id} has the network of ${to}, and nobody there has the address`, resources, cure: { text: "see the address, or make the port that is to have it" } };
    }
    case undelivered.tooBig:
    case undelivered.tooBigTranslated:
      return { reason: "mtu", text: `router ${router.id} does not send packets of this size on: the way to ${to} takes ${stop.register("next_mtu", l3)} bytes`, resources, cure: { text: "send smaller packets, as the router tells the sender, or make the networks' MTUs equal" } };
    case undelivered.beyondScope:
      return { reason: "no_route", text: `router ${router.id} does not route link-local addresses`, resources, cure: { text: "use an address that is no link-local one" } };
    case undelivered.notServed:
      return { reason: "not_served", text: `${to} is the router's own, which serves nothing but echo requests (protocol ${ipProto.icmp})`, resources, cure: { text: "ask a machine, not its router" } };
    default:
      return undefined;
  }
}

/** A gateway where there is one network that it can be on alone; else somebody has to choose. */
function leadOutside({ id }: Readonly<Router>, networks: readonly string[]): PacketCause["cure"] {
  const [network_id] = networks;
  if (networks.length !== 1) return { text: "give the router a gateway (external_gateway_info) on an external network with addresses of that family; which one is yours to choose" };
  return { text: "give the router a gateway on the external network", call: { method: "PUT", path: `/v2.0/routers/${id}`, body: { router: { external_gateway_info: { network_id } } } } };
}

/** An interface on the subnet of the port that it is for, where its gateway's address is free for the router. */
function connecting(view: ReadView, { start }: PacketStop, { id }: Readonly<Router>): PacketCause["cure"] {
  const address = start?.to === undefined ? undefined : addressesOf(view, start.to).find(({ ip }) => ip === start.address);
  const subnet = address === undefined ? undefined : view.get(subnetTable, address.subnet_id);
  if (subnet === undefined || subnet.gateway_ip === null || view.get(addressTable, addressId(subnet.network_id, subnet.gateway_ip)) !== undefined) {
    return { text: "connect the router to the subnet of the destination (add_router_interface), or give it a route (add_extraroutes); by which port or next hop is yours to choose" };
  }
  return { text: "connect the router to the subnet of the destination", call: { method: "PUT", path: `/v2.0/routers/${id}/add_router_interface`, body: { subnet_id: subnet.id } } };
}

const routesBy = ({ routes }: Readonly<Router>, hop: string): readonly { readonly destination: string; readonly nexthop: string }[] => routes.filter(({ nexthop }) => nexthop === hop);
/** RFC 1918, RFC 4193. */
const PRIVATE = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];
