// Subnet pools, and what they add to subnets: a prefix that the pool chooses or owns.
import {
  AUTO, badRequest, bitsOf, defineResource, extendResource, forbidden, formatCidr, invalidFor, invalidInput, makeCheck, orNull, parseCidr, reference,
  type Action, type Alias, type ApiContext, type Check, type Cidr, type Converter, type ReadView, type Tx, type Values,
} from "#app";
import { subnetResource, subnetTable, type Subnet } from "../ipam/model.ts";
import { networkResource } from "../l2/model.ts";
import { allocate, choose, cidrsOf, giveUpAll, projectsWith, release } from "./allocation.ts";
import { pooledSubnetTable, subnetPoolResource, subnetPoolTable, type SubnetPool } from "./pools.ts";
import { compact, subtract, within } from "./prefixes.ts";
import { isFree, reshape } from "./space.ts";

const MEMBER = "rule:admin_only or (role:member and project_id:%(project_id)s)";
const ADMIN = "rule:admin_only";

/** Of a pool, and of one call. */
const PREFIXES_MAX = 256;
const PREFIXES: Check = { list: { type: "prefix" }, unique: true, max: PREFIXES_MAX };
const NUMBER: Check = { range: [0, 2 ** 31 - 1] };
const PREFIX_DELEGATION = "prefix_delegation";

// ---- what a pool may be ----

interface Bounds {
  readonly default_prefixlen: number;
  readonly min_prefixlen: number;
  readonly max_prefixlen: number;
}

function checkBounds(version: 4 | 6, { default_prefixlen: length, min_prefixlen: min, max_prefixlen: max }: Bounds): void {
  const illegal = (name: string, value: number, other: string, bound: number): Error => badRequest(`Illegal prefix bounds: ${name}=${value}, ${other}=${bound}.`, "IllegalSubnetPoolPrefixBounds");
  if (max > bitsOf(version)) throw illegal("max_prefixlen", max, "ip_version_max", bitsOf(version));
  if (min > max) throw illegal("min_prefixlen", min, "max_prefixlen", max);
  if (length < min) throw illegal("default_prefixlen", length, "min_prefixlen", min);
  if (length > max) throw illegal("default_prefixlen", length, "max_prefixlen", max);
}

/** Of one family, in their one form. */
function compacted(cidrs: readonly Cidr[]): Cidr[] {
  const [first] = cidrs;
  if (first === undefined) throw badRequest("Empty subnet pool prefix list.", "EmptySubnetPoolPrefixList");
  if (cidrs.some((c) => c.family !== first.family)) throw badRequest("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", "PrefixVersionMismatch");
  const prefixes = compact(cidrs);
  const [all] = prefixes;
  if (all?.prefix === 0) throw invalidFor("prefixes", `'${formatCidr(all)}' is every address there is`);
  if (prefixes.length > PREFIXES_MAX) throw invalidFor("prefixes", `A subnet pool has ${PREFIXES_MAX} prefixes at most; this one would have more`);
  return prefixes;
}

function checkDefault(view: ReadView, pool: SubnetPool): void {
  if (!pool.is_default) return;
  const other = view.by(subnetPoolTable, "default", String(pool.ip_version)).find((p) => p.id !== pool.id);
  if (other !== undefined) throw invalidInput(`A default subnetpool for IPv${pool.ip_version} already exists. Only one default may exist per IP family`);
}

const illegalUpdate = (why: string): Error => badRequest(`Illegal update to prefixes: ${why}.`, "IllegalSubnetPoolPrefixUpdate");

/** @throws ApiError if something is taken that would not be the pool's any more */
function withPrefixes(tx: Tx, pool: SubnetPool, cidrs: readonly Cidr[]): SubnetPool {
  const after = compacted(cidrs);
  if (after[0]!.family !== pool.ip_version) throw badRequest("Cannot mix IPv4 and IPv6 prefixes in a subnet pool.", "PrefixVersionMismatch");
  if (!reshape(tx, pool.id, cidrsOf(pool.prefixes), after)) throw illegalUpdate("subnets are allocated from what would not be the pool's any more");
  return { ...pool, prefixes: after.map(formatCidr) };
}

/** A change of some prefixes, answered by those that there are then. */
const change = (about: string, rule: string, after: (before: readonly Cidr[], given: readonly Cidr[]) => readonly Cidr[]): Action<SubnetPool> => ({
  about,
  policy: MEMBER,
  rule,
  check: { dict: { prefixes: { check: PREFIXES, required: true } } },
  answers: { prefixes: { list: { type: "prefix" } } },
  run(_tx, row, body, ctx) {
    const given = cidrsOf(body.prefixes as readonly string[]);
    const prefixes = after(cidrsOf(row.prefixes), given.length === 0 ? [] : compacted(given)).map(formatCidr);
    return { prefixes: ctx.update(subnetPoolResource, row.id, { prefixes }).prefixes };
  },
});

// ---- subnets that are there become a pool's ----

const affinity = (): Error => badRequest("Subnets hosted on the same network must be allocated from the same subnet pool.", "NetworkSubnetPoolAffinityError");

function onboard(tx: Tx, pool: SubnetPool, networkId: string, ctx: ApiContext): unknown {
  const network = ctx.visible(networkResource, networkId);
  if (network.project_id !== ctx.caller.projectId && !ctx.caller.admin) throw forbidden("PolicyNotAuthorized", "rule:onboard_network_subnets is disallowed by policy");
  const subnets = tx.by(subnetTable, "network", network.id).filter((s) => s.ip_version === pool.ip_version).sort((a, b) => (a.id < b.id ? -1 : 1));
  const pools = subnets.map((s) => tx.get(pooledSubnetTable, s.id)?.subnetpool_id);
  if (pools.some((p) => p !== undefined && p !== pool.id)) throw affinity();
  const taken = subnets.filter((_, i) => pools[i] === undefined);
  if (taken.length === 0) return { subnets: [] };
  const cidrs = taken.map((s) => parseCidr(s.cidr)!);
  const after = ctx.update(subnetPoolResource, pool.id, { prefixes: [...cidrsOf(pool.prefixes), ...cidrs].map(formatCidr) });
  taken.forEach((subnet, i) => {
    if (!isFree(tx, pool.id, cidrsOf(after.prefixes), cidrs[i]!)) {
      throw badRequest(`Illegal subnetpool update : The subnet ${subnet.cidr} overlaps with one that is allocated from subnetpool ${pool.id}.`, "IllegalSubnetPoolUpdate");
    }
    allocate(tx, after, subnet);
    ctx.bump(subnetResource, subnet.id);
  });
  return { subnets: taken.map(({ id, cidr }) => ({ id, cidr })) };
}

// ---- subnet pools ----

const CHANGEABLE = ["prefixes", "default_prefixlen", "min_prefixlen", "max_prefixlen", "default_quota", "is_default"] as const;

const subnetPool = defineResource(subnetPoolResource, {
  collection: "subnetpools",
  about: "Prefixes from which subnets take theirs.",
  table: subnetPoolTable,
  quota: { default: -1 },
  notFound: { type: "SubnetPoolNotFound", message: (id) => `Subnet pool ${id} could not be found.` },
  attributes: {
    name: { type: "string", about: "For people; need not be unique.", post: true, put: true, required: true, default: AUTO, check: { type: "string", blank: false }, filter: true, sort: true },
    prefixes: { type: "string[]", about: "Of one family; neighbours are put together. None may be taken away by a change that subnets are from.", post: true, put: true, required: true, check: PREFIXES },
    default_quota: { type: "integer", about: "What a project may have of it: addresses, of IPv6 /64s; null: as much as there is.", post: true, put: true, default: null, check: orNull(NUMBER), filter: true, sort: true },
    ip_version: { type: "integer", about: "That of its prefixes.", filter: true, sort: true },
    default_prefixlen: { type: "integer", about: "Prefix length of subnets that ask for none; absent: min_prefixlen.", post: true, put: true, default: AUTO, check: NUMBER, filter: true, sort: true },
    min_prefixlen: { type: "integer", about: "Of the largest subnets; absent: 8, of IPv6 64.", post: true, put: true, default: AUTO, check: NUMBER, filter: true, sort: true },
    max_prefixlen: { type: "integer", about: "Of the smallest subnets; absent: 32, of IPv6 128.", post: true, put: true, default: AUTO, check: NUMBER, filter: true, sort: true },
    is_default: { type: "boolean", about: "For `use_default_subnetpool` of those who may use it; one of each family.", post: true, put: true, default: false, filter: true, sort: true, policy: { create: ADMIN, update: ADMIN } },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:shared_subnetpools", update: MEMBER, delete: MEMBER },
  relations: { "subnetpool:shared": () => false },
  reach: { "subnetpool:shared": () => [] },
  shareable: { shownBy: "subnet_allocation", givenBy: ADMIN, table: subnetPoolTable, usedBy: (view, row) => projectsWith(view, row.id) },
  bulk: true,

  create(tx, standard, input) {
    const prefixes = compacted(cidrsOf(input.prefixes as readonly string[]));
    const version = prefixes[0]!.family;
    const min = (input.min_prefixlen as number | undefined) ?? (version === 4 ? 8 : 64);
    const row: SubnetPool = {
      ip_version: version,
      prefixes: prefixes.map(formatCidr),
      default_prefixlen: (input.default_prefixlen as number | undefined) ?? min,
      min_prefixlen: min,
      max_prefixlen: (input.max_prefixlen as number | undefined) ?? bitsOf(version),
      default_quota: input.default_quota as number | null,
      is_default: input.is_default as boolean,
      ...standard,
    };
    checkBounds(version, row);
    checkDefault(tx, row);
    tx.put(subnetPoolTable, row);
    return row;
  },

  update(tx, row, changes, ctx) {
    // Other apps' attributes are among the changes, and theirs to keep.
    const { prefixes, ...others } = Object.fromEntries(CHANGEABLE.filter((name) => changes[name] !== undefined).map((name) => [name, changes[name]])) as Partial<SubnetPool>;
    let after: SubnetPool = { ...row, ...others };
    if (prefixes !== undefined) {
      const given = compacted(cidrsOf(prefixes));
      if (!ctx.internal && !within(cidrsOf(row.prefixes), given)) throw illegalUpdate("existing prefixes must be a subset of the new prefixes");
      after = withPrefixes(tx, after, given);
    }
    checkBounds(row.ip_version, after);
    checkDefault(tx, after);
    tx.put(subnetPoolTable, after);
    return after;
  },

  remove(tx, row) {
    if (tx.count(pooledSubnetTable, "pool", row.id) > 0) throw badRequest("Unable to delete subnet pool: Subnet pool has existing allocations.", "SubnetPoolDeleteError");
    giveUpAll(tx, row);
    tx.delete(subnetPoolTable, row.id);
  },

  actions: {
    add_prefixes: change("Adds prefixes.", "add_prefixes", (before, given) => [...before, ...given]),
    remove_prefixes: change("Takes prefixes away of which no subnet is.", "remove_prefixes", (before, given) => subtract(before, given, PREFIXES_MAX)),
    onboard_network_subnets: {
      about: "Makes the subnets of a network the pool's, with their prefixes.",
      policy: MEMBER,
      check: { dict: { network_id: { check: { type: "uuid" }, required: true } } },
      answers: { subnets: { list: { dict: { id: { check: { type: "uuid" }, required: true }, cidr: { check: { type: "prefix" }, required: true } } } } },
      run: (tx, row, body, ctx) => onboard(tx, row, body.network_id as string, ctx),
    },
  },
});

// ---- subnets ----

const badSubnet = (message: string): Error => badRequest(`Bad subnets request: ${message}.`, "BadRequest");

/** The pool that a new subnet is to be of; undefined: none. @throws ApiError */
function poolFor(view: ReadView, input: Values, ctx: ApiContext): SubnetPool | undefined {
  const id = input.subnetpool_id as string | null | undefined;
  const version = input.ip_version as 4 | 6;
  if (id === undefined || id === null) {
    if (input.use_default_subnetpool !== true) return undefined;
    const pool = view.by(subnetPoolTable, "default", String(version)).find((p) => ctx.seen(subnetPoolResource, p.id) !== undefined);
    if (pool === undefined) throw badSubnet(`No default subnetpool found for IPv${version}`);
    return pool;
  }
  if (input.use_default_subnetpool === true) throw badSubnet("subnetpool_id and use_default_subnetpool cannot both be specified");
  if (id === PREFIX_DELEGATION) throw badSubnet(`subnetpool_id '${PREFIX_DELEGATION}' is not supported: no prefix is asked of routers outside`);
  const pool = ctx.visible(subnetPoolResource, id);
  if (pool.ip_version !== version) throw badSubnet(`Cannot allocate IPv${version} subnet from IPv${pool.ip_version} subnet pool`);
  return pool;
}

/** All subnets of a network and family are of one pool, or none is. */
function checkAffinity(tx: Tx, subnet: Subnet, poolId: string | undefined): void {
  const other = tx.by(subnetTable, "network", subnet.network_id).find((s) => s.id !== subnet.id && s.ip_version === subnet.ip_version);
  if (other !== undefined && tx.get(pooledSubnetTable, other.id)?.subnetpool_id !== poolId) throw affinity();
}

const ofSubnet = extendResource(subnetResource, {
  attributes: {
    subnetpool_id: { type: "uuid|null", about: "The subnet pool that its prefix is of.", post: true, default: AUTO, check: { convert: "subnetpool-id" }, filter: true, sort: true },
    prefixlen: { type: "integer", about: "Length of the prefix that the pool is to choose, instead of cidr.", post: true, default: AUTO, check: NUMBER, visible: false },
    use_default_subnetpool: { type: "boolean", about: "Of the default subnet pool of its family.", post: true, default: false, visible: false, alias: "default-subnetpools" },
  },
  beforeCreate(tx, input, ctx): Values {
    const cidr = (input.cidr as string | null | undefined) ?? undefined;
    const prefixlen = input.prefixlen as number | undefined;
    if (cidr !== undefined && prefixlen !== undefined) throw badSubnet("cidr and prefixlen must not be supplied together");
    const pool = poolFor(tx, input, ctx);
    if (pool === undefined) return {};
    const pools = input.allocation_pools as readonly unknown[] | undefined;
    if (cidr === undefined && pools !== undefined && pools.length > 0) throw badSubnet("allocation_pools allowed only for specific subnet requests");
    return { subnetpool_id: pool.id, cidr: formatCidr(choose(tx, pool, { cidr: cidr === undefined ? undefined : parseCidr(cidr), prefixlen })) };
  },
  create(tx, row, input) {
    const pool = tx.get(subnetPoolTable, (input.subnetpool_id as string | null | undefined) ?? "");
    checkAffinity(tx, row, pool?.id);
    if (pool !== undefined) allocate(tx, pool, row);
  },
  remove(tx, row) {
    const its = tx.get(pooledSubnetTable, row.id);
    if (its !== undefined) release(tx, its);
  },
  present: (view, row) => ({ subnetpool_id: view.get(pooledSubnetTable, row.id)?.subnetpool_id ?? null }),
});

const uuidOrNull = makeCheck(orNull({ type: "uuid" }));
export const converters: Readonly<Record<string, Converter>> = {
  "subnetpool-id": { about: `a subnet pool's id, or null; '${PREFIX_DELEGATION}' is understood, and refused`, form: orNull({ type: "uuid" }), run: (value, attribute) => (value === PREFIX_DELEGATION ? value : uuidOrNull(value, attribute)) },
};
export const resources = [subnetPool];
export const extend = [ofSubnet];
export const references = [reference(pooledSubnetTable, { to: subnetTable, ids: (s) => s.id, gone: release })];
export const policies: Readonly<Record<string, string>> = { shared_subnetpools: "field:subnetpools:shared=True" };
export const aliases: readonly Alias[] = [
  { alias: "subnet_allocation", name: "Subnet Allocation", description: "Subnets take their prefixes from subnet pools.", updated: "2015-03-30T10:00:00-00:00" },
  { alias: "default-subnetpools", name: "Default Subnetpools", description: "Subnets may be of the default subnet pool.", updated: "2016-02-18T18:00:00-00:00" },
  { alias: "subnetpool-prefix-ops", name: "Subnet Pool Prefix Operations", description: "Prefixes of subnet pools are added and removed.", updated: "2019-02-08T10:00:00-00:00" },
  { alias: "subnet_onboard", name: "Subnet Onboard", description: "Subnets that are there become a subnet pool's.", updated: "2018-12-18T09:00:00-00:00" },
];
