// One policy for each host.
import { conflict, defineResource, type Alias } from "#app";
import { uplinkPolicyResource, uplinkPolicyTable, type UplinkPolicy } from "./model.ts";

const policy = defineResource(uplinkPolicyResource, {
  collection: "uplink_policies",
  about: "How an uplink of a host queues, and where the host exports its flows.",
  alias: "uplink-policy",
  table: uplinkPolicyTable,
  notFound: { type: "UplinkPolicyNotFound", message: (id) => `Policy ${id} could not be found.` },
  attributes: {
    host: { type: "string", about: "The host.", post: true, required: true, check: { type: "string", blank: false } },
    uplink: { type: "string", about: "The port.", post: true, required: true, check: { type: "string", blank: false } },
    kbps: { type: "integer", about: "1000 bits per second of its queue.", post: true, put: true, required: true, check: { range: [1, 2_000_000] } },
    collector: { type: "string", about: "IPFIX collector.", post: true, required: true, check: { type: "string", blank: false } },
  },
  policy: { create: "rule:admin_only", get: "rule:admin_only", update: "rule:admin_only", delete: "rule:admin_only" },
  create(tx, standard, input) {
    if (tx.by(uplinkPolicyTable, "host", input.host as string).length > 0) throw conflict("UplinkPolicyInUse", `Host ${input.host as string} has a policy.`);
    const row = { ...standard, ...input } as UplinkPolicy;
    tx.put(uplinkPolicyTable, row);
    return row;
  },
  update(tx, row, changes) {
    const after = { ...row, kbps: (changes.kbps as number | undefined) ?? row.kbps };
    tx.put(uplinkPolicyTable, after);
    return after;
  },
  remove(tx, row): void {
    tx.delete(uplinkPolicyTable, row.id);
  },
});

export const resources = [policy];
export const aliases: readonly Alias[] = [{ alias: "uplink-policy", name: "Uplink policy", description: "Queues and flow export of hosts", updated: "2026-01-01T00:00:00-00:00" }];
