// A port asks for a prefix by an extra_dhcp_opt: it is of the subnet pool of the port's own subnet, taken when it is asked for, and given back with the option, the
// port, or its last address of a subnet of that pool.
// The port may send from it (an allowed address pair, by which everybody sees which it is). Nothing waits for the machine: its DHCPv6 client is told what there is.
import { ApiError, badRequest, extendResource, formatCidr, invalidFor, reference, show, type ApiContext, type Mend, type ReadView, type Tx } from "#app";
import { isServed, PREFIX_OPTION } from "../dhcp6/model.ts";
import { portDhcpOptsTable, type DhcpOpt } from "../dhcp/model.ts";
import { subnetResource, subnetTable } from "../ipam/model.ts";
import { ADDRESS_PAIRS_MAX, addressesOf, portResource, portTable, type Port } from "../l2/model.ts";
import { choose, claim, giveUp, pooledSubnetTable, subnetPoolResource, subnetPoolTable, type PooledSubnet } from "../subnet-pools/model.ts";
import { delegatedPrefixTable, type DelegatedPrefix } from "./model.ts";

/** An option, as it is stored, or as a call names it. */
type Named = Pick<DhcpOpt, "ip_version" | "opt_name">;
const isWish = (opt: Named): boolean => opt.ip_version === 6 && opt.opt_name === PREFIX_OPTION;
const wish = (view: ReadView, portId: string): string | undefined => view.get(portDhcpOptsTable, portId)?.opts.find(isWish)?.opt_value;

const lengthOf = (cidr: string): number => Number(cidr.split("/")[1]);

/** The length of the prefix that a port asks for; undefined: none, NaN: what is no length. */
function wished(view: ReadView, portId: string): number | undefined {
  const text = wish(view, portId);
  return text === undefined ? undefined : /^[0-9]{1,3}$/.test(text) ? Number(text) : NaN;
}

/**
 * The subnet from whose pool a port may have a prefix, and by which it is routed to: that by which it has one, as long as it has an address there, else any
 * with DHCPv6 (subnets of a network are of one pool). `without`: one that is about to go.
 */
function sourceOf(view: ReadView, portId: string, without?: string): PooledSubnet | undefined {
  const has = view.get(delegatedPrefixTable, portId);
  const pooled = addressesOf(view, portId, 6).flatMap(({ subnet_id: id }) => {
    const subnet = view.get(subnetTable, id);
    return id !== without && subnet !== undefined && (id === has?.subnet_id || isServed(subnet)) ? (view.get(pooledSubnetTable, id) ?? []) : [];
  });
  return pooled.find((s) => s.id === has?.subnet_id) ?? pooled[0];
}

/** @throws ApiError, before anything is written */
function delegate(tx: Tx, port: Port, prefixlen: number, { id, subnetpool_id }: PooledSubnet, ctx: ApiContext): void {
  const pool = ctx.visible(subnetPoolResource, subnetpool_id);
  const { family, network, prefix } = choose(tx, pool, { cidr: undefined, prefixlen });
  const cidr = claim(tx, pool, port.project_id, formatCidr({ family, address: network, network, prefix }));
  tx.put(delegatedPrefixTable, { id: port.id, subnetpool_id: pool.id, project_id: port.project_id, subnet_id: id, cidr });
}

/** As above, if nothing is against it: nobody asks for a prefix now, so that there is none keeps the port from nothing else. */
function delegateIfFree(tx: Tx, port: Port, prefixlen: number, source: PooledSubnet, ctx: ApiContext): void {
  if (port.port_security_enabled && port.allowed_address_pairs.length >= ADDRESS_PAIRS_MAX) return;
  try {
    delegate(tx, port, prefixlen, source, ctx);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
  }
}

function release(tx: Tx, row: DelegatedPrefix): void {
  tx.delete(delegatedPrefixTable, row.id);
  giveUp(tx, row);
  const port = tx.get(portTable, row.id);
  const pairs = port?.allowed_address_pairs.filter((pair) => pair.ip_address !== row.cidr);
  if (port !== undefined && pairs!.length < port.allowed_address_pairs.length) tx.put(portTable, { ...port, allowed_address_pairs: pairs! });
}

/** A port with port security sends from its prefix, whatever its list of pairs was made to be. @throws ApiError 400 when there are as many pairs as a port may have */
function allowPrefix(tx: Tx, portId: string): void {
  const port = tx.get(portTable, portId)!;
  const cidr = tx.get(delegatedPrefixTable, portId)?.cidr;
  if (cidr === undefined || !port.port_security_enabled || port.allowed_address_pairs.some((pair) => pair.ip_address === cidr)) return;
  if (port.allowed_address_pairs.length >= ADDRESS_PAIRS_MAX) {
    throw badRequest(`The number of allowed address pair exceeds the maximum ${ADDRESS_PAIRS_MAX}: with the prefix ${cidr}, which '${PREFIX_OPTION}' of extra_dhcp_opts asks for, there are ${port.allowed_address_pairs.length + 1} in allowed_address_pairs.`, "AllowedAddressPairExhausted");
  }
  tx.put(portTable, { ...port, allowed_address_pairs: [...port.allowed_address_pairs, { ip_address: cidr, mac_address: port.mac_address }] });
}

/** What a port has and should not: of another length than it asks for, or without an address of its pool. A prefix that it may keep goes by the subnet where it has an address. */
function settle(tx: Tx, portId: string, without?: string): void {
  const has = tx.get(delegatedPrefixTable, portId);
  if (has === undefined) return;
  const source = sourceOf(tx, portId, without);
  if (lengthOf(has.cidr) !== wished(tx, portId) || source?.subnetpool_id !== has.subnetpool_id) release(tx, has);
  else if (source.id !== has.subnet_id) tx.put(delegatedPrefixTable, { ...has, subnet_id: source.id });
}

/** A wish that the port cannot have is refused while it is said; later it is kept, and `problems` of DHCPv6 says that nothing comes of it. */
function adjust(tx: Tx, port: Port, ctx: ApiContext, said: boolean): void {
  const length = wished(tx, port.id);
  const refuse = (why: string): void => {
    if (said) throw invalidFor("extra_dhcp_opts", why);
  };
  settle(tx, port.id);
  if (length !== undefined && tx.get(delegatedPrefixTable, port.id) === undefined) {
    const source = sourceOf(tx, port.id);
    if (Number.isNaN(length)) refuse(`the value of '${PREFIX_OPTION}' is '${show(wish(tx, port.id))}', and must be the length of a prefix`);
    else if (source === undefined) refuse(`'${PREFIX_OPTION}' needs an address of a subnet that has DHCPv6 and is of a subnet pool: prefixes are delegated from that`);
    else (said ? delegate : delegateIfFree)(tx, tx.get(portTable, port.id)!, length, source, ctx);
  }
  allowPrefix(tx, port.id);
}

const ofPort = extendResource(portResource, {
  create: (tx, port, _input, ctx) => adjust(tx, port, ctx, true),
  update(tx, port, changes, ctx) {
    if (changes.extra_dhcp_opts !== undefined || changes.fixed_ips !== undefined) adjust(tx, port, ctx, ((changes.extra_dhcp_opts ?? []) as readonly Named[]).some(isWish));
    else allowPrefix(tx, port.id);
  },
  remove(tx, port) {
    const has = tx.get(delegatedPrefixTable, port.id);
    if (has !== undefined) release(tx, has);
  },
});

/** Addresses that machines make themselves go with their subnet. */
const ofSubnet = extendResource(subnetResource, {
  remove(tx, subnet) {
    for (const { id } of tx.by(delegatedPrefixTable, "subnet", subnet.id).toSorted((a, b) => (a.id < b.id ? -1 : 1))) settle(tx, id, subnet.id);
  },
});

const ofPool = extendResource(subnetPoolResource, {
  remove(tx, pool) {
    if (tx.count(delegatedPrefixTable, "pool", pool.id) > 0) throw badRequest("Unable to delete subnet pool: Subnet pool has existing allocations.", "SubnetPoolDeleteError");
  },
});

export const extend = [ofPort, ofSubnet, ofPool];
export const references = [
  reference(delegatedPrefixTable, { to: portTable, ids: (p) => p.id, gone: release }),
  reference(delegatedPrefixTable, { to: subnetPoolTable, ids: (p) => p.subnetpool_id, gone: release }),
];

/** Of ports that were asked for none, or for another length, or lost their address, while this app was left out. */
export function* mend(view: ReadView): Iterable<Mend> {
  for (const { id, cidr, subnet_id } of view.all(delegatedPrefixTable)) {
    const why = wished(view, id) !== lengthOf(cidr) ? `port ${id} does not ask for prefix ${cidr}` : sourceOf(view, id)?.id !== subnet_id ? `port ${id} has no address of the subnet by which it has prefix ${cidr}` : undefined;
    if (why !== undefined) yield { table: delegatedPrefixTable, id, why, run: (tx) => settle(tx, id) };
  }
}
