// Attributes of ports that say something to others than switches: kept and shown. No flow follows from them.
import { conflict, extendResource, orNull, reference, type Alias, type Tx, type Values } from "#app";
import { portBindingTable, portResource, portTable, shownHost, type Port } from "../l2/model.ts";
import { portExtraTable, type PortExtra } from "./model.ts";

const ADMIN = "rule:admin_only";
const STATUSES = ["ACTIVE", "DOWN"] as const;
/** `socket` is port-numa-affinity-policy-socket's. */
const NUMA_POLICIES = ["required", "preferred", "legacy", "socket"] as const;

type Extras = Omit<PortExtra, "id">;
const NAMES = ["data_plane_status", "propagate_uplink_status", "numa_affinity_policy", "device_profile", "trusted"] as const satisfies readonly (keyof Extras)[];

/** What was said, as it is kept: null, and that the status is propagated, are as if nothing had been. */
function keep(tx: Tx, id: string, values: Values): void {
  const given = NAMES.filter((name) => values[name] !== undefined);
  if (given.length === 0) return;
  const stored = tx.get(portExtraTable, id);
  const before: Readonly<Record<string, unknown>> = { ...stored };
  const after: Record<string, unknown> = { ...before };
  for (const name of given) {
    if (values[name] === null || (name === "propagate_uplink_status" && values[name] === true)) delete after[name];
    else after[name] = values[name];
  }
  if (NAMES.every((name) => after[name] === before[name])) return;
  if (NAMES.some((name) => after[name] !== undefined)) tx.put(portExtraTable, { ...(after as Extras), id });
  else if (stored !== undefined) tx.delete(portExtraTable, id);
}

/** Where a machine is placed is settled once it is somewhere. */
function checkNuma(tx: Tx, port: Port, wanted: unknown): void {
  const now = tx.get(portExtraTable, port.id)?.numa_affinity_policy ?? null;
  const host = shownHost(tx, port);
  if (wanted === undefined || wanted === now || host === "") return;
  throw conflict("PortBoundNUMAAffinityPolicy", `Unable to complete operation on port ${port.id}, port is already bound to host ${host}, numa_affinity_policy ${now ?? "None"}.`);
}

const ofPort = extendResource(portResource, {
  attributes: {
    data_plane_status: {
      type: "string", about: "What somebody who watches the host says of the way of its packets; null: nothing is said. `status` is the controller's own.", put: true, check: orNull({ enum: STATUSES }), alias: "data-plane-status",
      policy: { update: "rule:admin_or_data_plane_int" },
    },
    propagate_uplink_status: { type: "boolean", about: "Kept for virtual functions of network cards: whether the machine is to see the state of the card's link.", post: true, put: true, default: true, alias: "uplink-status-propagation" },
    numa_affinity_policy: { type: "string", about: "How near its device is to be to the machine's memory, for the compute service. Of a bound port it stays.", post: true, put: true, default: null, check: orNull({ enum: NUMA_POLICIES }), alias: "port-numa-affinity-policy" },
    device_profile: { type: "string", about: "The accelerator that its machine needs, for the compute service.", post: true, default: null, check: orNull({ type: "string" }), alias: "port-device-profile" },
    trusted: {
      type: "boolean", about: "Whether its virtual function may do what others may not; the compute service finds it in `binding:profile`. null: nothing is said.", post: true, put: true, alias: "port-trusted-vif",
      policy: { create: ADMIN, get: ADMIN, update: ADMIN },
    },
  },
  create: (tx, row, input) => keep(tx, row.id, input),
  update(tx, row, changes) {
    checkNuma(tx, row, changes.numa_affinity_policy);
    keep(tx, row.id, changes);
  },
  remove: (tx, row) => tx.delete(portExtraTable, row.id),
  present(view, { id }) {
    const { data_plane_status = null, propagate_uplink_status = true, numa_affinity_policy = null, device_profile = null, trusted = null } = view.get(portExtraTable, id) ?? {};
    return { data_plane_status, propagate_uplink_status, numa_affinity_policy, device_profile, trusted };
  },
  instead: {
    "binding:profile"(view, { id }) {
      const profile = view.get(portBindingTable, id)?.profile ?? {};
      const trusted = view.get(portExtraTable, id)?.trusted;
      return trusted === undefined ? profile : { ...profile, trusted };
    },
  },
});

export const extend = [ofPort];
export const references = [reference(portExtraTable, { to: portTable, ids: (e) => e.id, gone: (tx, e) => tx.delete(portExtraTable, e.id) })];
export const policies: Readonly<Record<string, string>> = { admin_or_data_plane_int: "rule:context_is_admin or role:data_plane_integrator" };
export const aliases: readonly Alias[] = [
  { alias: "data-plane-status", name: "Port data plane status extension", description: "Ports show what somebody says of the way of their packets.", updated: "2017-01-24T10:00:00-00:00" },
  { alias: "uplink-status-propagation", name: "Uplink status propagation extension", description: "Whether a machine sees the state of its card's link.", updated: "2018-05-31T18:00:00-00:00" },
  { alias: "uplink-status-propagation-updatable", name: "Uplink status propagation updatable extension", description: "The same of a port that is there.", updated: "2024-09-03T18:00:00-00:00" },
  { alias: "port-numa-affinity-policy", name: "Port NUMA affinity policy", description: "How near devices of ports are to the memory of their machines.", updated: "2020-07-08T10:00:00-00:00" },
  { alias: "port-numa-affinity-policy-socket", name: "Port NUMA affinity policy \"socket\"", description: "As near as the same socket.", updated: "2024-02-09T10:00:00-00:00" },
  { alias: "port-device-profile", name: "Port device profile", description: "Accelerators that machines need for their ports.", updated: "2020-12-17T10:00:00-00:00" },
  { alias: "port-trusted-vif", name: "Port trusted vif", description: "Whether a port's virtual function is trusted.", updated: "2024-07-10T10:00:00-00:00" },
];
