// pvlan of networks, pvlan_type and pvlan_community of ports.
import { badRequest, extendResource, forgetPart, memberOf, orNull, reference, type Alias, type Tx, type Values } from "#app";
import { isNetworkPort, networkResource, networkTable, portResource, portTable, type Network, type Port } from "../l2/model.ts";
import { classFor, communityNumbers, pvlanNetworkTable, pvlanPortTable, TYPES, type PvlanType } from "./model.ts";

const MEMBER = memberOf();
const READER = "rule:admin_only or (role:reader and project_id:%(project_id)s)";
const RULES = { create: MEMBER, get: READER, update: MEMBER } as const;

// ---- networks ----

function keepNetwork(tx: Tx, { id, port_security_enabled: secured }: Network, wanted: boolean | undefined): void {
  const is = wanted ?? tx.get(pvlanNetworkTable, id) !== undefined;
  if (is && !secured) throw badRequest(`Network ${id} cannot have pvlan: its port_security_enabled is false.`, "PVLANNetworkPortSecurityDisabled");
  if (wanted === true) tx.put(pvlanNetworkTable, { id });
  else if (wanted === false && tx.get(pvlanNetworkTable, id) !== undefined) tx.delete(pvlanNetworkTable, id);
}

const ofNetwork = extendResource(networkResource, {
  attributes: { pvlan: { type: "boolean", about: "Its ports may be kept apart, by their pvlan_type; false: what these say does not count.", post: true, put: true, default: false, alias: "pvlan", policy: RULES } },
  create: (tx, row, input) => keepNetwork(tx, row, input.pvlan === true ? true : undefined),
  update: (tx, row, changes) => keepNetwork(tx, row, changes.pvlan as boolean | undefined),
  remove(tx, { id }) {
    if (tx.get(pvlanNetworkTable, id) !== undefined) tx.delete(pvlanNetworkTable, id);
    forgetPart(tx, communityNumbers, id);
  },
  present: (view, { id }) => ({ pvlan: view.get(pvlanNetworkTable, id) !== undefined }),
});

// ---- ports ----

interface Said {
  readonly pvlan_type?: PvlanType | null;
  readonly pvlan_community?: string | null;
}

function keepPort(tx: Tx, port: Port, { pvlan_type, pvlan_community }: Said): void {
  const { id, network_id } = port;
  const before = tx.get(pvlanPortTable, id);
  const type = pvlan_type === undefined ? (before?.type ?? null) : pvlan_type;
  // Another type has no community, unless one is said.
  const community = pvlan_community === undefined ? (type === "community" ? (before?.community ?? null) : null) : pvlan_community;
  if (type !== "community" && community !== null) throw badRequest(`pvlan_community cannot be set of port ${id}: its pvlan_type is not community.`, "PVLANCannotSetCommunityName");
  if (type === null) {
    if (before !== undefined) tx.delete(pvlanPortTable, id);
    return;
  }
  if (pvlan_type !== undefined && tx.get(pvlanNetworkTable, network_id) === undefined) throw badRequest(`pvlan_type cannot be set: network ${network_id} has no pvlan.`, "PVLANNotEnabledOnNetwork");
  if (type === "community" && community === null) throw badRequest(`pvlan_community is required of port ${id}: its pvlan_type is community.`, "PVLANCommunityNameRequired");
  if (type !== "promiscuous" && isNetworkPort(port)) throw badRequest(`pvlan_type ${type} is not supported of port ${id}: ports of the network's own are promiscuous.`, "PVLANUnsupportedType");
  // Who sends is known by its MAC.
  if (type !== "promiscuous" && !port.port_security_enabled) throw badRequest(`Port ${id} cannot have pvlan_type ${type}: its port_security_enabled is false.`, "PVLANPortSecurityDisabled");
  if (before?.type === type && before.community === community) return;
  tx.put(pvlanPortTable, { id, network_id, type, community, class: classFor(tx, network_id, type, community) });
}

const ofPort = extendResource(portResource, {
  attributes: {
    pvlan_type: { type: "string", about: "In a network with pvlan: isolated ports reach promiscuous ones alone, those of a community each other as well; null: as promiscuous.", post: true, put: true, default: null, check: { enum: [...TYPES, null] }, filter: true, alias: "pvlan", policy: RULES },
    pvlan_community: {
      type: "string", about: "The name of its community, which is of its network.", post: true, put: true, default: null, check: orNull({ type: "string", max: 232, pattern: "[a-zA-Z_.][a-zA-Z_.0-9]{0,231}", is: "a name of letters, digits, `_` and `.` that begins with no digit" }), alias: "pvlan", policy: RULES,
    },
  },
  create: (tx, row, input) => keepPort(tx, row, input as Said),
  update: (tx, row, changes) => keepPort(tx, row, changes as Said),
  remove(tx, { id }) {
    if (tx.get(pvlanPortTable, id) !== undefined) tx.delete(pvlanPortTable, id);
  },
  present(view, { id }): Values {
    const its = view.get(pvlanPortTable, id);
    return { pvlan_type: its?.type ?? null, pvlan_community: its?.community ?? null };
  },
});

export const extend = [ofNetwork, ofPort];
export const references = [
  reference(pvlanNetworkTable, { to: networkTable, ids: (n) => n.id, gone: (tx, n) => tx.delete(pvlanNetworkTable, n.id) }),
  reference(pvlanPortTable, { to: portTable, ids: (p) => p.id, gone: (tx, p) => tx.delete(pvlanPortTable, p.id) }),
];
export const aliases: readonly Alias[] = [{ alias: "pvlan", name: "Private VLAN", description: "Ports of a network are kept apart: isolated, in communities, or reached by all.", updated: "2026-01-01T00:00:00-00:00" }];
