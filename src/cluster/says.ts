// What a controller of a cluster says of itself in etcd, and with whom it can be one.
import type { EtcdClient, KeyValue } from "etcd-v3-client";
import { UsageError } from "../lib/usage-error.ts";
import type { ClusterKeys } from "./keys.ts";

/** What a member says of itself. */
export interface MemberSays {
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
const NAMED = 20;
const LOOK_MS = 2000;

/** undefined: not what a controller writes. */
export function saysOf({ value }: Pick<KeyValue, "value">): MemberSays | undefined {
  if (value.length > MOST_TEXT) return undefined;
  try {
    const said = JSON.parse(value.toString()) as Partial<MemberSays> | null;
    const texts = [said?.id, said?.version, said?.since, said?.ovsdb, said?.api, said?.ops];
    const apps: unknown = said?.apps === undefined ? [] : said.apps;
    return texts.every((text) => typeof text === "string") && ["starting", "serving", "leaving"].includes(said?.state ?? "") && Array.isArray(apps) && apps.every((app) => typeof app === "string") ? (said as MemberSays) : undefined;
  } catch {
    return undefined;
  }
}

type Alike = Pick<MemberSays, "version" | "apps">;

/**
 * Controllers of one version with other apps have other flows for the same switches: each that becomes the master would take away what the one before made. Those
 * of another version may have other apps: that is an upgrade, which ends (the problem `member_version` says that it has not).
 * @throws UsageError naming the one that is there, and which apps differ
 */
export function refuseUnlike(own: Alike & { readonly name: string }, others: ReadonlyMap<string, Alike>): void {
  for (const [name, { version, apps }] of others) {
    if (name === own.name || version !== own.version || apps === undefined || own.apps === undefined) continue;
    const without = (all: readonly string[], these: readonly string[]): string => all.filter((app) => !these.includes(app)).slice(0, NAMED).join(", ");
    const [more, less] = [without(own.apps, apps), without(apps, own.apps)];
    if (more === "" && less === "") continue;
    const differs = [...(less === "" ? [] : [`it runs ${less}, this one does not`]), ...(more === "" ? [] : [`this one runs ${more}, it does not`])].join("; ");
    throw new UsageError(`the controller ${name} of this cluster runs other apps: ${differs}. All of a cluster run the same (--disable-app): to change that, stop all of them, and start them with the new ones; switches keep their flows meanwhile`);
  }
}

/** The same before anything is read or written of the store. @throws UsageError, EtcdError */
export async function refuseUnlikeOf(client: EtcdClient, { members: { key, rangeEnd } }: ClusterKeys, own: Alike & { readonly name: string }): Promise<void> {
  const { kvs } = await client.range({ key, range_end: rangeEnd }, { timeoutMs: LOOK_MS });
  refuseUnlike(own, new Map(kvs.flatMap((kv) => {
    const said = saysOf(kv);
    // Who leaves is soon no member; what is under no lease is none's, and would stay for ever.
    return said === undefined || said.state === "leaving" || kv.lease === 0n ? [] : [[kv.key.toString().slice(key.length), said] as const];
  })));
}
