// What beside flows a rule may want of a switch and of its database: desired state that a scope holds, counted by owner, read back,
// compared and repaired like flows. Ids come from declared pools and stored rows, never from emission: a restart finds the same.
import type { FlowAction } from "./actions.ts";

/** A meter with one drop band. OpenFlow 1.3.5 section 7.3.4.4. `burst`: packets or kilobits, by unit. */
export interface Meter {
  readonly unit: "pps" | "kbps";
  readonly rate: number;
  readonly burst: number;
}

/** OpenFlow 1.3.5 section 7.3.4.3. `watchPort`: a fast-failover bucket lives as long as that port does. */
export interface Bucket {
  readonly weight?: number;
  readonly watchPort?: number;
  readonly watchGroup?: number;
  readonly actions: readonly FlowAction[];
}
export interface Group {
  readonly type: "all" | "select" | "indirect" | "ff";
  readonly buckets: readonly Bucket[];
}

/** Numbered things of a switch, by kind. */
export interface Items {
  readonly meter: Meter;
  readonly group: Group;
}

/** Tables of a host's database whose rows the controller can own. A Port brings its one Interface, of the same name. */
export type OvsTable = "Port" | "QoS" | "Queue" | "Mirror" | "IPFIX" | "sFlow" | "NetFlow";

/** Another row that the controller owns on the same host. */
export interface OvsRef {
  readonly ref: OvsTable;
  readonly key: string;
}
export const ovsRef = (table: OvsTable, key: string): OvsRef => ({ ref: table, key });

export type OvsValue = string | number | boolean | OvsRef | readonly (string | number | OvsRef)[] | { readonly [key: string]: string | OvsRef };
export type OvsColumns = Readonly<Record<string, OvsValue>>;

/** Columns of a Port as of `Port`, and of its Interface. */
export interface PortColumns {
  readonly interface: OvsColumns & { readonly type: string };
  readonly port?: OvsColumns;
}
export type OvsRowOf<T extends OvsTable> = T extends "Port" ? PortColumns : OvsColumns;

/** One column of a row that the controller did not make: set while somebody wants it, then put back. */
export interface OvsPatch {
  readonly table: "Port" | "Interface";
  /** Name of the row. */
  readonly name: string;
  readonly column: string;
  readonly value: OvsValue;
}
