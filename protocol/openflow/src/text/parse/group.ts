// Groups and meters as text: "group_id=1,type=select,bucket=weight:5,actions=output:1,bucket=...", "meter=1,kbps,bands=type=drop
// rate=100", as ovs-ofctl add-group and add-meter take them.

import { groups, ports } from "../../match/fields.ts";
import type { MessageOf } from "../../messages/codec.ts";
import { readActions } from "./actions.ts";
import { leadingCommand, pairs, part, port, quoted, textError, u16, u32, u8, type Pair, type Word } from "./words.ts";

type GroupMod = MessageOf<"group_mod">;
type MeterMod = MessageOf<"meter_mod">;
type Bucket = GroupMod["buckets"][number];
export type GroupCommand = "add" | "modify" | "delete" | "add_or_modify";
export type MeterCommand = "add" | "modify" | "delete";

/** As files of groups and bundles have them; the last two exist since OpenFlow 1.5 only. */
const GROUP_KEYWORDS = ["add", "delete", "modify", "add_or_mod", "insert_bucket", "remove_bucket"] as const;
const GROUP_TYPES = { all: "all", select: "select", indirect: "indirect", ff: "ff", fast_failover: "ff" } as const;
type GroupType = (typeof GROUP_TYPES)[keyof typeof GROUP_TYPES];
const LATER = new Set(["selection_method", "selection_method_param", "fields"]);
const BUCKET = "bucket=";
const LAST_BUCKET = 0xffffff00;

function groupId(word: Word, what: string): number {
  const id = u32(word, what);
  if (id > groups.MAX && id !== groups.ALL) throw textError(word, `${what}: there is no group ${id}`);
  return id;
}

/**
 * A group as ovs-ofctl add-group, mod-group and del-groups take it. Without `command` the text may begin with one (add, modify,
 * delete, add_or_mod), as in files of groups; else it is an add.
 * @throws OpenFlowError OF_TEXT
 */
export function parseGroup(text: string, options: { readonly command?: GroupCommand } = {}): GroupMod {
  const whole = { text, at: 0 };
  const { command: keyword, rest } = options.command === undefined ? leadingCommand(whole, GROUP_KEYWORDS) : { command: options.command, rest: whole };
  if (keyword === "insert_bucket" || keyword === "remove_bucket") throw textError(rest, `OpenFlow 1.3 has no ${keyword}`);
  const command = keyword === "add_or_mod" ? "add_or_modify" : keyword;
  if (command === "delete" && rest.text === "") return { type: "group_mod", command, group_type: "all", group_id: groups.ALL, buckets: [] };
  const start = rest.text.indexOf(BUCKET);
  if (start >= 0 && command === "delete") throw textError({ at: rest.at + start }, "a group is deleted without buckets");
  let id: number | undefined;
  let type: GroupType | undefined;
  let method: string | undefined;
  for (const { key, value } of pairs(part(rest, 0, start < 0 ? undefined : start))) {
    if (key.text === "group_id") id = value.text === "all" ? groups.ALL : groupId(value, "group_id");
    else if (key.text === "type" && command !== "delete") {
      type = (GROUP_TYPES as Readonly<Record<string, GroupType>>)[value.text];
      if (type === undefined) throw textError(value, `type: ${quoted(value)} is none of ${Object.keys(GROUP_TYPES).join(", ")}`);
    } else if (LATER.has(key.text) && start >= 0) {
      // OpenFlow 1.5 has it; ovs-ofctl takes it for groups with buckets and sends none.
      if (key.text === "selection_method") method = value.text;
      else if (key.text === "fields" ? method !== "hash" : method === undefined) throw textError(key, `${key.text} belongs to a selection_method`);
    } else throw textError(key, `a group has no ${quoted(key)}`);
  }
  if (id === undefined) throw textError(rest, "group_id is missing");
  if (type === undefined && command !== "delete") throw textError(rest, "the type of the group is missing");
  const groupType = type ?? "all";
  const buckets: Bucket[] = [];
  for (let at = start; at >= 0; ) {
    const next = rest.text.indexOf(BUCKET, at + BUCKET.length);
    buckets.push(readBucket(part(rest, at + BUCKET.length, next < 0 ? undefined : next), groupType));
    at = next;
  }
  if (groupType === "indirect" && buckets.length > 1) throw textError(rest, "an indirect group has one bucket");
  return { type: "group_mod", command, group_type: groupType, group_id: id, buckets };
}

function readBucket(word: Word, type: GroupType): Bucket {
  let weight = type === "select" ? 1 : 0;
  let watchPort: number = ports.ANY;
  let watchGroup: number = groups.ANY;
  const actions: Pair[] = [];
  let acts = false;
  for (const pair of pairs(word)) {
    const { key, value } = pair;
    switch (key.text.toLowerCase()) {
      case "weight":
        weight = u16(value, "weight");
        break;
      case "watch_port":
        watchPort = port(value, "watch_port");
        if (watchPort >= 0xff00 && watchPort !== ports.ANY && watchPort !== ports.CONTROLLER) throw textError(value, `watch_port: ${quoted(value)} cannot be watched`);
        break;
      case "watch_group":
        watchGroup = u32(value, "watch_group");
        if (watchGroup > groups.MAX) throw textError(value, `watch_group: there is no group ${watchGroup}`);
        break;
      case "bucket_id":
        // Of OpenFlow 1.5 too.
        if (u32(value, "bucket_id") > LAST_BUCKET) throw textError(value, `bucket_id: there is no bucket ${value.text}`);
        break;
      case "action":
      case "actions":
        // Further actions are words of the bucket, as commas part both.
        acts = true;
        actions.push(...pairs(value));
        break;
      default:
        acts = true;
        actions.push(pair);
    }
  }
  if (!acts) throw textError(word, "a bucket takes actions");
  if (type === "ff" && watchPort === ports.ANY && watchGroup === groups.ANY) throw textError(word, "a bucket of a fast failover group takes watch_port or watch_group");
  if (type !== "select" && weight !== 0) throw textError(word, "only buckets of select groups have weights");
  return { weight, watch_port: watchPort, watch_group: watchGroup, actions: readActions(actions) };
}

// --- meters ---

const METER_FLAGS: ReadonlyMap<string, number> = new Map([["kbps", 1], ["pktps", 2], ["burst", 4], ["stats", 8]]);
const BURST = 4;
const METERS: ReadonlyMap<string, number> = new Map([["all", 0xffffffff], ["controller", 0xfffffffe], ["slowpath", 0xfffffffd]]);
const LAST_METER = 0xffff0000;
const ALL_METERS = 0xffffffff;

/** `flag` and `key=value`, parted by = , and blanks in any number. */
function* settings(word: Word, flags: ReadonlyMap<string, number>): Generator<Pair, void, undefined> {
  const keys = /[^=, \t\r\n]+/y;
  const skip = /[=, \t\r\n]*/y;
  const values = /[, \t\r\n]*([^, \t\r\n]+)/y;
  for (let at = 0; ; ) {
    skip.lastIndex = at;
    skip.exec(word.text);
    keys.lastIndex = skip.lastIndex;
    const found = keys.exec(word.text);
    if (found === null) return;
    const key = { text: found[0], at: word.at + found.index };
    at = keys.lastIndex;
    if (flags.has(key.text)) {
      yield { key, value: { text: "", at: word.at + at } };
      continue;
    }
    values.lastIndex = at + 1;
    const value = at < word.text.length ? values.exec(word.text) : null;
    if (value === null) throw textError(key, `${quoted(key)}: a value is missing`);
    at = values.lastIndex;
    yield { key, value: { text: value[1]!, at: word.at + at - value[1]!.length } };
  }
}

interface Band {
  readonly word: Word;
  readonly type: "drop" | "dscp_remark";
  rate: number;
  burst_size: number;
  prec_level: number;
}

/**
 * A meter as ovs-ofctl add-meter, mod-meter and del-meters take it.
 * @throws OpenFlowError OF_TEXT
 */
export function parseMeter(text: string, options: { readonly command?: MeterCommand } = {}): MeterMod {
  const command = options.command ?? "add";
  if (command === "delete" && text === "") return { type: "meter_mod", command, flags: 0, meter_id: ALL_METERS, bands: [] };
  const word = { text, at: 0 };
  const band = command === "delete" ? -1 : text.indexOf("band");
  const equals = text.indexOf("=", band);
  if (command !== "delete" && (band < 0 || equals < 0)) throw textError({ at: text.length }, "bands are missing");
  const allowed = command === "delete" ? new Map<string, number>() : METER_FLAGS;
  let flags = 0;
  let id = 0;
  for (const { key, value } of settings(part(word, 0, band < 0 ? undefined : band), allowed)) {
    const flag = allowed.get(key.text);
    if (flag !== undefined) flags |= flag;
    else if (key.text === "meter") {
      id = METERS.get(value.text) ?? u32(value, "meter");
      if (id === 0 || (id > LAST_METER && !METERS.has(value.text))) throw textError(value, `meter: there is no meter ${id}`);
    } else throw textError(key, `a meter has no ${quoted(key)}`);
  }
  if (id === 0) throw textError(word, "meter is missing");
  if (command === "delete") return { type: "meter_mod", command, flags, meter_id: id, bands: [] };
  if (flags === 0) throw textError(word, "kbps or pktps is missing");
  const bands = readBands(part(word, equals + 1), (flags & BURST) !== 0);
  return { type: "meter_mod", command, flags, meter_id: id, bands };
}

function readBands(word: Word, burst: boolean): MeterMod["bands"] {
  const bands: Band[] = [];
  for (const { key, value } of settings(word, new Map())) {
    const last = bands.at(-1);
    if (key.text === "type") {
      if (value.text !== "drop" && value.text !== "dscp_remark") throw textError(value, `type: ${quoted(value)} is neither drop nor dscp_remark`);
      bands.push({ word: key, type: value.text, rate: 0, burst_size: 0, prec_level: 0 });
    } else if (last === undefined) throw textError(key, "a band begins with its type");
    else if (key.text === "rate" || key.text === "burst_size") last[key.text] = u32(value, key.text);
    else if (key.text === "prec_level") last.prec_level = u8(value, "prec_level");
    else throw textError(key, `a band has no ${quoted(key)}`);
  }
  if (bands.length === 0) throw textError(word, "a meter has bands");
  return bands.map(({ word: at, ...band }) => {
    if ((band.type === "dscp_remark") !== (band.prec_level !== 0)) throw textError(at, "prec_level belongs to dscp_remark, which takes it");
    if (band.rate === 0) throw textError(at, "the rate of the band is missing");
    if (burst !== (band.burst_size !== 0)) throw textError(at, "burst_size belongs to meters with burst, which take it");
    const { prec_level: level, ...rest } = band;
    return level === 0 ? rest : { ...rest, prec_level: level };
  });
}
