// The resource security_groups_default_statefulness, and what new groups take from it.
import { conflict, defineResource, extendResource, orNull, type Alias, type ReadView } from "#app";
import { groupResource } from "../security-groups/model.ts";
import { groupStatefulnessResource, groupStatefulnessTable, type GroupStatefulness } from "./model.ts";

const MANAGER = "rule:admin_only or (role:manager and project_id:%(project_id)s)";

const chosen = (view: ReadView, projectId: string | null): GroupStatefulness | undefined => view.by(groupStatefulnessTable, "project", projectId ?? "")[0];

const statefulness = defineResource(groupStatefulnessResource, {
  collection: "security_groups_default_statefulness",
  about: "Whether new security groups of a project are stateful where nobody says; one for each project, and one for all that have none.",
  alias: "security-groups-default-statefulness",
  table: groupStatefulnessTable,
  notFound: { type: "SecurityGroupsDefaultStatefulnessNotFound", message: (id) => `Default statefulness ${id} of security groups could not be found.` },
  standard: ["id"],
  attributes: {
    project_id: { type: "string", about: "Whose groups; null: of all projects that have none of their own.", post: true, default: null, check: orNull({ type: "string", max: 255 }), filter: true, sort: true },
    stateful: { type: "boolean", about: "Whether they are.", post: true, put: true, default: true, filter: true, sort: true },
  },
  policy: { create: MANAGER, get: "rule:admin_only or (role:reader and project_id:%(project_id)s)", update: MANAGER, delete: MANAGER },

  create(tx, { id }, input, { given, caller }) {
    // An administrator who says nothing means all.
    const project_id = caller.admin && !given.has("project_id") && !given.has("tenant_id") ? null : (input.project_id as string | null);
    if (chosen(tx, project_id) !== undefined) throw conflict("SecurityGroupsDefaultStatefulnessExists", `Project ${project_id ?? "null"} has a default statefulness of its security groups already.`);
    const row: GroupStatefulness = { id, project_id, stateful: input.stateful as boolean };
    tx.put(groupStatefulnessTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after: GroupStatefulness = { ...row, stateful: (changes.stateful as boolean | undefined) ?? row.stateful };
    tx.put(groupStatefulnessTable, after);
    return after;
  },
  remove(tx, { id }) {
    tx.delete(groupStatefulnessTable, id);
  },
});

const ofGroup = extendResource(groupResource, {
  beforeCreate(tx, { project_id }, { given }) {
    const choice = given.has("stateful") ? undefined : (chosen(tx, project_id as string) ?? chosen(tx, null));
    return choice === undefined ? {} : { stateful: choice.stateful };
  },
});

export const resources = [statefulness];
export const extend = [ofGroup];
export const aliases: readonly Alias[] = [
  { alias: "security-groups-default-statefulness", name: "Security Groups Default Statefulness", description: "Whether new security groups of a project are stateful.", updated: "2026-04-13T00:00:00-00:00" },
];
