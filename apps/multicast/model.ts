// Networks whose switches know which ports want which multicast groups, and how long they know it.
import { definePool, defineScope, defineSettings, defineTable, type Row, type Scope } from "#app";
import { partOf } from "../l2/model.ts";

export const multicastSettings = defineSettings({
  "multicast-snooping": { kind: "boolean", about: "multicast goes to ports that joined its group (IGMP, MLD), not to all ports of the network" },
  "multicast-query-interval": { kind: { integer: [2, 3600] }, value: "SECONDS", fallback: "60", about: "how often ports are asked which groups they want, where --multicast-snooping is given" },
});

/** A network where multicast is filtered (derived). `id` is the network's. */
export interface Snooped extends Row {
  readonly key: number;
  /** Seconds between two queries; a switch is told each time that it may filter, and does so for `filterS`. */
  readonly queryS: number;
}
export const snoopedTable = defineTable<Snooped>()("snooped_network", { derived: true });

/** A host of such a network (derived). `id` is `<network>@<chassis>`. */
export interface SnoopedHost extends Row {
  readonly network_id: string;
  readonly net_key: number;
  readonly chassis: string;
  readonly host_key: number;
  /** It has a port without port security there: a multicast router may be behind it, or others that joined. */
  readonly open: boolean;
}
export const snoopedHostTable = defineTable<SnoopedHost>()("snooped_host", { derived: true, indexes: { network: (h) => h.network_id }, pairs: { /** The second is partOf its key. */ parts: (h) => [h.network_id, String(partOf(h.host_key))] } });

/** They are the same on every host: nobody draws one. */
export const multicastGroups = definePool({ name: "multicast-group", of: "group", min: 2_000_003, max: 2_000_004, about: "groups that have parts of long lists of multicast copies translated apart", taken: () => true });

/** What is the same in all of these networks, on the hosts that have one. */
export const snoopingScope: () => Scope = defineScope("snooping");

/** Seconds that ports have to answer a query: 10 (RFC 2236 section 8.3), and done before the next one. */
export const answerS = (queryS: number): number => Math.min(10, queryS / 2);
/** Seconds that a switch filters after it was told to: two tellings may be lost, or a controller take over from another meanwhile. */
export const filterS = (queryS: number): number => 3 * queryS + 10;
/** Seconds that a membership is known after it was said: as long as any switch filters that was told with the query that it answered, or with the one after that. */
export const memberS = (queryS: number): number => Math.ceil(filterS(queryS) + queryS + answerS(queryS));

/** What the controller has a switch learn of a packet that it sends into a network: in `router`, with `from_network`. Nothing else that goes to a group has both. */
export const signal = { joined: 1, left: 2, filter: 3 } as const;
