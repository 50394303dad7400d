// How many ports a project may have, by its id; and, worked out and never stored, how many ports are attached to a host.
import { defineTable, resourceHandle, type Row } from "#app";

export interface Allowance extends Row {
  /** The id as well. */
  readonly project_id: string;
  /** -1: without limit. */
  readonly ports: number;
}
export const allowanceResource = resourceHandle<Allowance>("allowance");
export const allowanceTable = defineTable<Allowance>()("allowance", { resource: "allowance", indexes: { project: (a) => a.project_id } });
export const INITIAL_PORTS = 50;

/** `id` is the chassis'. */
export interface HostLoad extends Row {
  readonly ports: number;
}
export const hostLoadResource = resourceHandle<HostLoad>("host_load");
