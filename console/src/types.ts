// What the ops listener answers, as far as the console shows it: docs/operations.md, docs/console.md, docs/store.md.

export interface Problem {
  readonly kind: string;
  readonly severity: "critical" | "error" | "warning";
  readonly since: string;
  readonly text: string;
  readonly resources: readonly { readonly type: string; readonly id: string; readonly name?: string }[];
  readonly switches: readonly string[];
  readonly cure: { readonly text: string };
}

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

export interface Place {
  readonly x: number;
  readonly y: number;
  readonly r: number;
}
interface Thing {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly place: Place;
}
export interface MapNetwork extends Thing {
  readonly project: string;
  readonly ports: number;
  readonly hosts: readonly string[];
}
export interface MapRouter extends Thing {
  readonly project: string;
  readonly links: readonly { readonly network: string; readonly port: string; readonly kind: "interface" | "gateway" }[];
}
export interface MapPort extends Thing {
  readonly project: string;
  readonly network: string;
  readonly host: string | null;
  readonly device_id: string;
  readonly device_owner: string;
}
export interface Topology {
  readonly generation: number;
  readonly depth: number;
  readonly hosts: readonly (Thing & { readonly ports: number })[];
  readonly projects: readonly { readonly id: string; readonly networks: number; readonly routers: number; readonly ports: number; readonly place: Place }[];
  readonly networks: readonly MapNetwork[];
  readonly external: readonly MapNetwork[];
  readonly routers: readonly MapRouter[];
  readonly ports: readonly MapPort[];
  readonly left_out: Readonly<Record<string, number>>;
}

export interface Flow {
  readonly switch: string;
  readonly table_id: number;
  readonly table: string;
  readonly priority: number;
  readonly match: string;
  readonly actions: string;
  readonly cookie: string;
  readonly app: string;
  readonly rule: string;
  readonly about: string;
  readonly resources: readonly { readonly type: string; readonly id: string; readonly name?: string; readonly call?: string; readonly generation?: number }[];
  readonly state: string;
  readonly packet_count?: number;
  readonly byte_count?: number;
}
export interface FlowEvent {
  readonly event: "added" | "changed" | "removed";
  readonly generation: number;
  readonly flow: Flow;
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
  readonly verdict: "delivered" | "dropped";
  readonly delivered?: readonly { readonly switch: string; readonly port: string | number; readonly id?: string }[];
  readonly hops: readonly TraceHop[];
  readonly cause?: { readonly reason: string; readonly text: string; readonly resources?: readonly { readonly type: string; readonly id: string; readonly name?: string }[]; readonly cure?: { readonly text: string } | null } | null;
  readonly notes?: readonly string[];
  readonly answer?: Trace | null;
}
