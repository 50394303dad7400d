// One policy for each host.
import { conflict, integer, nonEmptyString, type Alias, type Resource, type StandardRow, type Tx, type Values } from "#app";
import { uplinkPolicyTable, type UplinkPolicy } from "./model.ts";

const policy: Resource<UplinkPolicy> = {
  name: "uplink_policy",
  collection: "uplink_policys",
  about: "How an uplink of a host queues, and where the host exports its flows.",
  alias: "uplink-policy",
  table: uplinkPolicyTable,
  notFound: { type: "UplinkPolicyNotFound", message: (id) => `Policy ${id} could not be found.` },
  attributes: {
    host: { type: "string", about: "The host.", post: true, required: true, check: nonEmptyString() },
    uplink: { type: "string", about: "The port.", post: true, required: true, check: nonEmptyString() },
    kbps: { type: "integer", about: "1000 bits per second of its queue.", post: true, put: true, required: true, check: integer(1, 2_000_000) },
    collector: { type: "string", about: "IPFIX collector.", post: true, required: true, check: nonEmptyString() },
  },
  policy: { create: "admin", get: "admin", update: "admin", delete: "admin" },
  create(tx: Tx, standard: StandardRow, input: Values): UplinkPolicy {
    if (tx.by(uplinkPolicyTable, "host", input.host as string).length > 0) throw conflict("UplinkPolicyInUse", `Host ${input.host as string} has a policy.`);
    const row = { ...standard, ...input } as UplinkPolicy;
    tx.put(uplinkPolicyTable, row);
    return row;
  },
  update(tx, row, changes): UplinkPolicy {
    const after = { ...row, kbps: (changes.kbps as number | undefined) ?? row.kbps };
    tx.put(uplinkPolicyTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(uplinkPolicyTable, row.id);
  },
};

export const resources = [policy] as unknown as readonly Resource<never>[];
export const aliases: readonly Alias[] = [{ alias: "uplink-policy", name: "Uplink policy", description: "Queues and flow export of hosts", updated: "2026-01-01T00:00:00-00:00" }];
