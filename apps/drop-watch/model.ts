// What is known of packets of ports that switches drop: facts of this controller alone, which begin anew with each start and feed no flow.
import { defineSoftTable, type Row } from "#app";

/** As the rules say it whose flows drop (Rule.drops). */
export const REASONS = ["port_security", "no_ipv6", "security_group_egress", "security_group_ingress", "unknown_vlan"] as const;

/** Of a port, by one reason. `id`: `<port>/<reason>`. */
export interface DropSeen extends Row {
  readonly port_id: string;
  readonly project_id: string;
  readonly switch: string;
  readonly reason: string;
  /** As its switch has counted them since it has the flows that drop. */
  readonly packets: number;
  readonly bytes: number;
  /** On average of the last ten seconds. */
  readonly per_second: number;
  readonly last_minute: number;
  /** RFC 3339, to a few seconds; null: none since this controller looks. */
  readonly last_seen: string | null;
  /** RFC 3339; null: they are none, or few, or have ceased. */
  readonly persistent_since: string | null;
}

export const dropTable = defineSoftTable<DropSeen>()("port_drop", {
  ttlS: Infinity, limitPerOwner: 1000, limit: 50_000,
  indexes: { port: (d) => d.port_id, switch: (d) => d.switch, reason: (d) => d.reason, persistent: (d) => (d.persistent_since === null ? undefined : d.reason) },
});
export const dropId = (port: string, reason: string): string => `${port}/${reason}`;
