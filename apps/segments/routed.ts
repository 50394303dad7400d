// Routed networks: each subnet is on one segment, and a port has addresses of the segment that its host is on. Between segments routes whoever has the
// subnets' gateways on the physical networks.
import {
  answer, badRequest, conflict, extendResource, orNull, reference, type ApiContext, type ApiError, type AppProblem, type LiveView, type ReadView, type Tx,
} from "#app";
import { deferredPortTable, placedSubnets, subnetResource, subnetTable, type Subnet } from "../ipam/model.ts";
import { addressesOf, deviceOwner, isNetworkPort, networkTable, pluggedAt, portBindingTable, portResource, portTable, requestedChassis, type Port } from "../l2/model.ts";
import { networkSegmentTable, segmentResource, segmentsAt, subnetSegmentTable } from "./model.ts";

const ADMIN = "rule:admin_only";

/** Segments of a network's subnets, by subnet; of a network that is not routed none. */
const segmentsOf = (view: ReadView, networkId: string): ReadonlyMap<string, string> => new Map(view.by(subnetSegmentTable, "network", networkId).map((s) => [s.id, s.segment_id]));

/** The host that a port is asked to be at, else the one where it is plugged; "": neither. */
export const hostOf = (view: ReadView, portId: string): string => (view.get(portBindingTable, portId)?.requested_host ?? "") || (pluggedAt(view, portId)?.chassis.id ?? "");

function segmentsAtHost(view: ReadView, networkId: string, host: string): readonly string[] {
  const chassis = requestedChassis(view, host);
  return chassis === undefined ? [] : segmentsAt(view, networkId, chassis);
}

/** Of subnets those that a port may have addresses of at a host when it asked for none: on the first segment there that has any; all, where no subnet is on a segment (any more). */
export function subnetsAt(view: ReadView, networkId: string, host: string, subnets: readonly Subnet[]): readonly Subnet[] {
  const on = segmentsOf(view, networkId);
  if (on.size === 0) return subnets;
  for (const segment of segmentsAtHost(view, networkId, host)) {
    const there = subnets.filter((s) => on.get(s.id) === segment);
    if (there.length > 0) return there;
  }
  return [];
}

const notConnected = (host: string, networkId: string): ApiError => conflict("HostNotConnectedToAnySegment", `Host ${host} is on no segment of routed network ${networkId} that has subnets: there is no address for a port there.`);

/** Whichever host has the gateway may be on another segment than the address. */
const isOutside = ({ device_owner: owner }: Port): boolean => owner === deviceOwner.routerGateway || owner === deviceOwner.floatingIp;
const noGateways = (networkId: string): ApiError => badRequest(`Bad router request: network ${networkId} is routed over several segments, where no gateway of a router and no floating IP can be.`, "BadRequest");
/** @throws ApiError 400 where a routed network is to have a segment more, and there is something on it that works on one alone */
export function checkOneMore(tx: Tx, networkId: string): void {
  if (tx.count(subnetSegmentTable, "network", networkId) > 0 && tx.by(portTable, "network", networkId).some(isOutside)) throw noGateways(networkId);
}

function place(view: ReadView, port: Port, subnets: readonly Subnet[], asked: readonly Subnet[] | undefined): readonly Subnet[] | "later" {
  const on = segmentsOf(view, port.network_id);
  if (on.size === 0) return subnets;
  if (isNetworkPort(port) && view.count(networkSegmentTable, "network", port.network_id) < 2) return subnets;
  if (isOutside(port)) throw noGateways(port.network_id);
  const host = hostOf(view, port.id);
  const segments = new Set((asked ?? []).map((s) => on.get(s.id)));
  if (host === "") {
    if (asked === undefined) return "later";
    if (segments.size > 1) throw badRequest("Addresses of different segments cannot be given to one port.", "FixedIpsSubnetsNotOnSameSegment");
    return subnets.filter((s) => segments.has(on.get(s.id)));
  }
  if (asked !== undefined && asked.length > 0) {
    const here = segmentsAtHost(view, port.network_id, host);
    return subnets.filter((s) => segments.has(on.get(s.id)) && here.includes(on.get(s.id) ?? ""));
  }
  const there = subnetsAt(view, port.network_id, host, subnets);
  if (there.length === 0 && asked === undefined && subnets.length > 0) throw notConnected(host, port.network_id);
  return there;
}
export const answers = [answer(placedSubnets, place)];

/** Whether all addresses of a port are of segments that a host is on. */
export function isCompatible(view: ReadView, port: Pick<Port, "id" | "network_id">, host: string): boolean {
  const on = segmentsOf(view, port.network_id);
  if (on.size === 0) return true;
  const here = segmentsAtHost(view, port.network_id, host);
  return addressesOf(view, port.id).every((a) => {
    const segment = on.get(a.subnet_id);
    return segment === undefined || here.includes(segment);
  });
}

// ---- subnets ----

const notAll = (networkId: string): ApiError => badRequest(`All subnets of network ${networkId} are on segments of it, or none is.`, "SubnetsNotAllAssociatedWithSegments");

function checkSegment(subnet: Subnet, segmentId: string, ctx: ApiContext): void {
  if (ctx.visible(segmentResource, segmentId).network_id === subnet.network_id) return;
  throw badRequest(`The subnet's network ${subnet.network_id} is not that of segment ${segmentId}.`, "NetworkIdsDontMatch");
}

const put = (tx: Tx, { id, network_id }: Subnet, segment_id: string): void => tx.put(subnetSegmentTable, { id, network_id, segment_id });

const ofSubnet = extendResource(subnetResource, {
  attributes: {
    segment_id: {
      type: "uuid|null", about: "The segment of its network that it is on: ports have addresses of it at hosts on that segment alone. null: of all. Set once, on a network of one segment and one subnet, when the subnet is there already.",
      post: true, put: true, default: null, check: orNull({ type: "uuid" }), filter: true, sort: true, alias: "segment", policy: { create: ADMIN, get: ADMIN, update: ADMIN },
    },
  },
  create(tx, row, input, ctx) {
    const segment = (input.segment_id ?? null) as string | null;
    if (segment !== null) {
      checkSegment(row, segment, ctx);
      put(tx, row, segment);
    }
    const on = tx.count(subnetSegmentTable, "network", row.network_id);
    if (on > 0 && on < tx.count(subnetTable, "network", row.network_id)) throw notAll(row.network_id);
  },
  update(tx, row, changes, ctx) {
    const segment = changes.segment_id as string | null | undefined;
    const now = tx.get(subnetSegmentTable, row.id)?.segment_id ?? null;
    if (segment === undefined || segment === now) return;
    if (now !== null || segment === null) throw badRequest("A subnet stays on the segment that it is on.", "SubnetSegmentAssociationChangeNotAllowed");
    if (tx.count(subnetTable, "network", row.network_id) > 1) throw notAll(row.network_id);
    if (tx.count(networkSegmentTable, "network", row.network_id) > 1) {
      throw badRequest(`Network ${row.network_id} has several segments: a subnet that is there can be put on the segment of a network that has one.`, "NoUpdateSubnetWhenMultipleSegmentsOnNetwork");
    }
    checkSegment(row, segment, ctx);
    put(tx, row, segment);
  },
  remove: (tx, row) => tx.delete(subnetSegmentTable, row.id),
  present: (view, { id }) => ({ segment_id: view.get(subnetSegmentTable, id)?.segment_id ?? null }),
});

// ---- ports ----

const ofPort = extendResource(portResource, {
  update(tx, row, changes) {
    const host = changes["binding:host_id"] as string | undefined;
    if (host === undefined || host === "" || isCompatible(tx, row, host)) return;
    throw conflict("HostNotCompatibleWithFixedIps", `Host ${host} is on no segment where the fixed_ips of port ${row.id} are: give the port others, or none.`);
  },
});

export const extend = [ofSubnet, ofPort];
export const references = [
  reference(subnetSegmentTable, { to: subnetTable, ids: (s) => s.id, gone: (tx, s) => tx.delete(subnetSegmentTable, s.id) }),
  reference(subnetSegmentTable, { to: networkSegmentTable, ids: (s) => s.segment_id, gone: (tx, s) => tx.delete(subnetSegmentTable, s.id) }),
];

/** Ports with addresses that are not where they are plugged, and those without an address there. */
export function problems(view: LiveView): readonly AppProblem[] {
  const found: AppProblem[] = [];
  const networks = new Set([...view.all(subnetSegmentTable)].map((s) => s.network_id));
  for (const network of networks) {
    for (const port of view.by(portTable, "network", network)) {
      const at = pluggedAt(view, port.id)?.chassis.id;
      if (at === undefined || isCompatible(view, port, at)) continue;
      found.push({
        kind: "address_of_other_segment", severity: "error", text: `port ${port.id} is plugged on ${at}, which is on no segment where its addresses are: nobody reaches it by them`,
        resources: [{ type: "port", id: port.id, name: port.name }, { type: "network", id: network, name: view.get(networkTable, network)?.name ?? "" }], switches: [at],
        cure: { text: "plug the port at a host of its segment, or give it addresses of the segment there (fixed_ips)" },
      });
    }
  }
  for (const { id, network_id } of view.all(deferredPortTable)) {
    const at = pluggedAt(view, id)?.chassis.id;
    if (at === undefined) continue;
    found.push({
      kind: "no_address_at_segment", severity: "error", text: `port ${id} is plugged on ${at}, where its network has no subnet, or none with a free address: it has no address`,
      resources: [{ type: "port", id, name: view.get(portTable, id)?.name ?? "" }, { type: "network", id: network_id, name: view.get(networkTable, network_id)?.name ?? "" }], switches: [at],
      cure: { text: "make a subnet on the segment of that host (segment_id) with room for it, or plug the port elsewhere" },
    });
  }
  return found.sort((a, b) => (a.text < b.text ? -1 : 1));
}
