// What the compiler hands to the southbound layer: for each chassis the flows, numbered things and database rows it should have, and
// the difference that a commit makes. Flows are bytes, encoded once for all chassis of their scope.
import type { Items, Meter, OvsColumns, OvsPatch, OvsTable, PortColumns } from "#app";
import type { Action } from "node-openflow";

/** One desired flow entry. Its bytes are a whole OFPT_FLOW_MOD (ADD) message in a slab; the header's xid is 0. */
export interface Flow {
  readonly table: number;
  readonly priority: number;
  /** High and low half of the cookie. */
  readonly cookieHi: number;
  readonly cookieLo: number;
  /** Read all three at once: a flow that stays may be moved to another slab between two turns. */
  readonly slab: Buffer;
  readonly off: number;
  readonly len: number;
  /** Length of the ofp_match inside the message (padded); it begins at off + FLOW_MOD_MATCH_OFFSET, instructions follow it. */
  readonly matchLen: number;
  /** Identity on a switch: the message's bytes from table_id to the end of the match (latin1). Equal strings = same flow. */
  readonly key: string;
}

/** A group with its actions as a switch takes them. */
export interface LoweredGroup {
  readonly type: "all" | "select" | "indirect" | "ff";
  readonly buckets: readonly { readonly weight?: number; readonly watch_port?: number; readonly watch_group?: number; readonly actions: readonly Action[] }[];
}

export type ItemKind = keyof Items;
/** A meter or group. Equal texts of one kind mean the same. */
export type Item =
  | { readonly kind: "meter"; readonly id: number; readonly text: string; readonly value: Meter }
  | { readonly kind: "group"; readonly id: number; readonly text: string; readonly value: LoweredGroup };

/** A row of the host's database; a Port with its Interface. */
export interface DesiredRow {
  readonly table: OvsTable;
  readonly key: string;
  /** Of a Flow_Table: the number that the layout gave the table. */
  readonly number?: number;
  readonly columns: OvsColumns | PortColumns;
}

/** What one commit changes on one chassis. Net: a key is in `add` or in `remove`, never both. `add` also replaces. */
export interface ChassisDelta {
  readonly add: Flow[];
  /** Those of `add` that take the place of another flow with their key. */
  readonly changed: Set<Flow>;
  readonly remove: Flow[];
  readonly addItems: Item[];
  readonly removeItems: Item[];
  /** True if rowsOf(chassis) or patchesOf(chassis) changed. */
  rowsChanged: boolean;
}

export interface Delta {
  /** The store revision that the desired state now reflects. */
  readonly generation: number;
  readonly chassis: ReadonlyMap<string, ChassisDelta>;
}

/** Everything the southbound layer may ask of the compiler. All synchronous; the compiler does no I/O. */
export interface Desired {
  readonly generation: number;
  /** Ids of tables that the switch itself fills: what it learns there is nobody else's. */
  readonly learnedTables: ReadonlySet<number>;
  flowsOf(chassis: string): Iterable<Flow>;
  itemsOf(chassis: string): Iterable<Item>;
  rowsOf(chassis: string): Iterable<DesiredRow>;
  patchesOf(chassis: string): Iterable<OvsPatch>;
  /** Called once per commit, after the rules ran, in generation order, also when nothing changed for any chassis. */
  onDelta(listener: (delta: Delta) => void): () => void;
}

export const emptyDelta = (): ChassisDelta => ({ add: [], changed: new Set(), remove: [], addItems: [], removeItems: [], rowsChanged: false });
