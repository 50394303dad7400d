// Rules of policies, by type: each type is a resource below its policy, and one by itself for who has the rule's id alone (qos-rules-alias).
import {
  chassisTable, conflict, defineResource, reference, resourceHandle, type AnyResource, type AnyTable, type ApiContext, type Alias, type Attribute, type ReadView, type Reference, type Row, type Table, type Tx, type Values,
} from "#app";
import {
  bandwidthLimitTable, checkSupported, directions, dscpMarkingTable, minimumBandwidthTable, packetRateLimitTable, qosPolicyResource, qosPolicyTable, qosUseTable,
  type BandwidthLimit, type Direction, type DscpMarking, type MinimumBandwidth, type PacketRateLimit,
} from "./model.ts";

const MANAGER = "rule:admin_only or (role:manager and project_id:%(policy:project_id)s)";
const READER = "rule:admin_only or (role:reader and project_id:%(policy:project_id)s)";
const INT32 = 2_147_483_647;
/** RFC 2474, 2597 and 3246: default, class selectors, assured and expedited forwarding, and voice admit's neighbours left out. */
export const MARKS = [0, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 32, 34, 36, 38, 40, 44, 46, 48, 56] as const;

export type RuleRow = BandwidthLimit | PacketRateLimit | DscpMarking | MinimumBandwidth;
/** Attributes of a type in the form of its resource. */
type Attributes = Readonly<Record<string, Attribute>>;

const number = (about: string, more: Partial<Attribute> = {}): Attribute => ({ type: "integer", about, post: true, put: true, check: { range: [0, INT32] }, filter: true, sort: true, ...more });
const direction = (alias?: string): Attribute => ({
  type: "string", about: "egress: what the machine sends; ingress: what it gets.", post: true, put: true, default: "egress", check: { enum: directions }, filter: true, sort: true, ...(alias !== undefined && { alias }),
});

export interface RuleKind {
  /** As `rules` of a policy and rule types name it. */
  readonly type: string;
  readonly about: string;
  readonly table: Table<RuleRow, "policy">;
  readonly attributes: Attributes;
  /** Extension that brings the type. */
  readonly alias: string;
  /** Hosts keep it, whatever is at their uplinks. */
  readonly supported: boolean;
  /** There is a resource of its own for it, by the rule's id. */
  readonly byId: boolean;
}

const kind = <R extends RuleRow>(k: Omit<RuleKind, "table"> & { readonly table: Table<R, "policy"> }): RuleKind => k as unknown as RuleKind;

const ruleKinds: readonly RuleKind[] = [
  kind({
    type: "bandwidth_limit", about: "How many bits a second a port may send, or get.", table: bandwidthLimitTable, alias: "qos", supported: true, byId: true,
    attributes: {
      max_kbps: number("1000 bits a second; 0: any number.", { required: true }),
      max_burst_kbps: number("1000 bits that may come at once; 0: four fifths of a second's, and 600 at least.", { default: 0 }),
      direction: direction("qos-bw-limit-direction"),
    },
  }),
  kind({
    type: "packet_rate_limit", about: "How many packets a second a port may send, or get.", table: packetRateLimitTable, alias: "qos-pps", supported: true, byId: false,
    attributes: {
      max_kpps: number("1000 packets a second; 0: any number.", { required: true }),
      max_burst_kpps: number("1000 packets that may come at once; 0: a tenth of a second's.", { default: 0 }),
      direction: direction(),
    },
  }),
  kind({
    type: "dscp_marking", about: "The mark of IP packets that a port sends.", table: dscpMarkingTable, alias: "qos", supported: true, byId: true,
    attributes: { dscp_mark: { type: "integer", about: "Differentiated services code point.", post: true, put: true, required: true, check: { enum: MARKS }, filter: true, sort: true } },
  }),
  kind({
    type: "minimum_bandwidth", about: "How many bits a second a port is to have of what leaves by a physical network, whatever others send: where a queue of the host's uplink has room for it.", table: minimumBandwidthTable, alias: "qos", supported: false, byId: true,
    attributes: { min_kbps: number("1000 bits a second.", { required: true }), direction: direction("qos-bw-minimum-ingress") },
  }),
];

/** All rules of a policy, by type and id. */
export const rulesOf = (view: ReadView, policyId: string): { readonly type: string; readonly table: Table<RuleRow, "policy">; readonly row: RuleRow }[] =>
  ruleKinds.flatMap(({ type, table }) => view.by(table, "policy", policyId).toSorted((a, b) => (a.id < b.id ? -1 : 1)).map((row) => ({ type, table, row })));

const directionOf = (row: RuleRow): Direction => ("direction" in row ? row.direction : "egress");

/** One rule of a type and direction; and no minimum over a maximum. @throws ApiError 409 */
function checkRule(tx: Tx, { type, table }: RuleKind, row: RuleRow): void {
  const others = rulesOf(tx, row.policy_id).filter((o) => o.row.id !== row.id && directionOf(o.row) === directionOf(row));
  const same = others.find((o) => o.table === table);
  if (same !== undefined) throw conflict("QoSRulesConflict", `Rule ${type} conflicts with rule ${same.row.id} which already exists in QoS Policy ${row.policy_id}.`);
  for (const other of others) {
    const [max, min] = "max_kbps" in row && "min_kbps" in other.row ? [row.max_kbps, other.row.min_kbps] : "min_kbps" in row && "max_kbps" in other.row ? [other.row.max_kbps, row.min_kbps] : [0, 0];
    if (max > 0 && min > max) {
      const [value, existing] = "max_kbps" in row ? [max, min] : [min, max];
      throw conflict("QoSRuleParameterConflict", `Unable to add the rule with value ${value} to the policy ${row.policy_id} as the existing rule of type ${other.type} has value ${existing}.`);
    }
  }
}

function put(tx: Tx, of: RuleKind, row: RuleRow): RuleRow {
  checkRule(tx, of, row);
  tx.put(of.table, row);
  if (!of.supported) checkSupported(tx, row.policy_id, tx.by(qosUseTable, "policy", row.policy_id));
  return row;
}

const bumped = (ctx: ApiContext, policyId: string): void => ctx.bump(qosPolicyResource, policyId);

function resourceOf(of: RuleKind): AnyResource {
  return defineResource(resourceHandle<RuleRow>(`${of.type}_rule`), {
    collection: `${of.type}_rules`,
    path: `${of.type}_rules`,
    about: of.about,
    alias: of.alias,
    parent: { resource: qosPolicyResource, attribute: "policy_id" },
    table: of.table,
    standard: ["id"],
    notFound: { type: "QosRuleNotFound", message: (id) => `QoS rule ${id} could not be found.` },
    attributes: { policy_id: { type: "uuid", about: "The policy.", post: true, required: true, visible: false, index: "policy" }, ...of.attributes },
    policy: { create: MANAGER, get: READER, update: MANAGER, delete: MANAGER },
    relations: { "policy:project_id": (row, view) => view.get(qosPolicyTable, row.policy_id)?.project_id },
    create(tx, { id }, input, ctx) {
      bumped(ctx, input.policy_id as string);
      return put(tx, of, { ...input, id } as unknown as RuleRow);
    },
    update(tx, row, changes, ctx) {
      bumped(ctx, row.policy_id);
      return put(tx, of, { ...row, ...changes });
    },
    remove(tx, row, ctx) {
      bumped(ctx, row.policy_id);
      tx.delete(of.table, row.id);
    },
  }) as AnyResource;
}

/** A rule as who has its id alone sees it. */
interface Aliased extends Row {
  readonly policy_id: string;
  readonly project_id: string;
}

const aliased = (view: ReadView, row: RuleRow): Aliased => ({ ...row, project_id: view.get(qosPolicyTable, row.policy_id)?.project_id ?? "" });

function aliasOf(of: RuleKind): AnyResource {
  const rule = resourceHandle<RuleRow>(`${of.type}_rule`);
  const name = `alias_${of.type}_rule`;
  const changed = ({ type, about, check, filter, sort }: Attribute): Attribute => ({ type, about, put: true, ...(check !== undefined && { check }), filter: filter === true, sort: sort === true, alias: "qos-rules-alias" });
  const settable = Object.fromEntries(Object.entries(of.attributes).map(([key, attribute]) => [key, changed(attribute)]));
  return defineResource(resourceHandle<Aliased>(name), {
    collection: `${name}s`,
    path: `qos/${name.replaceAll("_", "-")}s`,
    about: `${of.about} By the rule's id, without its policy's.`,
    alias: "qos-rules-alias",
    computed: {
      list: (view) => Array.from(view.all(of.table), (row) => aliased(view, row)),
      get(view, id) {
        const row = view.get(of.table, id);
        return row === undefined ? undefined : aliased(view, row);
      },
    },
    standard: ["id"],
    notFound: { type: "QosRuleNotFound", message: (id) => `QoS rule ${id} could not be found.` },
    attributes: {
      ...settable,
      tenant_id: { type: "string", about: "Older name of project_id; always equal to it." },
      project_id: { type: "string", about: "The policy's project." },
    },
    policy: { get: READER, update: MANAGER, delete: MANAGER },
    relations: { "policy:project_id": (row) => row.project_id },
    update(tx, row, changes, ctx) {
      ctx.update(rule, row.id, changes);
      return aliased(tx, tx.get(of.table, row.id)!);
    },
    remove: (_tx, row, ctx) => ctx.remove(rule, row.id),
  }) as AnyResource;
}

// ---- types ----

interface RuleType extends Row {
  readonly type: string;
}

/** What may be given of a type, as clients read it. */
const parameters = ({ attributes }: RuleKind): Values[] =>
  Object.entries(attributes).map(([parameter_name, { check }]) => {
    const of = check as { readonly range?: readonly [number, number]; readonly enum?: readonly unknown[] };
    return of.range !== undefined
      ? { parameter_name, parameter_type: "range", parameter_values: { start: of.range[0], end: of.range[1] } }
      : { parameter_name, parameter_type: "choices", parameter_values: of.enum };
  });

/** Minima are kept where some host has a queue. */
const isKept = (view: ReadView, { supported }: RuleKind): boolean => supported || [...view.all(chassisTable)].some((c) => c.uplink_queues !== undefined);

const asked = (values: readonly string[] | undefined): boolean => values?.some((v) => ["true", "1", "yes", "on", "t", "y"].includes(v.toLowerCase())) === true;
const said: Attribute = { type: "boolean", about: "", visible: false, filter: true, matches: () => true, alias: "qos-rule-type-filter" };

const ruleType = defineResource(resourceHandle<RuleType>("rule_type"), {
  collection: "rule_types",
  path: "qos/rule-types",
  about: "A type of rules. The list has those that hosts keep.",
  alias: "qos",
  computed: {
    list: (view, _caller, wanted) => ruleKinds.filter((k) => isKept(view, k) || asked(wanted("all_rules"))).map(({ type }) => ({ id: type, type })),
    get: (_view, id) => (ruleKinds.some((k) => k.type === id) ? { id, type: id } : undefined),
  },
  standard: [],
  notFound: { type: "QosRuleTypeNotFound", message: (id) => `Rule type ${id} does not exist.` },
  attributes: {
    type: { type: "string", about: "Its name." },
    drivers: { type: "object[]", about: "What keeps it, and what its rules may say.", alias: "qos-rule-type-details", inMembers: true, policy: { get: "rule:admin_only" } },
    all_supported: { ...said, about: "Those that hosts keep, which the list has anyway." },
    all_rules: { ...said, about: "All that rules can be of." },
  },
  policy: { get: "role:reader" },
  present(view, { type }) {
    const of = ruleKinds.find((k) => k.type === type)!;
    return { drivers: isKept(view, of) ? [{ name: "openvswitch", supported_parameters: parameters(of) }] : [] };
  },
});

export const resources: readonly AnyResource[] = [...ruleKinds.map(resourceOf), ...ruleKinds.filter((k) => k.byId).map(aliasOf), ruleType as AnyResource];
export const references: readonly Reference[] = ruleKinds.map(({ table }) => reference(table as unknown as Table<RuleRow>, { to: qosPolicyTable, ids: (r) => r.policy_id, gone: (tx, r) => tx.delete(table as unknown as AnyTable, r.id) }));
export const aliases: readonly Alias[] = [
  { alias: "qos-bw-limit-direction", name: "Direction for QoS bandwidth limit rule", description: "Limits of what ports get.", updated: "2017-04-10T10:00:00-00:00" },
  { alias: "qos-bw-minimum-ingress", name: "Ingress direction for QoS minimum bandwidth rule", description: "Minimum bandwidth of what ports get.", updated: "2018-07-09T10:00:00-00:00" },
  { alias: "qos-pps", name: "QoS Rule Type Packet per Second Extension", description: "Limits of packets a second.", updated: "2021-05-12T10:00:00-00:00" },
  { alias: "qos-rule-type-details", name: "Details of QoS rule types", description: "What keeps rules of a type.", updated: "2017-06-22T10:00:00-00:00" },
  { alias: "qos-rule-type-filter", name: "Allow to filter the list of QoS rule types", description: "Types that are known, or kept.", updated: "2022-02-02T10:00:00-00:00" },
  { alias: "qos-rules-alias", name: "Quality of Service rules alias API", description: "Rules by their own ids.", updated: "2018-10-07T10:00:00-00:00" },
];
