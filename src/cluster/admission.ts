// With whom a controller can be one of a cluster.
import type { EtcdClient } from "etcd-v3-client";
import { UsageError } from "../lib/usage-error.ts";
import type { ClusterKeys } from "./keys.ts";
import { recordOf, type MemberRecord } from "./member-record.ts";

/** Names of apps in one message. */
const NAMED = 20;
const LOOK_MS = 2000;

type Alike = Pick<MemberRecord, "version" | "apps">;

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
    const said = recordOf(kv);
    // Who leaves is soon no member; what is under no lease is none's, and would stay for ever.
    return said === undefined || said.state === "leaving" || kv.lease === 0n ? [] : [[kv.key.toString().slice(key.length), said] as const];
  })));
}
