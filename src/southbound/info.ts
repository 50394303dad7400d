// One switch as operators see it, in GET /switches and in /metrics.
import type { Chassis } from "#app";
import type { Metrics } from "../lib/metrics.ts";
import type { RefusedClaim } from "./claims.ts";
import type { SwitchSession } from "./openflow/session.ts";
import type { Repaired } from "./openflow/switch-types.ts";
import type { Switch } from "./openflow/switch.ts";
import type { Host } from "./ovsdb/host.ts";

export interface SwitchInfo {
  readonly id: string;
  readonly hostname: string;
  readonly dpid: string;
  readonly bridge: string;
  /** connected: has its flows. syncing: getting them. held: keeps what it has, and gets nothing. standby: another controller is its master, which knows. disconnected: no OpenFlow session. */
  readonly state: "connected" | "syncing" | "held" | "standby" | "disconnected";
  /** Why it is held. */
  readonly held: string | null;
  /** Whether its OVSDB session is up. */
  readonly database: "connected" | "disconnected";
  /** Of this controller at the switch; equal: there is no other, none: it is not connected, or nobody is its master yet. */
  readonly role: "equal" | "master" | "slave" | "none";
  /** Name of the controller that is its master, as far as is known here; null: nobody. */
  readonly master: string | null;
  readonly ovs_version: string;
  readonly encap_ip: string;
  readonly encap_types: readonly string[];
  readonly gateway: boolean;
  /** Of its OpenFlow session; "" without one. */
  readonly address: string;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number; readonly quarantined: number };
  readonly last_error: string | null;
  readonly last_sync: string | null;
  /** When an audit last compared it with the desired flows, to the end. */
  readonly last_audit: string | null;
  /** What audits put right, the last time that one found something: flows, and how many of which table. */
  readonly repaired: { readonly at: string; readonly missing: number; readonly changed: number; readonly foreign: number; readonly tables: Readonly<Record<string, number>> } | null;
  /** Packets that it dropped, by table, as it counted them at the last audit. What each table drops is in its `about` (docs/pipeline.md). */
  readonly drops: Readonly<Record<string, number>>;
  /** Generation that the switch has confirmed; 0 = none since the controller started. */
  readonly generation: number;
  /** Of its state. */
  readonly since: string | null;
  /** Sessions that claimed to be this switch and were refused, a bounded number. */
  readonly refused: readonly RefusedClaim[];
}

export interface SwitchParts {
  readonly target: Switch | undefined;
  readonly host: Host | undefined;
  /** Flows that it should have. */
  readonly desired: number;
  readonly refused: readonly RefusedClaim[];
  readonly role: SwitchInfo["role"];
  readonly master: string | null;
  /** What it has confirmed, as its master knows. */
  readonly confirmed: number;
  readonly tableName: ((id: number) => string | undefined) | undefined;
}

/** Of a host's Open vSwitch: as its database says, else as the switch itself does; "": neither is there to say so. */
export const versionOf = (row: Readonly<Chassis>, target: Switch | undefined): string => (row.ovs_version === "" ? (target?.reader as SwitchSession | undefined)?.softwareVersion ?? "" : row.ovs_version);

export function switchInfo(row: Readonly<Chassis>, { target, host, desired, refused, role, master, confirmed, tableName }: SwitchParts): SwitchInfo {
  const pending = target?.pendingFlows ?? 0;
  const quarantined = target?.quarantine.size ?? 0;
  return {
    id: row.id,
    hostname: row.hostname,
    dpid: row.dpid,
    bridge: row.bridge,
    state: target?.state ?? "disconnected",
    held: target?.state === "held" ? (target.hold?.text ?? null) : null,
    database: host === undefined ? "disconnected" : "connected",
    role,
    master,
    ovs_version: versionOf(row, target),
    encap_ip: row.encap_ip,
    encap_types: row.encap_types,
    gateway: row.gateway,
    address: target?.reader?.address ?? "",
    flows: { desired, installed: target?.state === "connected" ? Math.max(0, desired - pending - quarantined) : 0, pending, quarantined },
    last_error: target?.lastError ?? host?.lastError ?? null,
    last_sync: target?.lastSync?.toISOString() ?? null,
    last_audit: target?.lastAudit?.toISOString() ?? null,
    repaired: target?.repaired === undefined ? null : shownRepair(target.repaired, tableName),
    drops: Object.fromEntries([...(target?.drops ?? [])].map(([id, packets]) => [tableName?.(id) ?? String(id), packets])),
    generation: confirmed,
    since: target?.since.toISOString() ?? host?.since.toISOString() ?? null,
    refused,
  };
}

const shownRepair = ({ at, missing, changed, foreign, tables }: Repaired, tableName: SwitchParts["tableName"]): SwitchInfo["repaired"] => ({
  at: at.toISOString(), missing, changed, foreign, tables: Object.fromEntries([...tables].map(([id, count]) => [tableName?.(id) ?? String(id), count])),
});

/** The state of each switch, by its system-id: as many samples as there are hosts. */
export function switchMetrics(m: Metrics, switches: () => readonly SwitchInfo[]): void {
  const gauge = (name: string, about: string, read: (s: SwitchInfo) => number | undefined): void => {
    m.gauge(name, about, () => switches().flatMap((s) => {
      const value = read(s);
      return value === undefined ? [] : [{ labels: { switch: s.id }, value }];
    }), ["switch"]);
  };
  gauge("axion_switch_connected", "1: the switch has an OpenFlow session", (s) => (s.state === "disconnected" ? 0 : 1));
  gauge("axion_switch_database_connected", "1: the database of its host is connected", (s) => (s.database === "connected" ? 1 : 0));
  gauge("axion_switch_synced", "1: the switch has been compared with the desired flows, and nothing is on its way", (s) => (s.state === "connected" && s.flows.pending === 0 ? 1 : 0));
  gauge("axion_switch_flows_desired", "Flows that the switch should have", (s) => s.flows.desired);
  gauge("axion_switch_flows_pending", "Flows on their way to the switch", (s) => s.flows.pending);
  gauge("axion_switch_flows_quarantined", "Flows that the switch refuses", (s) => s.flows.quarantined);
  m.gauge("axion_switch_dropped_packets", "Packets that the switch dropped, by table, as it counted them at the last audit", () =>
    switches().flatMap((s) => Object.entries(s.drops).map(([table, value]) => ({ labels: { switch: s.id, table }, value }))), ["switch", "table"]);
  gauge("axion_switch_generation", "Generation that the switch has confirmed", (s) => s.generation);
  gauge("axion_switch_last_audit_timestamp_seconds", "When an audit last compared the switch to the end", (s) => (s.last_audit === null ? undefined : Date.parse(s.last_audit) / 1000));
}
