// What Nova is told: external events of servers, by what changed of their ports.
// https://docs.openstack.org/api-ref/compute/#create-external-events-os-server-external-events
import type { ReadView, Row, RowChange } from "#app";
import { inactiveBindingTable, portDetailTable, portStatusTable, portTable, type InactiveBinding, type Port, type PortDetail, type PortStatus } from "../l2/model.ts";

export type EventName = "network-vif-plugged" | "network-vif-unplugged" | "network-vif-deleted" | "network-changed";

/** As it is sent; Nova refuses other keys. */
export interface ServerEvent {
  readonly name: EventName;
  /** The port's `device_id`. */
  readonly server_uuid: string;
  /** The port. */
  readonly tag: string;
  readonly status: "completed";
}

/** Tables whose changes may be events. */
export const watched = [portTable, portStatusTable, portDetailTable, inactiveBindingTable] as const;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** undefined: the port is of no server of Nova's. */
export function eventOf(port: Port, name: EventName): ServerEvent | undefined {
  return port.device_owner.startsWith("compute:") && UUID.test(port.device_id) ? { name, server_uuid: port.device_id, tag: port.id, status: "completed" } : undefined;
}

interface Seen {
  port?: RowChange;
  status?: RowChange;
  detail?: true;
  wired?: true;
}

/** At most two of a port: that it is plugged or is not any more, and that it changed; or that it is deleted. */
export function eventsOf(changes: readonly RowChange[], view: ReadView): ServerEvent[] {
  const seen = new Map<string, Seen>();
  const of = (id: string): Seen => {
    let entry = seen.get(id);
    if (entry === undefined) seen.set(id, (entry = {}));
    return entry;
  };
  for (const change of changes) {
    if (change.table === portTable) of(change.id).port = change;
    else if (change.table === portStatusTable) of(change.id).status = change;
    else if (change.table === inactiveBindingTable) {
      if (becameWired(change)) of((change.after as InactiveBinding).port_id).wired = true;
    }
    else for (const row of [change.before, change.after]) if (row !== undefined) of((row as PortDetail).port_id).detail = true;
  }
  return [...seen].flatMap(([id, { port: row, status, detail, wired }]) => {
    if (row?.after === undefined && row?.before !== undefined) return eventOf(row.before as Port, "network-vif-deleted") ?? [];
    const port = view.get(portTable, id);
    if (port === undefined) return [];
    const names: EventName[] = [];
    const plug = plugOf(status?.before as PortStatus | undefined, status?.after as PortStatus | undefined);
    if (plug !== undefined) names.push(plug);
    else if (wired === true) names.push("network-vif-plugged");
    if (detail === true || isAltered(row, status !== undefined)) names.push("network-changed");
    return names.flatMap((name) => eventOf(port, name) ?? []);
  });
}

/** Nova waits for it before a server moves, though its port is ACTIVE where the server still is. */
function becameWired({ before, after }: RowChange): boolean {
  return before !== undefined && (before as InactiveBinding).wired_at === undefined && (after as InactiveBinding | undefined)?.wired_at !== undefined;
}

/** ACTIVE is what switches have confirmed. A port that is ACTIVE on another host was plugged there. */
function plugOf(before: PortStatus | undefined, after: PortStatus | undefined): EventName | undefined {
  if (after?.status === "ACTIVE") return before?.status === "ACTIVE" && before.host === after.host ? undefined : "network-vif-plugged";
  return before?.status === "ACTIVE" && (after === undefined || after.status === "DOWN") ? "network-vif-unplugged" : undefined;
}

/** Every write of a port has a revision of its own, that of another app's attributes as well; a change of its status alone has one too. */
function isAltered(change: RowChange | undefined, statusChanged: boolean): boolean {
  if (change?.before === undefined || change.after === undefined) return false;
  return !statusChanged || textOf(change.before) !== textOf(change.after);
}
const textOf = (row: Row): string => JSON.stringify({ ...row, revision_number: 0, updated_at: "" });
