// What a controller of a cluster says of itself in etcd.
import type { KeyValue } from "etcd-v3-client";

/** What a member says of itself, as JSON under its key. */
export interface MemberRecord {
  /** Of this start of the process. */
  readonly id: string;
  readonly version: string;
  /** Names of the apps that it runs, in order; undefined: it is of a version that does not say so. */
  readonly apps?: readonly string[] | undefined;
  /** RFC 3339: since when the process is a member. */
  readonly since: string;
  readonly state: "starting" | "serving" | "leaving";
  /** What hosts are told to connect to, "tcp:192.0.2.1:6640"; "": it is not known. */
  readonly ovsdb: string;
  /** HOST:PORT, for people. */
  readonly api: string;
  readonly ops: string;
}

const MOST_TEXT = 1 << 20;

/** undefined: not what a controller writes. */
export function recordOf({ value }: Pick<KeyValue, "value">): MemberRecord | undefined {
  if (value.length > MOST_TEXT) return undefined;
  try {
    const said = JSON.parse(value.toString()) as Partial<MemberRecord> | null;
    const texts = [said?.id, said?.version, said?.since, said?.ovsdb, said?.api, said?.ops];
    const apps: unknown = said?.apps === undefined ? [] : said.apps;
    return texts.every((text) => typeof text === "string") && ["starting", "serving", "leaving"].includes(said?.state ?? "") && Array.isArray(apps) && apps.every((app) => typeof app === "string") ? (said as MemberRecord) : undefined;
  } catch {
    return undefined;
  }
}
