// What is kept of private VLANs: networks that are such, and what ports are in them (RFC 5517 has the words).
import { addressId, addressTable, extraMacs, portTable, singleAddress, type Port } from "../l2/model.ts";
import { definePool, defineTable, draw, isIpv6, type ReadView, type Row, type Tx } from "#app";
import { linkLocal } from "packet-codec";

/** A network in which ports are kept apart. `id` is the network's. */
export type PvlanNetwork = Row;
export const pvlanNetworkTable = defineTable<PvlanNetwork>()("pvlan_network", {});

/** isolated: reaches promiscuous ports alone; community: those of its community too; promiscuous, like ports that say nothing: everybody. */
export const TYPES = ["isolated", "promiscuous", "community"] as const;
export type PvlanType = (typeof TYPES)[number];

/** A port that says what it is. `id` is its own. */
export interface PvlanPort extends Row {
  readonly network_id: string;
  readonly type: PvlanType;
  /** Name of its community; null: it is in none. */
  readonly community: string | null;
  /** Whom it is kept from: PROMISCUOUS, ISOLATED, or the number of its community in the network. */
  readonly class: number;
}
export const PROMISCUOUS = 0;
export const ISOLATED = 1;
export const pvlanPortTable = defineTable<PvlanPort>()("pvlan_port", {
  indexes: {
    network: (p) => p.network_id,
    class: (p) => `${p.network_id}|${p.class}`,
    community: (p) => (p.community === null ? undefined : `${p.network_id}|${p.community}`),
  },
});

/** In each network by itself. */
export const communityNumbers = definePool({
  name: "pvlan-community", of: "key", min: 2, max: 65_535, about: "numbers of communities in each network: `pvlan_class` in the pipeline", taken: (view, network, n) => view.count(pvlanPortTable, "class", `${network}|${n}`) > 0,
});

export function classFor(tx: Tx, networkId: string, type: PvlanType, community: string | null): number {
  if (type !== "community") return type === "isolated" ? ISOLATED : PROMISCUOUS;
  return tx.by(pvlanPortTable, "community", `${networkId}|${community!}`)[0]?.class ?? draw(tx, communityNumbers, networkId);
}

/** Whom a port is kept from. Those that the network itself has are promiscuous. */
export function classOf(view: ReadView, portId: string): number {
  const its = view.get(pvlanPortTable, portId);
  return its === undefined || view.get(pvlanNetworkTable, its.network_id) === undefined ? PROMISCUOUS : its.class;
}

/**
 * An address or MAC of ports that are kept from others (derived): by it senders and receivers are known, on every host of the network. `id` is `<port>/<value>`.
 */
export interface PvlanIdentity extends Row {
  readonly network_id: string;
  readonly class: number;
  /** `mac` or `ip`, "|", the value. */
  readonly key: string;
}
export const pvlanIdentityTable = defineTable<PvlanIdentity>()("pvlan_identity", { derived: true, pairs: { keys: (i) => [i.network_id, i.key] } });

const singlePairs = ({ allowed_address_pairs: pairs }: Port): string[] => pairs.flatMap(({ ip_address }) => singleAddress(ip_address) ?? []);

/** MACs that a port sends from. */
export const macsOf = (port: Port): string[] => [port.mac_address, ...extraMacs(port)];
/** Addresses that it has: its own, those of its pairs that name one, and, where it has IPv6, the link-local ones of its MACs. */
export function addressesOfPort(view: ReadView, port: Port): string[] {
  const known = [...view.by(addressTable, "port", port.id).map((a) => a.ip), ...singlePairs(port)];
  return [...new Set([...known, ...(known.some(isIpv6) ? macsOf(port).map((mac) => linkLocal(mac)) : [])])];
}

/** Whether a port that is kept from nobody has the address as well: then it may be asked for, and sent to. */
export const isOpenly = (view: ReadView, networkId: string, ip: string): boolean =>
  [view.get(addressTable, addressId(networkId, ip))?.port_id, ...view.by(portTable, "pair_ip", `${networkId}|${ip}`).map((p) => p.id)].some((id) => id !== undefined && classOf(view, id) === PROMISCUOUS);
