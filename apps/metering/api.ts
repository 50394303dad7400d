// The resources metering_labels and metering_label_rules. Neither can be changed, but for what a rule compares: it is made anew.
import { conflict, defineResource, draw, formatCidr, invalidInput, overlap, parseCidr, reference, type Alias, type Check, type Tx, type Values } from "#app";
import { COUNTERS, labelCounts } from "./counters.ts";
import {
  countedOf, DIRECTIONS, labelKeys, LABELS_MAX, meteringCountTable, meteringLabelResource, meteringLabelRuleResource, meteringLabelRuleTable, meteringLabelTable, RULES_MAX, type MeteringLabel, type MeteringLabelRule,
} from "./model.ts";

const MANAGER = "rule:admin_only or (role:manager and project_id:%(project_id)s)";
const READER = "rule:admin_only or (role:reader and project_id:%(project_id)s)";

const label = defineResource(meteringLabelResource, {
  collection: "metering_labels",
  path: "metering/metering-labels",
  about: "What crosses the edge of the cloud by the routers of a project is counted under it, as its rules say.",
  alias: "metering",
  table: meteringLabelTable,
  notFound: { type: "MeteringLabelNotFound", message: (id) => `Metering label ${id} does not exist` },
  standard: ["id", "name", "project", "description"],
  attributes: {
    description: { type: "string", about: "Text of the owner's choice.", post: true, default: "", check: { type: "string", max: 1024 }, filter: true, sort: true },
    name: { type: "string", about: "Text of the owner's choice.", post: true, default: "", check: { type: "string", max: 255 }, filter: true, sort: true },
    shared: { type: "boolean", about: "Traffic of the routers of all projects is counted under it.", post: true, default: false, filter: true, sort: true, policy: { create: "rule:admin_only" } },
    "axion:ingress": { type: "object", about: "What came in and was counted: `packets`, and `bytes` of these; null: not known.", onRequest: true, alias: "axion-metering-counters" },
    "axion:egress": { type: "object", about: "Likewise what left.", onRequest: true, alias: "axion-metering-counters" },
    "axion:counts_complete": { type: "boolean", about: "Whether every host concerned said what it counted; else what is known is shown.", onRequest: true, alias: "axion-metering-counters" },
  },
  policy: { create: MANAGER, get: READER, delete: MANAGER },
  create(tx, { id, project_id, name, description }, input) {
    const shared = input.shared as boolean;
    const others = shared ? tx.by(meteringLabelTable, "of", "everybody") : tx.by(meteringLabelTable, "project", project_id).filter((l) => !l.shared);
    if (others.length >= LABELS_MAX) throw conflict("TooManyMeteringLabels", `There are ${LABELS_MAX} metering labels ${shared ? "that are shared" : `of project ${project_id}`}, which is the most.`);
    const row: MeteringLabel = { id, project_id, name, description, key: draw(tx, labelKeys), shared };
    tx.put(meteringLabelTable, row);
    return row;
  },
  remove(tx, row) {
    for (const { id } of tx.by(meteringLabelRuleTable, "label", row.id)) tx.delete(meteringLabelRuleTable, id);
    for (const direction of DIRECTIONS) tx.delete(meteringCountTable, countedOf(row.id, direction));
    tx.delete(meteringLabelTable, row.id);
  },
  presentOnRequest(view, row) {
    const { ingress, egress, complete } = labelCounts(view, row);
    return { "axion:ingress": ingress, "axion:egress": egress, "axion:counts_complete": complete } satisfies Record<(typeof COUNTERS)[number], unknown>;
  },
});

const prefix: Check = { or: [{ type: "cidr" }, { type: "null" }] };

/** @throws ApiError 400 naming what does not go together */
function checkPrefixes(rule: Pick<MeteringLabelRule, "remote_ip_prefix" | "source_ip_prefix" | "destination_ip_prefix">): void {
  const { remote_ip_prefix: remote, source_ip_prefix: source, destination_ip_prefix: destination } = rule;
  if (remote !== null && (source !== null || destination !== null)) throw invalidInput("'remote_ip_prefix' goes with neither 'source_ip_prefix' nor 'destination_ip_prefix'");
  if (remote === null && source === null && destination === null) throw invalidInput("one of 'remote_ip_prefix', 'source_ip_prefix' and 'destination_ip_prefix' is required");
  if (source !== null && destination !== null && source.includes(":") !== destination.includes(":")) throw invalidInput(`'source_ip_prefix' ${source} and 'destination_ip_prefix' ${destination} are of different IP versions`);
}

/** Prefixes that clash: remote ones that have addresses in common, others that are the same. @throws ApiError 409 */
function checkOthers(tx: Tx, rule: MeteringLabelRule): void {
  const others = tx.by(meteringLabelRuleTable, "label", rule.metering_label_id).filter((r) => r.id !== rule.id);
  if (others.length >= RULES_MAX) throw conflict("TooManyMeteringLabelRules", `Metering label ${rule.metering_label_id} has ${RULES_MAX} rules, which is the most.`);
  for (const other of others) {
    if (other.direction !== rule.direction || other.excluded !== rule.excluded) continue;
    const [a, b] = [rule.remote_ip_prefix, other.remote_ip_prefix];
    const clash = a !== null && b !== null ? overlap(parseCidr(a)!, parseCidr(b)!) : said(rule) === said(other);
    if (clash) throw conflict("MeteringLabelRuleOverlaps", `Metering label rule with remote_ip_prefix '${a ?? said(rule)}' overlaps another.`);
  }
}
/** What a rule compares, whichever way it says so. */
function said({ direction, remote_ip_prefix: inside, source_ip_prefix: source, destination_ip_prefix: destination }: MeteringLabelRule): string {
  return direction === "egress" ? `${source ?? inside ?? "any"} -> ${destination ?? "any"}` : `${source ?? "any"} -> ${destination ?? inside ?? "any"}`;
}
const given = (value: unknown): string | null => (value === null || value === undefined ? null : formatCidr(parseCidr(value as string)!));

const rule = defineResource(meteringLabelRuleResource, {
  collection: "metering_label_rules",
  path: "metering/metering-label-rules",
  about: "Which traffic is counted under a label, or is not though other rules of it say so.",
  alias: "metering",
  table: meteringLabelRuleTable,
  notFound: { type: "MeteringLabelRuleNotFound", message: (id) => `Metering label rule ${id} does not exist` },
  standard: ["id", "project"],
  attributes: {
    metering_label_id: { type: "uuid", about: "The label.", post: true, required: true, filter: true, sort: true, index: "label" },
    direction: { type: "string", about: "ingress: what comes from outside; egress: what leaves.", post: true, required: true, check: { enum: DIRECTIONS }, filter: true, sort: true },
    excluded: { type: "boolean", about: "What it matches is not counted.", post: true, default: false, filter: true, sort: true },
    remote_ip_prefix: { type: "any", about: "Machines inside, as Neutron has it: the source of what leaves, the destination of what comes in.", post: true, default: null, check: prefix, filter: true, sort: true },
    source_ip_prefix: { type: "any", about: "Who sends, with the address that he has inside.", post: true, default: null, check: prefix, filter: true, sort: true, alias: "metering_source_and_destination_fields" },
    destination_ip_prefix: { type: "any", about: "Whom it is for, with the address that he has inside.", post: true, default: null, check: prefix, filter: true, sort: true, alias: "metering_source_and_destination_fields" },
  },
  policy: { create: MANAGER, get: READER, delete: MANAGER },
  create(tx, { id, project_id }, input: Values, ctx) {
    const of = ctx.visible(meteringLabelResource, input.metering_label_id as string);
    const row: MeteringLabelRule = {
      id, metering_label_id: of.id, project_id, direction: input.direction as MeteringLabelRule["direction"], excluded: input.excluded as boolean,
      remote_ip_prefix: given(input.remote_ip_prefix), source_ip_prefix: given(input.source_ip_prefix), destination_ip_prefix: given(input.destination_ip_prefix),
    };
    checkPrefixes(row);
    checkOthers(tx, row);
    tx.put(meteringLabelRuleTable, row);
    return row;
  },
  remove: (tx, row) => tx.delete(meteringLabelRuleTable, row.id),
});

export const resources = [label, rule];
export const references = [reference(meteringLabelRuleTable, { to: meteringLabelTable, ids: (r) => r.metering_label_id, gone: (tx, r) => tx.delete(meteringLabelRuleTable, r.id) })];
export const aliases: readonly Alias[] = [
  { alias: "metering", name: "Neutron Metering", description: "What crosses the edge of the cloud is counted under labels.", updated: "2013-06-12T10:00:00-00:00" },
  { alias: "metering_source_and_destination_fields", name: "Neutron Metering with source and destination filtering", description: "Rules of metering labels by source and destination.", updated: "2020-08-21T08:12:00-00:00" },
  { alias: "axion-metering-counters", name: "Counters of metering labels", description: "Labels show what was counted under them.", updated: "2026-11-30T00:00:00-00:00" },
];
