// Columns of Open vSwitch's database that rules may set, with what each holds: types refuse others, the southbound layer reads all of
// them back, and what a wish does not name has the default of its kind. As of vswitch.ovsschema 8.3.1 (Open vSwitch 3.1).

/** `?`: one or none. `*`: several. `+`: at least one. `!`: one that has to be said. The others have the default of OVSDB. RFC 7047 section 5.2.1 */
export type ColumnKind =
  | "string" | "integer" | "boolean" | "string?" | "integer?" | "ref?" | "string*" | "integer*" | "ref*" | "string+" | "integer!" | "string!" | "map" | "refs";

const interfaceColumns = {
  type: "string", options: "map", mac: "string?", ofport_request: "integer?", mtu_request: "integer?", bfd: "map", cfm_mpid: "integer?", lldp: "map",
  ingress_policing_rate: "integer", ingress_policing_burst: "integer", ingress_policing_kpkts_rate: "integer", ingress_policing_kpkts_burst: "integer",
  other_config: "map", external_ids: "map",
} as const;

export const ovsColumns = {
  Port: { tag: "integer?", trunks: "integer*", cvlans: "integer*", vlan_mode: "string?", qos: "ref?", protected: "boolean", other_config: "map", external_ids: "map" },
  Interface: interfaceColumns,
  QoS: { type: "string", queues: "refs", other_config: "map", external_ids: "map" },
  Queue: { dscp: "integer?", other_config: "map", external_ids: "map" },
  Mirror: {
    name: "string", select_all: "boolean", select_src_port: "ref*", select_dst_port: "ref*", select_vlan: "integer*", output_port: "ref?", output_vlan: "integer?",
    snaplen: "integer?", external_ids: "map",
  },
  IPFIX: {
    targets: "string*", sampling: "integer?", obs_domain_id: "integer?", obs_point_id: "integer?", cache_active_timeout: "integer?", cache_max_flows: "integer?",
    other_config: "map", external_ids: "map",
  },
  sFlow: { targets: "string+", sampling: "integer?", polling: "integer?", header: "integer?", agent: "string?", external_ids: "map" },
  NetFlow: { targets: "string+", engine_type: "integer?", engine_id: "integer?", add_id_to_interface: "boolean", active_timeout: "integer", external_ids: "map" },
  Flow_Table: { name: "string?", flow_limit: "integer?", overflow_policy: "string?", groups: "string*", prefixes: "string*", external_ids: "map" },
  Flow_Sample_Collector_Set: { id: "integer!", ipfix: "ref?", external_ids: "map" },
} as const satisfies Readonly<Record<string, Readonly<Record<string, ColumnKind>>>>;
type Columns = typeof ovsColumns;

/** Tables of a host's database whose rows the controller can own. A Port brings its one Interface, of the same name. */
export type OvsTable = Exclude<keyof Columns, "Interface">;

/** Another row that the controller owns on the same host; a Port may be anybody's. One that is not there is left out. */
export interface OvsRef {
  readonly ref: OvsTable;
  readonly key: string;
}
export const ovsRef = (table: OvsTable, key: string): OvsRef => ({ ref: table, key });

interface ValueOf extends Record<ColumnKind, OvsValue> {
  string: string; "string?": string; "string!": string; "string*": readonly string[]; "string+": readonly [string, ...string[]];
  integer: number; "integer?": number; "integer!": number; "integer*": readonly number[];
  boolean: boolean;
  "ref?": OvsRef; "ref*": readonly OvsRef[];
  map: Readonly<Record<string, string>>;
  /** Of a QoS: queue number -> Queue. */
  refs: Readonly<Record<number, OvsRef>>;
}

/** Columns of one row as a rule may name them. */
export type ColumnsOf<T extends keyof Columns> = RowOf<Columns[T]>;
type Needed<C> = { [N in keyof C]: C[N] extends `${string}${"!" | "+"}` ? N : never }[keyof C];
type RowOf<C> = { readonly [N in Exclude<keyof C, Needed<C>>]?: C[N] extends ColumnKind ? ValueOf[C[N]] : never } & { readonly [N in Needed<C>]: C[N] extends ColumnKind ? ValueOf[C[N]] : never };

/** The same whatever the table, for those who carry it. */
export type OvsValue = string | number | boolean | OvsRef | readonly (string | number | OvsRef)[] | { readonly [key: string]: string | OvsRef };
export type OvsColumns = Readonly<Record<string, OvsValue | undefined>>;

/** A Port and its Interface. */
export interface PortColumns {
  readonly interface: ColumnsOf<"Interface"> & { readonly type: string };
  readonly port?: ColumnsOf<"Port">;
  /** Name of the bridge that it is on, also one of the operator's: made when that comes. Absent: the integration bridge. */
  readonly bridge?: string;
}
export type OvsRowOf<T extends OvsTable> = T extends "Port" ? PortColumns : ColumnsOf<T>;

/** Rows of others that a rule may set columns of. */
export type PatchTable = "Port" | "Interface";
type PatchOf<T extends PatchTable> = {
  readonly [N in keyof Columns[T] & string]: Columns[T][N] extends "map"
    ? { readonly table: T; readonly name: string; readonly column: N; readonly key: string; readonly value: string }
    : { readonly table: T; readonly name: string; readonly column: N; readonly key?: never; readonly value: Columns[T][N] extends ColumnKind ? ValueOf[Columns[T][N]] : never };
}[keyof Columns[T] & string];

/**
 * One column, or one key of a map column, of a row that the controller did not make: set while somebody wants it, then as it was. Other
 * keys of the map are whoever's they are. Keys `axion-...` of external_ids are the controller's own.
 */
export type ColumnPatch = PatchOf<"Port"> | PatchOf<"Interface">;

/** The same for those who carry it. */
export interface OvsPatch {
  readonly table: PatchTable;
  /** Name of the row. */
  readonly name: string;
  readonly column: string;
  readonly key?: string | undefined;
  readonly value: OvsValue;
}
