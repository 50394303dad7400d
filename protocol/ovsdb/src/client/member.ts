/**
 * What a server says of itself in its `_Server` database (ovsdb-server(7), ovsdb(7) "The _Server database"): whether it
 * serves a database now, as what, and whether a client that wants the leader is right with it.
 */

import { OvsdbError } from "../wire/errors.ts";
import type { Monitor } from "../session/monitor.ts";
import type { Row } from "../session/rows.ts";
import type { OvsdbSession } from "../session/session.ts";

/** One row of the table Database. */
export interface Member {
  readonly name: string;
  readonly model: "standalone" | "clustered" | "relay";
  /** In touch with a majority of its cluster; always so for a stand-alone database. */
  readonly connected: boolean;
  readonly leader: boolean;
  /** The cluster's UUID and the server's own in it; clustered databases only. */
  readonly clusterId: string | undefined;
  readonly serverId: string | undefined;
  /** Of the newest log entry that the server has; clustered databases only. */
  readonly index: number | bigint | undefined;
  /** Text of the schema; undefined while a new member has not joined its cluster. */
  readonly schema: string | undefined;
}

const COLUMNS = ["name", "model", "connected", "leader", "cid", "sid", "index", "schema"];

/** Follows the row of a database; undefined when the server is too old for such rows. */
export async function watchMember(session: OvsdbSession, db: string): Promise<Monitor | undefined> {
  let schema;
  try {
    schema = await session.getSchema("_Server");
  } catch (error) {
    if (error instanceof OvsdbError && error.code === "unknown database") return undefined;
    throw error;
  }
  const known = schema.tables.get("Database");
  if (known === undefined) return undefined;
  await session.setDbChangeAware(true);
  return session.monitor("_Server", { Database: { columns: COLUMNS.filter((column) => known.columns.has(column)), where: [["name", "==", db]] } });
}

/** The member that a monitor of watchMember shows; of several databases of one name that of the cluster wanted. */
export function memberOf(monitor: Monitor, clusterId: string | undefined): Member | undefined {
  for (const row of monitor.table("Database").values()) {
    const member = read(row);
    if (clusterId === undefined || member.clusterId === undefined || clusterId === member.clusterId) return member;
  }
  return undefined;
}

function read(row: Row): Member {
  const model = row["model"];
  return {
    name: row["name"] as string,
    model: model === "clustered" || model === "relay" ? model : "standalone",
    connected: row["connected"] !== false,
    leader: row["leader"] !== false,
    clusterId: row["cid"] as string | undefined,
    serverId: row["sid"] as string | undefined,
    index: row["index"] as number | bigint | undefined,
    schema: row["schema"] as string | undefined,
  };
}

/** Why a client should not stay with this member; undefined when it should. */
export function unsuitable(member: Member, leaderOnly: boolean, minIndex: number | bigint): { code: "not leader" | "unsuitable server"; details: string } | undefined {
  const no = (details: string): { code: "unsuitable server"; details: string } => ({ code: "unsuitable server", details });
  if (member.model === "standalone") return member.schema === undefined ? no("it has no schema for the database") : undefined;
  if (member.schema === undefined) return no(member.model === "relay" ? "the relay has not reached its source yet" : "the member has not joined its cluster yet");
  if (!member.connected) return no(member.model === "relay" ? "the relay has lost its source" : "the member has lost its cluster");
  if (leaderOnly && (member.model === "relay" || !member.leader)) return { code: "not leader", details: member.model === "relay" ? "a relay never leads" : "another member leads the cluster" };
  if (member.index !== undefined && member.index < minIndex) return no(`its data are older (entry ${member.index}) than what was seen of the cluster (entry ${minIndex})`);
  return undefined;
}
