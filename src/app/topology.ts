// What apps say for the operator's map (GET /topology): of which things it is, what each is connected with, and where it is. All of it is
// asked when somebody looks, and only of what is looked at; the core keeps what is counted and where it is drawn.
import type { LiveView } from "./soft-table.ts";
import type { Row, Table } from "./table.ts";

/** What the map is read from. */
export interface MapView extends LiveView {
  /** As `by`, but so many at most, and no more are read. */
  first<R extends Row, I extends string>(table: Table<R, I>, index: I, key: string, most: number): readonly Readonly<R>[];
}

/** What things the map has of rows of a table; such a row has an id, a name, a project (`project_id`) and the instant it was made (`created_at`). */
export interface MapList<R extends Row = Row> {
  readonly table: Table<R>;
  /** How it is, in the words of the API: "ACTIVE", "DOWN", "BUILD". */
  state(this: void, view: LiveView, row: R): string;
  /** A number that rows have for life, greater for one that was made later. */
  order(this: void, row: R): number;
}

export interface MapPorts<R extends Row = Row> extends Omit<MapList<R>, "order"> {
  /** The network that a port is in, always the same. */
  network(this: void, row: R): string;
  /** How many ports a network has, without reading them. */
  countIn(this: void, view: LiveView, networkId: string): number;
  in(this: void, view: MapView, networkId: string, most: number): readonly R[];
  /** Those of a project, in whatever networks. */
  of(this: void, view: MapView, projectId: string, most: number): readonly R[];
  /** How many ports a host has, without reading them. */
  countAt(this: void, view: LiveView, chassis: string): number;
  /** Hosts that a network has ports on, in any order. */
  hosts(this: void, view: LiveView, networkId: string): readonly string[];
  /** Where it is; undefined: nowhere. */
  host(this: void, view: LiveView, row: R): string | undefined;
  /** What stands behind it: a machine's id, a router's; and whose it is (`device_owner`). */
  device(this: void, row: R): { readonly id: string; readonly owner: string };
}

/** By which a router is on a network. */
export interface MapLink {
  readonly network: string;
  readonly port: string;
  readonly kind: "interface" | "gateway";
}

/** At most one app has each list; links, and what is outside, several may say. */
export interface MapPart {
  readonly networks?: MapList;
  readonly routers?: MapList;
  readonly ports?: MapPorts;
  /** Of a router, in any order. */
  links?(this: void, view: LiveView, routerId: string): readonly MapLink[];
  /** Routers on a network. */
  routersOn?(this: void, view: LiveView, networkId: string): readonly string[];
  /** Whether a network leads outside. */
  external?(this: void, view: LiveView, networkId: string): boolean;
}

/** `mapList({ table: routerTable, state: (view, router) => ... })`: checked against its table's rows. */
export const mapList = <R extends Row>(list: MapList<R>): MapList => list as unknown as MapList;
export const mapPorts = <R extends Row>(ports: MapPorts<R>): MapPorts => ports as unknown as MapPorts;
