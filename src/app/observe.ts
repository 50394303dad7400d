// What an app observes of hosts: columns that a switch itself writes (BFD, links, counters). The controller follows those that some app
// declares, and remembers what they are now as facts: services, packet handlers and presentation read them. No rule does, since they
// change by themselves, exist on one controller and are gone when the host is; what flows need of them the switch knows (a group that
// watches a port), or a service stores at its own pace.
import { defineSoftTable, type LiveView } from "./soft-table.ts";
import type { Row } from "./table.ts";

/** By table what may be observed, and what each holds. As of vswitch.ovsschema 8.3.1 (Open vSwitch 3.1). */
export const observableColumns = {
  Interface: {
    bfd_status: "map", statistics: "counters", status: "map", link_state: "string?", admin_state: "string?", link_speed: "integer?", link_resets: "integer?", duplex: "string?", mtu: "integer?",
    mac_in_use: "string?", ifindex: "integer?", ofport: "integer?", error: "string?", lacp_current: "boolean?", cfm_fault: "boolean?", cfm_fault_status: "string*", cfm_health: "integer?",
    cfm_remote_opstate: "string?",
  },
  Port: { statistics: "counters", status: "map", rstp_status: "map", rstp_statistics: "counters", bond_active_slave: "string?" },
  Bridge: { status: "map", rstp_status: "map", datapath_version: "string?" },
} as const;
type Observable = typeof observableColumns;
export type ObservableTable = keyof Observable;

interface SeenOf {
  "string?": string; "integer?": number; "boolean?": boolean; "string*": readonly string[];
  map: Readonly<Record<string, string>>;
  /** Exact up to 2^53. */
  counters: Readonly<Record<string, number>>;
}

/** What an app declares: `observe: { Interface: ["bfd_status", "statistics"] }`. */
export type Observe = { readonly [T in ObservableTable]?: readonly (keyof Observable[T])[] };

/** A row's columns as they were last seen; absent: empty, of an older Open vSwitch, or not declared. */
export type Seen<T extends ObservableTable> = { readonly [N in keyof Observable[T]]?: Observable[T][N] extends keyof SeenOf ? SeenOf[Observable[T][N]] : never };

/** A row of a host that is connected. `id` is `<chassis>/<table>/<name>`. */
export interface Observed extends Row {
  readonly chassis: string;
  readonly table: ObservableTable;
  readonly name: string;
  readonly columns: Seen<"Interface"> | Seen<"Port"> | Seen<"Bridge">;
}

/**
 * Rows of all hosts, by chassis as owner; filled by the core, at most once a second for a host, and emptied of a host that leaves.
 * It lives as long as that session, not by the clock.
 */
export const observedTable = defineSoftTable<Observed>()("observed", { ttlS: Infinity, limitPerOwner: 4096, limit: 1_000_000 });

export const observedId = (chassis: string, table: ObservableTable, name: string): string => `${chassis}/${table}/${name}`;

/** What is seen of a row; undefined: its host is not connected, has none of this name, or nobody observes the table. */
export const observed = <T extends ObservableTable>(view: LiveView, chassis: string, table: T, name: string): Seen<T> | undefined =>
  view.fact(observedTable, observedId(chassis, table, name))?.columns as Seen<T> | undefined;

/** Sessions of a host with this controller. `id` is the chassis'; no fact: it has had none since the controller started. */
export interface HostSessions extends Row {
  /** Its switch is connected. */
  readonly openflow: boolean;
  /** Its database is connected, and its name was accepted. */
  readonly ovsdb: boolean;
  /** RFC 3339; when it came to have both, the last time. */
  readonly startedAt: string | undefined;
  /** RFC 3339; when it ceased to have both, where it has not. */
  readonly lostAt: string | undefined;
}
/** Filled by the core as sessions come and go, and emptied of hosts that are removed. */
export const hostSessionsTable = defineSoftTable<HostSessions>()("host_sessions", { ttlS: Infinity, limitPerOwner: 1, limit: 100_000 });
