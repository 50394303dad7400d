// The resource address_scope, and what it adds to subnet pools, networks and what stands on both.
import {
  ACCESS_AS_SHARED, answer, badRequest, conflict, defineResource, EVERYBODY, extendResource, memberOf, orNull, parseCidr, reference,
  type Alias, type ApiContext, type ExtendAll, type Mend, type ReadView, type Sight, type StandardRow, type Tx,
} from "#app";
import { networkResource } from "../l2/model.ts";
import { routingDomainOf } from "../l3/model.ts";
import { pooledSubnetTable, subnetPoolResource, subnetPoolTable, type SubnetPool } from "../subnet-pools/model.ts";
import { addressScopeResource, addressScopeTable, isTaken, PREFIXES_MAX, scopedPoolTable, scopeOf, type AddressScope } from "./model.ts";

const ADMIN = "rule:admin_only";

/** Who needs the scope of a pool: its owner, those with whom it is shared, and those who have subnets of it. Each once. */
function usersOf(view: ReadView, pool: SubnetPool, sight: Pick<Sight, "grantedTo">): ReadonlySet<string> {
  const users = new Set([pool.project_id, ...sight.grantedTo(subnetPoolResource, ACCESS_AS_SHARED, pool.id)]);
  for (const { project_id } of view.by(pooledSubnetTable, "pool", pool.id)) if (project_id !== "") users.add(project_id);
  return users;
}

/** Whether a project, or everybody, may see a scope. */
const hasScope = (sight: Sight, scopeId: string, project: string): boolean => sight.seen(addressScopeResource, scopeId, project === EVERYBODY ? "" : project) !== undefined;

const named = (project: string): string => (project === EVERYBODY ? "every project" : `project ${project}`);

const addressScope = defineResource(addressScopeResource, {
  collection: "address_scopes",
  about: "Subnet pools whose addresses do not clash: routers route between networks of one scope as they are, and between none of different ones.",
  alias: "address-scope",
  quota: { default: -1 },
  table: addressScopeTable,
  notFound: { type: "AddressScopeNotFound", message: (id) => `Address scope ${id} could not be found.` },
  standard: ["id", "name", "project"],
  attributes: {
    ip_version: { type: "integer", about: "The family of its pools.", post: true, required: true, check: { enum: [4, 6] }, filter: true, sort: true },
  },
  policy: { create: memberOf(), get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:shared_address_scopes", update: memberOf(), delete: memberOf() },
  relations: { "address_scope:shared": () => false },
  reach: { "address_scope:shared": () => [] },
  shareable: {
    shownBy: "address-scope",
    givenBy: ADMIN,
    unshared: (row) => badRequest(`Unable to update address scope ${row.id} : Shared address scope can't be unshared.`, "AddressScopeUpdateError"),
    table: addressScopeTable,
    *usedBy(view, row, sight) {
      for (const { id } of view.by(scopedPoolTable, "scope", row.id)) {
        const pool = view.get(subnetPoolTable, id);
        if (pool !== undefined) yield* usersOf(view, pool, sight);
      }
    },
  },
  bulk: true,
  create(tx, standard, input) {
    const row: AddressScope = { ip_version: input.ip_version as 4 | 6, ...standard };
    tx.put(addressScopeTable, row);
    return row;
  },
  update(tx, row) {
    tx.put(addressScopeTable, row);
    return row;
  },
  remove(tx, row) {
    if (tx.count(scopedPoolTable, "scope", row.id) > 0) {
      throw conflict("AddressScopeInUse", `Unable to complete operation on address scope ${row.id}. There are one or more subnet pools in use on the address scope.`);
    }
    tx.delete(addressScopeTable, row.id);
  },
});

// ---- subnet pools ----

/** @throws ApiError if the pool cannot be of the scope, or not with these prefixes */
function associate(tx: Tx, pool: SubnetPool, scopeId: string, isNew: boolean, ctx: ApiContext): void {
  if (isNew) {
    const scope = ctx.visible(addressScopeResource, scopeId);
    for (const user of usersOf(tx, pool, ctx)) {
      if (hasScope(ctx, scopeId, user)) continue;
      throw badRequest(`Illegal subnetpool association: subnetpool ${pool.id} cannot be associated with address scope ${scopeId}: ${named(user)} may use the pool, and not the scope.`, "IllegalSubnetPoolAssociationToAddressScope");
    }
    if (scope.ip_version !== pool.ip_version) {
      throw badRequest(`Illegal subnetpool association: subnetpool ${pool.id} cannot associate with address scope ${scopeId} because subnetpool ip_version is not ${scope.ip_version}.`, "IllegalSubnetPoolIpVersionAssociationToAddressScope");
    }
  }
  if (pool.prefixes.length > PREFIXES_MAX) throw badRequest(`Illegal subnetpool association: subnetpool ${pool.id} has more than the ${PREFIXES_MAX} prefixes of a pool that is of an address scope.`, "IllegalSubnetPoolAssociationToAddressScope");
  if (pool.prefixes.some((text) => isTaken(tx, scopeId, pool.id, parseCidr(text)!))) {
    throw conflict("AddressScopePrefixConflict", "Failed to associate address scope: subnetpools within an address scope must have unique prefixes.");
  }
  tx.put(scopedPoolTable, { id: pool.id, address_scope_id: scopeId, prefixes: pool.prefixes });
}

/** A project that may use a pool may see its scope. @throws ApiError 400 RbacPolicyInitError */
function checkScopeShared(tx: Tx, poolId: string, target: string, ctx: ApiContext): void {
  const scope = tx.get(scopedPoolTable, poolId)?.address_scope_id;
  if (scope === undefined || hasScope(ctx, scope, target)) return;
  throw badRequest(`Subnet pool ${poolId} cannot be shared with ${named(target)}: its address scope ${scope} is not.`, "RbacPolicyInitError");
}

const ofPool = extendResource(subnetPoolResource, {
  attributes: {
    address_scope_id: { type: "uuid|null", about: "The address scope that its prefixes are of.", post: true, put: true, default: null, check: orNull({ type: "uuid" }), filter: true, sort: true, alias: "address-scope" },
  },
  create(tx, row, input, ctx) {
    const scope = input.address_scope_id as string | null;
    if (scope !== null) associate(tx, row, scope, true, ctx);
  },
  update(tx, row, changes, ctx) {
    const before = tx.get(scopedPoolTable, row.id);
    const owner = before === undefined ? undefined : tx.get(addressScopeTable, before.address_scope_id)?.project_id;
    if (before !== undefined && !ctx.caller.admin && owner !== ctx.caller.projectId) {
      throw badRequest(`Illegal subnetpool update : subnetpool ${row.id} cannot be updated when associated with shared address scope ${before.address_scope_id}.`, "IllegalSubnetPoolUpdate");
    }
    const after = changes.address_scope_id === undefined ? before?.address_scope_id : (changes.address_scope_id as string | null);
    if (after === undefined || after === null) tx.delete(scopedPoolTable, row.id);
    else if (after !== before?.address_scope_id || row.prefixes.join() !== before.prefixes.join()) associate(tx, row, after, after !== before?.address_scope_id, ctx);
  },
  completed(tx, done, ctx) {
    for (const { row, given } of done) if (given.shared === true) checkScopeShared(tx, row.id, EVERYBODY, ctx);
  },
  remove: (tx, row) => tx.delete(scopedPoolTable, row.id),
  present: (view, row) => ({ address_scope_id: view.get(scopedPoolTable, row.id)?.address_scope_id ?? null }),
});

/** An edition stored it with the pool too, as a change had named it; what is stored is what was meant then. */
export function* mend(view: ReadView): Iterable<Mend> {
  for (const pool of view.all(subnetPoolTable)) {
    if (!Object.hasOwn(pool, "address_scope_id")) continue;
    const run = (tx: Tx): void => {
      const row = tx.get(subnetPoolTable, pool.id)!;
      tx.put(subnetPoolTable, Object.fromEntries(Object.entries(row).filter(([name]) => name !== "address_scope_id")) as unknown as SubnetPool);
    };
    yield { table: subnetPoolTable, id: pool.id, why: `subnet pool ${pool.id} was stored with an address scope of its own`, run };
  }
}

// ---- networks, and what of others stands on scopes ----

const ofNetwork = extendResource(networkResource, {
  attributes: {
    ipv4_address_scope: { type: "uuid|null", about: "The address scope of the pool that its IPv4 subnets are of.", alias: "address-scope" },
    ipv6_address_scope: { type: "uuid|null", about: "Likewise of IPv6.", alias: "address-scope" },
  },
  present: (view, row) => ({ ipv4_address_scope: scopeOf(view, row.id, 4) ?? null, ipv6_address_scope: scopeOf(view, row.id, 6) ?? null }),
});

interface Policy extends StandardRow {
  readonly object_type: string;
  readonly object_id: string;
  readonly target_tenant: string;
}

/** Of apps that this one does not require. */
export const extendAll: ExtendAll = ({ name }) => {
  if (name !== "rbac_policy") return undefined;
  const check = (tx: Tx, { object_type, object_id, target_tenant }: Policy, ctx: ApiContext): void => {
    if (object_type === subnetPoolResource.name) checkScopeShared(tx, object_id, target_tenant, ctx);
  };
  return { create: (tx, row: Policy, _input, ctx) => check(tx, row, ctx), update: (tx, row: Policy, _changes, ctx) => check(tx, row, ctx) };
};

export const answers = [answer(routingDomainOf, scopeOf)];
export const resources = [addressScope];
export const extend = [ofPool, ofNetwork];
export const references = [
  reference(scopedPoolTable, { to: subnetPoolTable, ids: (p) => p.id, gone: (tx, p) => tx.delete(scopedPoolTable, p.id) }),
];
export const policies: Readonly<Record<string, string>> = { shared_address_scopes: "field:address_scopes:shared=True" };
export const aliases: readonly Alias[] = [
  { alias: "address-scope", name: "Address scope", description: "Subnet pools whose addresses do not clash, between whose networks routers route as they are.", updated: "2015-07-26T10:00:00-00:00" },
  { alias: "rbac-address-scope", name: "Add address_scope type to RBAC", description: "Address scopes can be shared with other projects.", updated: "2020-02-12T00:00:00-00:00" },
  { alias: "rbac-subnetpool", name: "Add subnetpool type to RBAC", description: "Subnet pools can be shared with other projects.", updated: "2020-02-05T00:00:00-00:00" },
];
