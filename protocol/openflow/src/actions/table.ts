// Actions of a plain shape as data: number and layout, from which their types are derived. Those whose shape depends on their
// content have a file each (set, ct, controller, learn, encap) or are written out in actions.ts.

import { half, header, nxmHeader, ofsBits, subfield, wholeHeader, writeNxmHeader, type SubField } from "./parts.ts";
import { NX_VENDOR, refusal, truncated } from "../wire/errors.ts";
import { ipv4, mac, mustBeZero, pad, rest, slack, u16, u32, u64, u8, zeros, type Part, type Shape } from "../layout/layout.ts";
import { judging } from "../wire/strict.ts";
import { whole, writeU16, writeU32 } from "../match/value.ts";

/** 16-bit numbers, as many as `n_` counts; the count comes first, four zeroes between. */
const counterIds: Part<{ ids: readonly number[] }> = {
  name: "ids", size: 6,
  encode(buf, off, obj) {
    const ids = obj["ids"] as readonly number[];
    writeU16(buf, off, ids.length);
    writeU32(buf, off + 2, 0);
    for (let i = 0; i < ids.length; i++) writeU16(buf, off + 6 + i * 2, whole(ids[i]!, 0xffff, "ids"));
    return off + 6 + ids.length * 2;
  },
  decode(buf, off, end, obj) {
    const count = buf.readUInt16BE(off);
    if (judging.strict) mustBeZero(buf, off + 2, off + 6);
    if (off + 6 + count * 2 > end) throw truncated(off, "dec_ttl ids", "OFPBAC_BAD_LEN");
    const ids: number[] = [];
    for (let i = 0; i < count; i++) ids.push(buf.readUInt16BE(off + 6 + i * 2));
    obj["ids"] = ids;
    return end;
  },
};

/** Ports to choose from, of bundle and bundle_load. */
const members: Part<{ algorithm: number; fields: number; basis: number; member_type?: number; members: readonly number[]; dst?: SubField }> = {
  name: "members", size: 22,
  encode(buf, off, obj) {
    const list = obj["members"] as readonly number[];
    writeU16(buf, off, whole(obj["algorithm"] as number, 0xffff, "algorithm"));
    writeU16(buf, off + 2, whole(obj["fields"] as number, 0xffff, "fields"));
    writeU16(buf, off + 4, whole(obj["basis"] as number, 0xffff, "basis"));
    writeU32(buf, off + 6, whole((obj["member_type"] as number | undefined) ?? 2, 0xffffffff, "member_type"));
    writeU16(buf, off + 10, list.length);
    buf.fill(0, off + 12, off + 22);
    if (obj["dst"] !== undefined) {
      ofsBits("dst").encode(buf, off + 12, obj);
      writeNxmHeader(buf, off + 14, subfield(obj, "dst"));
      writeU32(buf, off + 18, 0);
    }
    for (let i = 0; i < list.length; i++) writeU16(buf, off + 22 + i * 2, whole(list[i]!, 0xffff, "members"));
    return off + 22 + list.length * 2;
  },
  decode(buf, off, end, obj) {
    obj["algorithm"] = buf.readUInt16BE(off);
    obj["fields"] = buf.readUInt16BE(off + 2);
    obj["basis"] = buf.readUInt16BE(off + 4);
    obj["member_type"] = buf.readUInt32BE(off + 6);
    const count = buf.readUInt16BE(off + 10);
    const load = obj["type"] === "bundle_load";
    if (load) {
      ofsBits("dst").decode(buf, off + 12, end, obj);
      nxmHeader("dst").decode(buf, off + 14, end, obj);
    }
    if (off + 22 + count * 2 > end) throw truncated(off + 10, "bundle members", "OFPBAC_BAD_LEN");
    if (judging.strict && !load) mustBeZero(buf, off + 12, off + 22, "OFPBAC_BAD_ARGUMENT");
    const list: number[] = [];
    for (let i = 0; i < count; i++) list.push(buf.readUInt16BE(off + 22 + i * 2));
    obj["members"] = list;
    return end;
  },
};

// --- the table ---

export interface Def<L extends readonly Part[]> {
  /** 0: a standard action. */
  readonly vendor: number;
  readonly code: number;
  readonly layout: L;
  /** Length of the whole action where its parts may leave room, as the header of a field takes 4 or 8 bytes. */
  readonly size?: number;
  /** As long as its content: bytes after the last part belong to it. */
  readonly open?: true;
  /** Open vSwitch wants zeroes after the last part. */
  readonly zeroTail?: true;
}
const of = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ vendor: 0, code, layout });
const nx = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ vendor: NX_VENDOR, code, layout });
const nx24 = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ ...nx(code, ...layout), size: 24, zeroTail: true });
const nxOpen = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ ...nx(code, ...layout), open: true });
/** decap has none so far. */
const leftOver = slack(0);
const noProperties: Part = {
  ...leftOver,
  decode(buf, off, end, obj) {
    if (judging.strict && off < end) throw refusal("NXBAC_UNKNOWN_ED_PROP", off, "a property of decap");
    return leftOver.decode(buf, off, end, obj);
  },
};
const sample = [u16("probability"), u32("collector_set_id"), u32("obs_domain_id"), u32("obs_point_id"), u16("sampling_port", 0), u8("direction", 0)] as const;

const table = {
  // The setters of OpenFlow 1.0 and 1.1, deprecated since but still taken.
  set_vlan_vid: of(1, u16("vlan_vid"), pad(2)),
  set_vlan_pcp: of(2, u8("vlan_pcp"), pad(3)),
  set_dl_src: of(3, mac("dl_addr"), pad(6)),
  set_dl_dst: of(4, mac("dl_addr"), pad(6)),
  set_nw_src: of(5, ipv4("nw_addr")),
  set_nw_dst: of(6, ipv4("nw_addr")),
  set_nw_tos: of(7, u8("nw_tos"), pad(3)),
  set_nw_ecn: of(8, u8("nw_ecn"), pad(3)),
  set_tp_src: of(9, u16("tp_port"), pad(2)),
  set_tp_dst: of(10, u16("tp_port"), pad(2)),
  set_mpls_label: of(13, u32("mpls_label")),
  set_mpls_tc: of(14, u8("mpls_tc"), pad(3)),
  copy_ttl_out: of(11, pad(4)),
  copy_ttl_in: of(12, pad(4)),
  set_mpls_ttl: of(15, u8("mpls_ttl"), pad(3)),
  dec_mpls_ttl: of(16, pad(4)),
  push_vlan: of(17, u16("ethertype"), pad(2)),
  pop_vlan: of(18, pad(4)),
  push_mpls: of(19, u16("ethertype"), pad(2)),
  pop_mpls: of(20, u16("ethertype"), pad(2)),
  set_queue: of(21, u32("queue_id")),
  group: of(22, u32("group_id")),
  set_nw_ttl: of(23, u8("nw_ttl"), pad(3)),
  push_pbb: of(26, u16("ethertype"), pad(2)),
  pop_pbb: of(27, pad(4)),
  // Older forms of set_field; Open vSwitch takes them and answers with set_field.
  set_tunnel: nx(2, pad(2), u32("tun_id")),
  pop_queue: nx(5, pad(6)),
  move: { ...nxOpen(6, half("dst", "bits", "src"), half("src", "ofs"), half("dst", "ofs"), header("src"), header("dst")), zeroTail: true as const },
  note: nxOpen(8, rest("data")),
  set_tunnel64: nx(9, pad(6), u64("tun_id")),
  multipath: nx(10, u16("fields"), u16("basis"), pad(2), u16("algorithm"), u16("max_link"), u32("arg"), pad(2), ofsBits("dst"), nxmHeader("dst")),
  bundle: nxOpen(12, members),
  bundle_load: nxOpen(13, members),
  output_reg: nx(15, ofsBits("src"), nxmHeader("src"), u16("max_len", 0xffff), zeros(6, "OFPBAC_BAD_ARGUMENT")),
  exit: nx(17, pad(6)),
  fin_timeout: nx(19, u16("fin_idle_timeout"), u16("fin_hard_timeout"), pad(2)),
  dec_ttl_cnt_ids: nxOpen(21, counterIds),
  write_metadata: nx(22, zeros(6), u64("metadata"), u64("metadata_mask")),
  stack_push: nx24(27, half("field", "ofs"), header("field"), half("field", "bits")),
  stack_pop: nx24(28, half("field", "ofs"), header("field"), half("field", "bits")),
  sample: nx(29, u16("probability"), u32("collector_set_id"), u32("obs_domain_id"), u32("obs_point_id")),
  output_reg2: nx24(32, ofsBits("src"), u16("max_len", 0xffff), header("src")),
  conjunction: nx(34, u8("clause"), u8("n_clauses"), u32("id")),
  sample2: nx(38, ...sample, pad(5)),
  output_trunc: nx(39, u16("port"), u32("max_len")),
  sample3: nx(41, ...sample, zeros(5)),
  ct_clear: nx(43, pad(6)),
  decap: nxOpen(47, pad(2), u32("new_pkt_type"), noProperties),
  dec_nsh_ttl: nx(48, pad(6)),
  check_pkt_larger: nx24(49, u16("pkt_len"), half("dst", "ofs"), header("dst")),
  delete_field: { ...nx(50, wholeHeader("field")), size: 24 },
  debug_slow: nx(254, pad(6)),
  debug_recirc: nx(255, pad(6)),
} as const satisfies Record<string, Def<readonly Part[]>>;

type Simplify<T> = { [K in keyof T]: T[K] };
export type TableAction = { [K in keyof typeof table]: Simplify<{ type: K } & Shape<(typeof table)[K]["layout"]>> }[keyof typeof table];

export type TableRow = readonly [name: string, def: Def<readonly Part[]>];
/** Rows by number. */
export const standardActions: (TableRow | undefined)[] = [];
export const niciraActions: (TableRow | undefined)[] = [];
for (const [name, def] of Object.entries(table)) (def.vendor === 0 ? standardActions : niciraActions)[def.code] = [name, def];
export const tableActions: ReadonlyMap<string, Def<readonly Part[]>> = new Map(Object.entries(table));
