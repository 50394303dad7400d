// What a controller says of itself in its key in etcd, and how that is read: somebody else may have written it.
import type { KeyValue } from "etcd-v3-client";

/** What a member says of itself. */
export interface MemberSays {
  /** Of this start of the process. */
  readonly id: string;
  readonly version: string;
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
export function saysOf(kv: KeyValue): MemberSays | undefined {
  if (kv.value.length > MOST_TEXT) return undefined;
  try {
    const said = JSON.parse(kv.value.toString()) as Partial<MemberSays> | null;
    const texts = [said?.id, said?.version, said?.since, said?.ovsdb, said?.api, said?.ops];
    return texts.every((text) => typeof text === "string") && ["starting", "serving", "leaving"].includes(said?.state ?? "") ? (said as MemberSays) : undefined;
  } catch {
    return undefined;
  }
}
