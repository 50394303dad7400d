// Logs of security groups: which ports are logged for whom, and what was logged lately.
import { defineSoftTable, defineTable, meterOfZone, resourceHandle, zoneMeters, type ReadView, type Row, type StandardRow } from "#app";
import type { Port } from "../l2/model.ts";
import { groupTable, portGroupsTable } from "../security-groups/model.ts";

export type Event = "ACCEPT" | "DROP";

/** What is logged: of one port, of the ports that have a group, or of all ports of its project. */
export interface Log extends StandardRow {
  readonly resource_type: "security_group";
  /** A group; null: whatever groups ports have. */
  readonly resource_id: string | null;
  /** A port; null: all. */
  readonly target_id: string | null;
  readonly event: Event | "ALL";
  readonly enabled: boolean;
}
export const logResource = resourceHandle<Log>("log");
export const logTable = defineTable<Log>()("log", {
  resource: "log",
  indexes: {
    project: (l) => l.project_id, group: (l) => l.resource_id ?? undefined, port: (l) => l.target_id ?? undefined,
    /** Of all ports of a project. */
    all: (l) => (l.resource_id === null && l.target_id === null ? l.project_id : undefined),
  },
});
/** Of a project. */
export const LOGS_MAX = 100;

/** Logs that are on under which a port is logged. A group that is shared is logged of the ports of its own project alone. */
export function logsOf(view: ReadView, { id, project_id }: Pick<Port, "id" | "project_id">): readonly Log[] {
  const groups = view.get(portGroupsTable, id)?.groups ?? [];
  const ofPort = view.by(logTable, "port", id).filter((l) => l.resource_id === null || groups.includes(l.resource_id));
  const ofGroups = groups.flatMap((group) => view.by(logTable, "group", group).filter((l) => l.target_id === null && view.get(groupTable, group)?.project_id === project_id));
  return [...ofPort, ...ofGroups, ...view.by(logTable, "all", project_id)].filter((l) => l.enabled);
}
export const isOf = (logged: Log["event"], event: Event): boolean => logged === "ALL" || logged === event;

/** A port that is logged, whatever the logs (derived). `id` is its own. */
export interface LoggedPort extends Row {
  readonly accepted: boolean;
  readonly dropped: boolean;
}
export const loggedPortTable = defineTable<LoggedPort>()("logged_port", { derived: true });

/** For each port: what comes up to the controller because it is logged. Apart from other meters, which it must not use up. */
export const LOG_METER = { unit: "pps", rate: 20, burst: 40 } as const;
export const logMeters = zoneMeters("log-meter", 0x8014_0000, "meters of what is logged of ports, one for each port: by its zone");
export const logMeter = (zone: number): number => meterOfZone(logMeters, zone);

/** A packet that was logged. */
export interface LoggedPacket {
  /** RFC 3339. */
  readonly at: string;
  readonly event: Event;
  /** As rules have it: ingress is to the port. */
  readonly direction: "ingress" | "egress";
  readonly port_id: string;
  readonly ethertype: "IPv4" | "IPv6";
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** Of TCP and UDP; null: there are none to be seen. */
  readonly source_port: number | null;
  readonly destination_port: number | null;
  /** Of ICMP. */
  readonly icmp_type: number | null;
  readonly icmp_code: number | null;
  /** Of a connection that was accepted: the rules that allow it, as far as its addresses tell. */
  readonly rules: readonly string[];
}

/** `id` is of no meaning; entries come in the order of time. */
export interface LogEntry extends Row {
  readonly log_id: string;
  readonly project_id: string;
  /** Where the port is, which operators alone are told. */
  readonly switch: string;
  readonly packet: LoggedPacket;
}
/** Of a project, and of all. */
export const ENTRIES = { project: 1000, all: 20_000 };
export const logEntries = defineSoftTable<LogEntry>()("log_entry", { ttlS: 86_400, limitPerOwner: ENTRIES.project, limit: ENTRIES.all, indexes: { log: (e) => e.log_id, port: (e) => e.packet.port_id } });
