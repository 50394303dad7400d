// One switch as operators see it, in GET /switches.
import type { Chassis } from "#app";
import type { RefusedClaim } from "./claims.ts";
import type { SwitchSession } from "./openflow/session.ts";
import type { Switch } from "./openflow/switch.ts";
import type { Host } from "./ovsdb/host.ts";

export interface SwitchInfo {
  readonly id: string;
  readonly hostname: string;
  readonly dpid: string;
  readonly bridge: string;
  /** connected: has its flows. syncing: getting them. held: keeps what it has, and gets nothing. disconnected: no OpenFlow session. */
  readonly state: "connected" | "syncing" | "held" | "disconnected";
  /** Why it is held. */
  readonly held: string | null;
  /** Whether its OVSDB session is up. */
  readonly database: "connected" | "disconnected";
  readonly role: "equal";
  readonly ovs_version: string;
  readonly encap_ip: string;
  readonly encap_types: readonly string[];
  readonly gateway: boolean;
  /** Of its OpenFlow session; "" without one. */
  readonly address: string;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number; readonly quarantined: number };
  readonly last_error: string | null;
  readonly last_sync: string | null;
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
}

/** Of a host's Open vSwitch: as its database says, else as the switch itself does; "": neither is there to say so. */
export const versionOf = (row: Readonly<Chassis>, target: Switch | undefined): string => (row.ovs_version === "" ? (target?.session as SwitchSession | undefined)?.softwareVersion ?? "" : row.ovs_version);

export function switchInfo(row: Readonly<Chassis>, { target, host, desired, refused }: SwitchParts): SwitchInfo {
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
    role: "equal",
    ovs_version: versionOf(row, target),
    encap_ip: row.encap_ip,
    encap_types: row.encap_types,
    gateway: row.gateway,
    address: target?.session?.address ?? "",
    flows: { desired, installed: target?.state === "connected" ? Math.max(0, desired - pending - quarantined) : 0, pending, quarantined },
    last_error: target?.lastError ?? host?.lastError ?? null,
    last_sync: target?.lastSync?.toISOString() ?? null,
    generation: target?.confirmed ?? 0,
    since: target?.since.toISOString() ?? host?.since.toISOString() ?? null,
    refused,
  };
}
