// agents' entities: hosts as clients of the API look for them, one agent for each role of a host. There is no process behind an agent: a host is what its
// sessions with the controller are.
import { chassisTable, defineSoftTable, defineTable, hostSessionsTable, nameUuid, resourceHandle, type LiveView, type Row } from "#app";

/** What a host is for. A joint (derived): an app that has hosts act says which do. Rows carry `<app>/<chassis>` as id; a chassis has each type once. */
export interface HostRole extends Row {
  readonly chassis: string;
  /** As clients know it: "L3 agent". */
  readonly agent_type: string;
  /** What does it. */
  readonly binary: string;
}
export const hostRoleTable = defineTable<HostRole>()("host_role", { derived: true, open: true, indexes: { chassis: (r) => r.chassis } });

/** An agent (stored): a role that a host has, since when, and what an administrator says of it. `id` is agentId(...). */
export interface Agent extends Row {
  /** The chassis, as in `binding:host_id`. */
  readonly host: string;
  readonly agent_type: string;
  readonly binary: string;
  /** UTC, as tx.now. */
  readonly created: string;
  readonly description: string | null;
}
export const agentTable = defineTable<Agent>()("agent", { resource: "agent", indexes: { host: (a) => a.host } });
export const agentResource = resourceHandle<Agent>("agent");

/** Namespace of the names of agents, RFC 4122 section 4.3: drawn once, used for nothing else. */
const NAMESPACE = "5b1f8c2a0d5e4c59a1f4c8f4b9d7e603";

/** The same for a host and a role whenever it is asked. */
export const agentId = (host: string, agentType: string): string => nameUuid(NAMESPACE, `${agentType}\n${host}`);

/** Whether a host is there: both of its sessions are. Each is probed, and ends when there is no answer. */
export function isAlive(view: LiveView, host: string): boolean {
  const sessions = view.get(chassisTable, host) === undefined ? undefined : view.fact(hostSessionsTable, host);
  return sessions?.openflow === true && sessions.ovsdb;
}

export const OVS_AGENT = "Open vSwitch agent";

/** When a host was last seen to be alive. `id` is the chassis'. */
export interface Heartbeat extends Row {
  readonly at: string;
}
export const heartbeatTable = defineSoftTable<Heartbeat>()("agent_heartbeat", { ttlS: 86_400 * 30, limitPerOwner: 1, limit: 100_000 });
/** As agents say times: "2026-01-31 12:00:00", UTC. */
const said = (time: string): string => time.slice(0, 19).replace("T", " ");

/** The later of two times, or the one there is. */
const later = (a: string | undefined, b: string | undefined): string | undefined => (a === undefined || (b !== undefined && b > a) ? b : a);

/** What a host says of itself. */
function configurations(view: LiveView, host: string): Record<string, unknown> {
  const chassis = view.get(chassisTable, host);
  if (chassis === undefined) return {};
  const { bridge, bridge_mappings, datapath_type, encap_ip, encap_types, gateway, drain, ovs_version, hostname } = chassis;
  return {
    integration_bridge: bridge, bridge_mappings, datapath_type, tunneling_ip: encap_ip, tunnel_types: encap_types, gateway, gateway_drain: drain === true, ovs_version, hostname,
  };
}

/** What an agent shows beside its columns. */
export function statusOf(view: LiveView, { host, created }: Agent): Record<string, unknown> {
  const alive = isAlive(view, host);
  const sessions = view.fact(hostSessionsTable, host);
  const seen = later(view.fact(heartbeatTable, host)?.at, alive ? sessions?.startedAt : sessions?.lostAt);
  return {
    topic: "N/A", admin_state_up: true, alive, created_at: said(created), started_at: sessions?.startedAt === undefined ? null : said(sessions.startedAt),
    heartbeat_timestamp: seen === undefined ? null : said(seen), configurations: configurations(view, host),
  };
}
