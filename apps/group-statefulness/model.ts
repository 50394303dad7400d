// What projects have chosen for their new security groups.
import { defineTable, resourceHandle, type Row } from "#app";

/** Whether new groups of a project are stateful; null: of all projects that have chosen nothing. */
export interface GroupStatefulness extends Row {
  readonly project_id: string | null;
  readonly stateful: boolean;
}
export const groupStatefulnessResource = resourceHandle<GroupStatefulness>("security_groups_default_statefulness");
export const groupStatefulnessTable = defineTable<GroupStatefulness>()("group_statefulness", {
  resource: "security_groups_default_statefulness", indexes: { project: (s) => s.project_id ?? "" },
});
