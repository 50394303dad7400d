// Lists of who gets a copy of a packet, in flows of bounded size, so that one more or less changes one small flow. Up to COPIES are in the flow that
// the list begins with. A longer list is in parts, by numbers that its members keep (keys of hosts, zones of ports), and begins with a flow that calls each part.
//
// Open vSwitch translates all that becomes of a packet at once: into 64 KiB of datapath actions, where copies beyond are lost, and by 4,096 resubmits,
// where the packet is (ofproto/ofproto-dpif-xlate.c, xlate_resubmit_resource_check). So each part of a list of very many is translated apart: a group
// that selects by the datapath's hash has the packet come back from there first, and one around it goes on with the list meanwhile.
import { callTable, definePool, defineScope, defineTable, type FlowAction, type Outputs, type Row, type Scope } from "#app";

/** Copies in one flow: to other hosts 2.6 KB of them. */
export const COPIES = 64;
/** Copies of a list that are translated together: to another host some 100 bytes and 3 resubmits each, to a port here less or, with meters and taps, a few times that. */
const TOGETHER = 256;
/** Numbers have 16 bits: so many parts. */
const PARTS = 2 ** 16 / COPIES;

/** whole: in one flow. parts: in several. apart: in several, each translated by itself. */
export type Spread = "whole" | "parts" | "apart";
export const spreadOf = (members: number): Spread => (members <= COPIES ? "whole" : members <= TOGETHER ? "parts" : "apart");

/** The part of a list where the member with a number is. */
export const partOf = (n: number): number => Math.floor(n / COPIES);
export function inParts<M>(members: readonly M[], numberOf: (member: M) => number): ReadonlyMap<number, readonly M[]> {
  const parts = new Map<number, M[]>();
  for (const member of members) {
    const part = partOf(numberOf(member));
    const there = parts.get(part);
    if (there === undefined) parts.set(part, [member]);
    else there.push(member);
  }
  return parts;
}

/** Where an app has the parts of its lists: a table that matches the register, and two groups. */
export interface Parts<T extends string, R extends string> {
  readonly table: T;
  readonly register: R;
  readonly group: number;
}
/** Bits of the register. */
export const PART_BITS = 16;
/** A part of one of the app's lists as the register has it. */
export const partKey = (list: 0 | 1 | 2 | 3, part: number): number => list * PARTS + part;

/** What a list in parts begins with. */
export const callParts = <T extends string, R extends string>({ table, register, group }: Parts<T, R>, list: 0 | 1 | 2 | 3, parts: Iterable<number>, spread: Spread): FlowAction<T, R>[] =>
  Array.from(parts).sort((a, b) => a - b).flatMap((part): FlowAction<T, R>[] => [{ type: "load_reg", reg: register, value: partKey(list, part) }, spread === "apart" ? { type: "group", id: group } : { type: "call", table }]);

/** Those of l2: they are the same on every host, nobody draws one. */
export const floodGroups = definePool({ name: "flood-group", of: "group", min: 2_000_001, max: 2_000_002, about: "groups that have parts of long lists of copies translated apart", taken: () => true });

/** Parts of l2's own lists: of other hosts, of local ports, of those that hear what is for nobody known. */
export const floodParts = { table: "flood_parts", register: "flood_part", group: floodGroups.min } as const;
export const FLOOD_LIST = { flood_remote: 0, flood_local: 1, flood_unknown: 2 } as const;

/** Hosts with lists that are apart have the groups of the app. */
const apartScope = defineScope("copies-apart");
export function apart<T extends string>(out: Outputs, from: Scope, { table, group }: Parts<T, string>): void {
  const scope = apartScope(table);
  out.include(from, scope);
  out.item(scope, "group", group, { type: "all", buckets: [{ actions: [{ type: "group", id: group + 1 }] }] });
  out.item(scope, "group", group + 1, { type: "select", buckets: [{ weight: 1, actions: [callTable(table)] }] });
}

/** A chassis with a port of a network (derived). `id` is `<network>@<chassis>`. */
export interface MemberHost extends Row {
  readonly network_id: string;
  readonly net_key: number;
  readonly chassis: string;
  readonly host_key: number;
}
export const memberHostTable = defineTable<MemberHost>()("member_host", {
  derived: true, indexes: { network: (h) => h.network_id }, pairs: { /** The second is partOf its key. */ parts: (h) => [h.network_id, String(partOf(h.host_key))] },
});

/** The list of a network's member hosts, where there are any (derived). `id` is the network's. */
export interface HostList extends Row {
  readonly net_key: number;
  readonly spread: Spread;
}
export const hostListTable = defineTable<HostList>()("host_list", { derived: true });
