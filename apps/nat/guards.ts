// What floating IPs stand on stays as long as they need it, or they go along.
import { conflict, extendResource, reference, type ReadView, type Tx } from "#app";
import { externalNetworkTable, routerGatewayTable } from "../gateway/model.ts";
import { addressTable, changedOf, deviceOwner, networkResource, networkTable, portResource, portTable, servicePortInUse, type Port } from "../l2/model.ts";
import { routerResource, routerTable } from "../l3/model.ts";
import { disassociate } from "./api.ts";
import { removeForwarding, removeStranded } from "./forwarding-api.ts";
import { floatingIpActiveTable, floatingIpResource, floatingIpTable, portForwardingTable, routersBetween } from "./model.ts";

const ofNetwork = extendResource(networkResource, {
  accesses: {
    access_as_external: {
      *usedBy(view, row) {
        for (const { project_id } of view.by(floatingIpTable, "network", row.id)) yield project_id;
      },
    },
  },
  update(tx, row, changes) {
    if (changes["router:external"] === undefined || tx.get(externalNetworkTable, row.id) !== undefined || tx.count(floatingIpTable, "network", row.id) === 0) return;
    throw conflict("ExternalNetworkInUse", `External network ${row.id} cannot be updated to be made non-external, since it has existing floating IPs.`);
  },
  // Those that lead somewhere keep their network, by their ports.
  removing(tx, row, ctx) {
    const floating = tx.by(floatingIpTable, "network", row.id);
    if (floating.some((f) => f.port_id !== null || tx.count(portForwardingTable, "floatingip", f.id) > 0)) return;
    for (const { id } of floating) ctx.remove(floatingIpResource, id);
  },
});

const ofRouter = extendResource(routerResource, {
  update(tx, row, changes) {
    if (changes.external_gateway_info === undefined && changes.external_gateways === undefined) return;
    for (const { floating_network_id: network } of tx.by(floatingIpTable, "router", row.id)) {
      if (tx.by(routerGatewayTable, "router", row.id).some((g) => g.network_id === network)) continue;
      throw conflict("RouterExternalGatewayInUseByFloatingIp", `Gateway cannot be updated for router ${row.id}, since a gateway to external network ${network} is required by one or more floating IPs.`);
    }
  },
});

/** Each floating IP of a router, as it was before one of its interfaces changed, is still reached by it. */
function checkInterfaces(tx: Tx, routerId: string): void {
  for (const floating of tx.by(floatingIpTable, "router", routerId)) {
    // Where routes lead to it, they may change as well.
    if (floating.by_routes === true) continue;
    const ends = tx.by(portForwardingTable, "floatingip", floating.id).map((f) => [f.internal_port_id, f.internal_ip_address] as const);
    if (floating.port_id !== null && floating.fixed_ip_address !== null) ends.push([floating.port_id, floating.fixed_ip_address]);
    for (const [portId, ip] of ends) {
      const port = tx.get(portTable, portId);
      const subnet = tx.by(addressTable, "port", portId).find((a) => a.ip === ip)?.subnet_id;
      if (port === undefined || subnet === undefined || routersBetween(tx, port, ip, floating.floating_network_id).includes(routerId)) continue;
      throw conflict("RouterInterfaceInUseByFloatingIP", `Router interface for subnet ${subnet} on router ${routerId} cannot be deleted, as it is required by one or more floating IPs.`);
    }
  }
}

const isInterface = (view: ReadView, port: Port): boolean => port.device_owner === deviceOwner.routerInterface && view.get(routerTable, port.device_id) !== undefined;

const holdsFloating = (port: Port, floating: string, changed?: readonly string[]): Error => servicePortInUse(port, `it holds the address of floating IP ${floating}`, changed);

const ofPort = extendResource(portResource, {
  update(tx, row, changes, ctx, before) {
    const held = tx.by(floatingIpTable, "floating_port", row.id)[0];
    const moved = [...(changes.fixed_ips === undefined ? [] : ["fixed_ips"]), ...changedOf(before, row, "device_id", "device_owner", "mac_address")];
    if (held !== undefined && moved.length > 0 && !ctx.internal) throw holdsFloating(before, held.id, moved);
    if (changes.fixed_ips === undefined) return;
    const own = new Set(tx.by(addressTable, "port", row.id).map((a) => a.ip));
    for (const floating of tx.by(floatingIpTable, "port", row.id)) {
      if (floating.fixed_ip_address === null || own.has(floating.fixed_ip_address)) continue;
      disassociate(tx, floating);
      ctx.bump(floatingIpResource, floating.id);
    }
    removeStranded(tx, row.id);
    if (isInterface(tx, row)) checkInterfaces(tx, row.device_id);
  },
  remove(tx, row, ctx) {
    const held = tx.by(floatingIpTable, "floating_port", row.id)[0];
    if (held !== undefined) throw holdsFloating(row, held.id);
    for (const floating of tx.by(floatingIpTable, "port", row.id)) {
      disassociate(tx, floating);
      ctx.bump(floatingIpResource, floating.id);
    }
    for (const forwarding of tx.by(portForwardingTable, "port", row.id)) removeForwarding(tx, forwarding);
    if (isInterface(tx, row)) checkInterfaces(tx, row.device_id);
  },
});

export const extend = [ofNetwork, ofRouter, ofPort];
export const references = [
  reference(floatingIpTable, { to: networkTable, ids: (f) => f.floating_network_id, gone: (tx, f) => tx.delete(floatingIpTable, f.id) }),
  reference(floatingIpTable, { to: portTable, ids: (f) => f.floating_port_id, gone: (tx, f) => tx.delete(floatingIpTable, f.id) }),
  reference(floatingIpTable, { to: portTable, ids: (f) => f.port_id ?? undefined, gone: disassociate }),
  reference(floatingIpTable, { to: routerTable, ids: (f) => f.router_id ?? undefined, gone: disassociate }),
  reference(portForwardingTable, { to: floatingIpTable, ids: (f) => f.floatingip_id, gone: (tx, f) => tx.delete(portForwardingTable, f.id) }),
  reference(portForwardingTable, { to: portTable, ids: (f) => f.internal_port_id, gone: removeForwarding }),
  reference(floatingIpActiveTable, { to: floatingIpTable, ids: (a) => a.id, gone: (tx, a) => tx.delete(floatingIpActiveTable, a.id) }),
];
