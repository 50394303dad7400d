// What the ops listener answers, as far as the console shows it: docs/operations.md, docs/console.md, docs/store.md. Shapes that the server has in a
// file that imports little are the server's own; the others are here as far as they are shown.

export type { Problem } from "../../src/lib/problem.ts";
export type { FlowEvent, FlowRecord as Flow } from "../../src/ops/flows/flows.ts";
export type { Place } from "../../src/ops/places.ts";
export type { ShownNetwork as MapNetwork, ShownPort as MapPort, ShownRouter as MapRouter, TopologyAnswer as Topology } from "../../src/ops/topology-answer.ts";

export interface SwitchInfo {
  readonly id: string;
  readonly hostname: string;
  readonly dpid: string;
  readonly bridge: string;
  readonly state: "connected" | "syncing" | "held" | "disconnected";
  readonly held: string | null;
  readonly database: "connected" | "disconnected";
  readonly ovs_version: string;
  readonly encap_ip: string;
  readonly encap_types: readonly string[];
  readonly gateway: boolean;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number; readonly quarantined: number };
  readonly last_error: string | null;
  readonly last_audit: string | null;
  readonly generation: number;
  readonly since: string | null;
}

export interface Commit {
  readonly generation: number;
  readonly at: string;
  readonly call: string;
  readonly request_id?: string | null;
  readonly user?: string | null;
  readonly project?: string | null;
  readonly changes: readonly { readonly type: string; readonly id: string; readonly before: unknown; readonly after: unknown }[];
}

export interface TraceHop {
  readonly switch: string;
  readonly table: string;
  /** null: no flow matched. */
  readonly priority: number | null;
  readonly match: string;
  readonly actions: string;
  readonly app: string;
  readonly rule: string;
  readonly installed?: boolean;
}
export interface Trace {
  readonly verdict: "delivered" | "dropped" | "unknown";
  readonly delivered?: readonly { readonly switch: string; readonly port: string | number; readonly id?: string }[];
  readonly hops: readonly TraceHop[];
  readonly cause?: { readonly reason: string; readonly text: string; readonly resources?: readonly { readonly type: string; readonly id: string; readonly name?: string }[]; readonly cure?: { readonly text: string } | null } | null;
  readonly notes?: readonly string[];
  readonly answer?: Trace | null;
}
