// A port asks for a prefix by an extra_dhcp_opt: it is of the subnet pool of the port's own subnet, taken when it is asked for, and given back with the option or the port.
// The port may send from it (an allowed address pair, by which everybody sees which it is). Nothing waits for the machine: its DHCPv6 client is told what there is.
import { badRequest, extendResource, formatCidr, invalidFor, reference, show, type ApiContext, type Mend, type ReadView, type Tx } from "#app";
import { isServed, PREFIX_OPTION } from "../dhcp6/model.ts";
import { portDhcpOptsTable } from "../dhcp/model.ts";
import { subnetTable } from "../ipam/model.ts";
import { addressesOf, portResource, portTable, type Port } from "../l2/model.ts";
import { choose, claim, giveUp, pooledSubnetTable, subnetPoolResource, subnetPoolTable } from "../subnet-pools/model.ts";
import { delegatedPrefixTable, type DelegatedPrefix } from "./model.ts";

const wish = (view: ReadView, portId: string): string | undefined => view.get(portDhcpOptsTable, portId)?.opts.find((opt) => opt.ip_version === 6 && opt.opt_name === PREFIX_OPTION)?.opt_value;

const lengthOf = (cidr: string): number => Number(cidr.split("/")[1]);

/** The length of the prefix that a port asks for; undefined: none. @throws ApiError when it is no number */
function wanted(tx: Tx, portId: string): number | undefined {
  const text = wish(tx, portId);
  if (text === undefined) return undefined;
  if (!/^[0-9]{1,3}$/.test(text)) throw invalidFor("extra_dhcp_opts", `the value of '${PREFIX_OPTION}' is '${show(text)}', and must be the length of a prefix`);
  return Number(text);
}

function delegate(tx: Tx, port: Port, prefixlen: number, ctx: ApiContext): void {
  const subnets = addressesOf(tx, port.id, 6).map((a) => a.subnet_id).filter((id) => isServed(tx.get(subnetTable, id)!));
  const pooled = subnets.map((id) => tx.get(pooledSubnetTable, id)).find((s) => s !== undefined);
  if (pooled === undefined) throw invalidFor("extra_dhcp_opts", `'${PREFIX_OPTION}' needs an address of a subnet that has DHCPv6 and is of a subnet pool: prefixes are delegated from that`);
  const pool = ctx.visible(subnetPoolResource, pooled.subnetpool_id);
  const { family, network, prefix } = choose(tx, pool, { cidr: undefined, prefixlen });
  const cidr = claim(tx, pool, port.project_id, formatCidr({ family, address: network, network, prefix }));
  tx.put(delegatedPrefixTable, { id: port.id, subnetpool_id: pool.id, project_id: port.project_id, subnet_id: pooled.id, cidr });
}

function release(tx: Tx, row: DelegatedPrefix): void {
  tx.delete(delegatedPrefixTable, row.id);
  giveUp(tx, row);
  const port = tx.get(portTable, row.id);
  const pairs = port?.allowed_address_pairs.filter((pair) => pair.ip_address !== row.cidr);
  if (port !== undefined && pairs!.length < port.allowed_address_pairs.length) tx.put(portTable, { ...port, allowed_address_pairs: pairs! });
}

/** A port with port security sends from its prefix, whatever its list of pairs was made to be. */
function allowPrefix(tx: Tx, portId: string): void {
  const port = tx.get(portTable, portId)!;
  const cidr = tx.get(delegatedPrefixTable, portId)?.cidr;
  if (cidr === undefined || !port.port_security_enabled || port.allowed_address_pairs.some((pair) => pair.ip_address === cidr)) return;
  tx.put(portTable, { ...port, allowed_address_pairs: [...port.allowed_address_pairs, { ip_address: cidr, mac_address: port.mac_address }] });
}

function adjust(tx: Tx, port: Port, ctx: ApiContext): void {
  const length = wanted(tx, port.id);
  const has = tx.get(delegatedPrefixTable, port.id);
  const fits = has !== undefined && lengthOf(has.cidr) === length;
  if (has !== undefined && !fits) release(tx, has);
  if (length !== undefined && !fits) delegate(tx, tx.get(portTable, port.id)!, length, ctx);
  allowPrefix(tx, port.id);
}

const ofPort = extendResource(portResource, {
  create: (tx, port, _input, ctx) => adjust(tx, port, ctx),
  update(tx, port, changes, ctx) {
    if (changes.extra_dhcp_opts !== undefined) adjust(tx, port, ctx);
    else allowPrefix(tx, port.id);
  },
  remove(tx, port) {
    const has = tx.get(delegatedPrefixTable, port.id);
    if (has !== undefined) release(tx, has);
  },
});

const ofPool = extendResource(subnetPoolResource, {
  remove(tx, pool) {
    if (tx.count(delegatedPrefixTable, "pool", pool.id) > 0) throw badRequest("Unable to delete subnet pool: Subnet pool has existing allocations.", "SubnetPoolDeleteError");
  },
});

export const extend = [ofPort, ofPool];
export const references = [
  reference(delegatedPrefixTable, { to: portTable, ids: (p) => p.id, gone: release }),
  reference(delegatedPrefixTable, { to: subnetPoolTable, ids: (p) => p.subnetpool_id, gone: release }),
];

/** Of ports that were asked for none, or for another length, while this app was left out. */
export function* mend(view: ReadView): Iterable<Mend> {
  for (const { id, cidr } of view.all(delegatedPrefixTable)) {
    if (Number(wish(view, id)) === lengthOf(cidr)) continue;
    yield {
      table: delegatedPrefixTable, id, why: `port ${id} does not ask for prefix ${cidr}`,
      run(tx) {
        const row = tx.get(delegatedPrefixTable, id);
        if (row !== undefined) release(tx, row);
      },
    };
  }
}
