// Address groups, their addresses one by one, and the attribute of rules that names one.
import {
  memberOf, badRequest, conflict, defineResource, extendResource, invalidFor, makeCheck, notFound, orNull, reference, resourceHandle,
  type Action, type Alias, type ApiContext, type Attribute, type Check, type Converter, type Extension, type Row, type Tx, type Values,
} from "#app";
import { defaultRuleResource, defaultRuleTable, ruleResource, ruleTable, type RemoteSet } from "../security-groups/model.ts";
import { addressGroupResource, addressGroupTable, REMOTE, type AddressGroup } from "./model.ts";

const MEMBER = memberOf();
const ADDRESSES: Check = { null: [], else: { list: { convert: "address-group-prefix" }, unique: true } };
const prefix = makeCheck({ type: "cidr" });
export const converters: Readonly<Record<string, Converter>> = {
  "address-group-prefix": {
    about: "prefix with its length",
    form: { type: "cidr" },
    run(value, attribute) {
      if (typeof value === "string" && !value.includes("/")) throw invalidFor(attribute, `'${value.slice(0, 64)}' is not a valid IP subnet`);
      return prefix(value, attribute);
    },
  },
};

/** Those that come and go later may be addresses alone, as with other servers. */
const given: Check = { dict: { addresses: { check: { list: { type: "cidr" }, unique: true }, required: true } } };
const shown = (addresses: readonly string[]): string => `[${addresses.map((a) => `'${a}'`).join(", ")}]`;

/** Each is a flow for every host and rule that names the group. */
const ADDRESSES_MAX = 4096;
function checkSize(size: number): void {
  if (size > ADDRESSES_MAX) throw badRequest(`An address group has ${ADDRESSES_MAX} addresses at most; this one would have ${size}.`, "AddressGroupTooLarge");
}

/** A change of some addresses; `judge` throws for those that cannot be changed. */
const change = (about: string, rule: string, judge: (row: AddressGroup, addresses: readonly string[]) => void, after: (row: AddressGroup, addresses: ReadonlySet<string>) => readonly string[]): Action<AddressGroup> => ({
  about,
  policy: MEMBER,
  rule,
  check: given,
  answers: { address_group: addressGroupResource },
  run(tx, row, body, ctx) {
    const addresses = body.addresses as readonly string[];
    judge(row, addresses);
    tx.put(addressGroupTable, { ...row, addresses: after(row, new Set(addresses)) });
    ctx.bump(addressGroupResource, row.id);
    const { project_id, ...rest } = tx.get(addressGroupTable, row.id)!;
    return { address_group: { id: rest.id, name: rest.name, description: rest.description, project_id, tenant_id: project_id, addresses: rest.addresses, created_at: rest.created_at, updated_at: rest.updated_at, revision_number: rest.revision_number } };
  },
});

const addressGroup = defineResource(addressGroupResource, {
  collection: "address_groups",
  about: "Prefixes that rules of security groups name together.",
  alias: "address-group",
  quota: { default: -1 },
  table: addressGroupTable,
  notFound: { type: "AddressGroupNotFound", message: (id) => `Address group ${id} could not be found.` },
  standard: ["id", "name", "project", "description", "timestamps", "revision"],
  attributes: {
    description: { type: "string", about: "Text of the owner's choice.", post: true, put: true, default: "", check: { type: "string", max: 1024 }, filter: true, sort: true },
    addresses: { type: "string[]", about: "Prefixes of either family; shown without host bits: 10.0.0.5/32, 10.0.0.0/8, fd00::/64.", post: true, default: [], check: ADDRESSES },
  },
  policy: { create: MEMBER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s) or rule:shared_address_groups", update: MEMBER, delete: MEMBER },
  relations: { "address_group:shared": () => false },
  reach: { "address_group:shared": () => [] },
  shareable: { table: addressGroupTable, usedBy: (view, row) => view.by(ruleTable, "remote", row.id).map((r) => r.project_id) },
  bulk: true,
  create(tx, standard, input) {
    checkSize((input.addresses as readonly string[]).length);
    const row: AddressGroup = { addresses: input.addresses as readonly string[], ...standard };
    tx.put(addressGroupTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: AddressGroup = { ...row, description: (changes.description as string | undefined) ?? row.description };
    tx.put(addressGroupTable, after);
    return after;
  },
  remove(tx, row) {
    if (tx.count(ruleTable, "remote", row.id) + tx.count(defaultRuleTable, "remote", row.id) > 0) throw conflict("AddressGroupInUse", `Address group ${row.id} is in use on one or more security group rules.`);
    tx.delete(addressGroupTable, row.id);
  },
  actions: {
    add_addresses: change("Adds addresses that are not there.", "add_addresses", (row, addresses) => {
      const has = new Set(row.addresses);
      const there = addresses.filter((a) => has.has(a));
      if (there.length > 0) throw badRequest(`Addresses ${shown(there)} already exist in the address group ${row.id}.`, "AddressesAlreadyExist");
      checkSize(row.addresses.length + addresses.length);
    }, (row, addresses) => [...row.addresses, ...addresses]),
    remove_addresses: change("Takes addresses out that are there.", "remove_addresses", (row, addresses) => {
      const has = new Set(row.addresses);
      const missing = addresses.filter((a) => !has.has(a));
      if (missing.length > 0) throw notFound("AddressesNotFound", `Addresses ${shown(missing)} not found in the address group ${row.id}.`);
    }, (row, addresses) => row.addresses.filter((a) => !addresses.has(a))),
  },
});

const attribute: Attribute = {
  type: "any", about: "The other side's address group.", post: true, default: null, check: orNull({ convert: "some-id" }), filter: true, sort: true, alias: "security-groups-remote-address-group",
};
interface Naming extends Row {
  readonly remote_set?: RemoteSet;
}
const namedBy = ({ remote_set: set }: Naming): string | null => (set?.attribute === REMOTE ? set.id : null);

/** What names an address group as its other side: rules, and default ones. */
const naming = <R extends Naming>(): Extension<R> => ({
  attributes: { [REMOTE]: attribute },
  create(_tx: Tx, _row: R, input: Values, ctx: ApiContext) {
    const id = input[REMOTE];
    if (typeof id === "string") ctx.visible(addressGroupResource, id);
  },
  present: (_view, row) => ({ [REMOTE]: namedBy(row) }),
});

export const resources = [addressGroup];
export const extend = [extendResource(ruleResource, naming()), extendResource(defaultRuleResource, naming())];
/** A rule whose group went while this app was away lets nobody in; who may delete it does. */
export const references = [reference(ruleTable, { to: addressGroupTable, ids: (r) => namedBy(r) ?? undefined }), reference(defaultRuleTable, { to: addressGroupTable, ids: (r) => namedBy(r) ?? undefined })];
export const policies: Readonly<Record<string, string>> = { shared_address_groups: "field:address_groups:shared=True" };
export const aliases: readonly Alias[] = [
  { alias: "address-group", name: "Address group", description: "Prefixes with a name.", updated: "2020-07-15T10:00:00-00:00" },
  { alias: "rbac-address-group", name: "Add address_group type to network RBAC", description: "Address groups can be shared with other projects.", updated: "2021-01-31T00:00:00-00:00", needs: resourceHandle("rbac_policy") },
  { alias: "security-groups-remote-address-group", name: "Remote address group id field for security group rules", description: "Rules may have an address group as their other side.", updated: "2020-11-03T10:00:00-00:00" },
];
