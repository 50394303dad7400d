// What GET /topology answers; the console reads it by the same types. docs/console.md says it in words.
import type { Place } from "./places.ts";

/** `state` in the API's words, of hosts as in GET /switches. */
export interface Shown {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly place: Place;
}
export interface ShownHost extends Shown {
  readonly ports: number;
}
export interface ShownProject {
  /** "": of no project. */
  readonly id: string;
  readonly networks: number;
  readonly routers: number;
  readonly ports: number;
  readonly place: Place;
}
export interface ShownNetwork extends Shown {
  readonly project: string;
  readonly ports: number;
  /** Those that have ports of it, at most 200. */
  readonly hosts: readonly string[];
  /** How many that are in all. */
  readonly host_count: number;
}
export interface ShownRouter extends Shown {
  readonly project: string;
  /** At most 200. */
  readonly links: readonly { readonly network: string; readonly port: string; readonly kind: "interface" | "gateway" }[];
  /** How many there are in all. */
  readonly link_count: number;
}
export interface ShownPort extends Shown {
  readonly project: string;
  readonly network: string;
  readonly host: string | null;
  readonly device_id: string;
  readonly device_owner: string;
}

export interface TopologyAnswer {
  readonly generation: number;
  /** 1: hosts and projects; 2: networks and routers too; 3: ports too. */
  readonly depth: number;
  readonly hosts: readonly ShownHost[];
  readonly projects: readonly ShownProject[];
  readonly networks: readonly ShownNetwork[];
  readonly routers: readonly ShownRouter[];
  readonly ports: readonly ShownPort[];
  /** Networks that lead outside. */
  readonly external: readonly ShownNetwork[];
  /** How many there are in all of what was asked for that are not shown, by list. */
  readonly left_out: { readonly hosts: number; readonly projects: number; readonly networks: number; readonly routers: number; readonly ports: number };
}
