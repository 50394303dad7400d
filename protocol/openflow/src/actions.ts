// Actions. Most are rows of a table (number, layout); the few whose shape depends on their content are
// written out below it. Where one action has two wire forms, the one that Open vSwitch writes back is taken.

import { checked, finish, nicira, room, subfield, writeNxmHeader, type SubField } from "./action-parts.ts";
import { badValue, malformed, NX_VENDOR, ONF_VENDOR, truncated } from "./errors.ts";
import { fields, ports, type Field, type FieldName } from "./fields.ts";
import { decodeParts, encodeParts, pad, rest, u16, u32, u64, u8, writeU64, type Part, type Shape } from "./layout.ts";
import { decodeLearn, encodeLearn, type LearnAction } from "./learn.ts";
import { encodeOxm, pad8, readHeader, readOxm, toBig, writeHeader } from "./match.ts";
import { ipv4Text, ipv6Text, writeIpv4, writeIpv6, writeU16, writeU32, writeValue, type FieldValue } from "./value.ts";

type Obj = Record<string, unknown>;
type Named<N extends string, T> = { [K in N]: T };
interface Draft {
  field: FieldName;
  ofs: number;
  bits: number;
}

// --- parts that only actions have ---

function draft(obj: Obj, name: string): Draft {
  return (obj[name] ??= { field: "", ofs: 0, bits: 0 }) as Draft;
}

/** ofs << 6 | bits - 1 */
function ofsBits<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    name, size: 2,
    encode(buf, off, obj) {
      const sub = subfield(obj, name);
      writeU16(buf, off, (sub.ofs << 6) | (sub.bits - 1));
      return off + 2;
    },
    decode(buf, off, _end, obj) {
      const value = buf.readUInt16BE(off);
      const sub = draft(obj, name);
      sub.ofs = value >>> 6;
      sub.bits = (value & 63) + 1;
      return off + 2;
    },
  };
}

function half<N extends string>(name: N, key: "ofs" | "bits", also?: string): Part<Named<N, SubField>> {
  return {
    name, size: 2,
    encode(buf, off, obj) {
      writeU16(buf, off, subfield(obj, name)[key]);
      return off + 2;
    },
    decode(buf, off, _end, obj) {
      draft(obj, name)[key] = buf.readUInt16BE(off);
      if (also !== undefined) draft(obj, also)[key] = buf.readUInt16BE(off);
      return off + 2;
    },
  };
}

/** The field of a subfield, as NXM or OXM header of 4 or 8 bytes. */
function header<N extends string>(name: N): Part<Named<N, SubField>> {
  return {
    name, size: 4,
    encode: (buf, off, obj) => writeNxmHeader(buf, off, subfield(obj, name)),
    decode(buf, off, end, obj) {
      const found = readHeader(buf, off, end);
      const sub = draft(obj, name);
      sub.field = found.field.name;
      if (sub.bits === 0) sub.bits = found.length * 8; // delete_field has no bits of its own; others set them next
      return found.end;
    },
  };
}

const nested: Part<{ actions: readonly Action[] }> = {
  name: "actions", size: -1,
  encode: (buf, off, obj) => encodeActions(buf, off, obj["actions"] as readonly Action[]),
  decode(buf, off, end, obj) {
    obj["actions"] = decodeActions(buf, off, end - off);
    return end;
  },
};

/** 16-bit numbers, as many as `n_` counts; the count comes first, four zeroes between. */
const counterIds: Part<{ ids: readonly number[] }> = {
  name: "ids", size: 6,
  encode(buf, off, obj) {
    const ids = obj["ids"] as readonly number[];
    writeU16(buf, off, ids.length);
    writeU32(buf, off + 2, 0);
    for (let i = 0; i < ids.length; i++) writeU16(buf, off + 6 + i * 2, ids[i]!);
    return off + 6 + ids.length * 2;
  },
  decode(buf, off, end, obj) {
    const count = buf.readUInt16BE(off);
    if (off + 6 + count * 2 > end) throw truncated(off, "dec_ttl ids");
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
    writeU16(buf, off, obj["algorithm"] as number);
    writeU16(buf, off + 2, obj["fields"] as number);
    writeU16(buf, off + 4, obj["basis"] as number);
    writeU32(buf, off + 6, (obj["member_type"] as number | undefined) ?? 2);
    writeU16(buf, off + 10, list.length);
    buf.fill(0, off + 12, off + 22);
    if (obj["dst"] !== undefined) {
      ofsBits("dst").encode(buf, off + 12, obj);
      writeNxmHeader(buf, off + 14, subfield(obj, "dst"));
      writeU32(buf, off + 18, 0);
    }
    for (let i = 0; i < list.length; i++) writeU16(buf, off + 22 + i * 2, list[i]!);
    return off + 22 + list.length * 2;
  },
  decode(buf, off, end, obj) {
    obj["algorithm"] = buf.readUInt16BE(off);
    obj["fields"] = buf.readUInt16BE(off + 2);
    obj["basis"] = buf.readUInt16BE(off + 4);
    obj["member_type"] = buf.readUInt32BE(off + 6);
    const count = buf.readUInt16BE(off + 10);
    if (off + 22 + count * 2 > end) throw truncated(off + 10, "bundle members");
    if (buf.readUInt32BE(off + 14) !== 0) {
      ofsBits("dst").decode(buf, off + 12, end, obj);
      header("dst").decode(buf, off + 14, end, obj);
    }
    const list: number[] = [];
    for (let i = 0; i < count; i++) list.push(buf.readUInt16BE(off + 22 + i * 2));
    obj["members"] = list;
    return end;
  },
};

// --- the table ---

interface Def<L extends readonly Part[]> {
  /** 0: a standard action. */
  readonly vendor: number;
  readonly code: number;
  readonly layout: L;
}
const of = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ vendor: 0, code, layout });
const nx = <const L extends readonly Part[]>(code: number, ...layout: L): Def<L> => ({ vendor: NX_VENDOR, code, layout });
const sample = [u16("probability"), u32("collector_set_id"), u32("obs_domain_id"), u32("obs_point_id"), u16("sampling_port", 0), u8("direction", 0), pad(5)] as const;

const table = {
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
  move: nx(6, half("dst", "bits", "src"), half("src", "ofs"), half("dst", "ofs"), header("src"), header("dst")),
  note: nx(8, rest("data")),
  set_tunnel64: nx(9, pad(6), u64("tun_id")),
  multipath: nx(10, u16("fields"), u16("basis"), pad(2), u16("algorithm"), u16("max_link"), u32("arg"), pad(2), ofsBits("dst"), header("dst")),
  bundle: nx(12, members),
  bundle_load: nx(13, members),
  output_reg: nx(15, ofsBits("src"), header("src"), u16("max_len", 0xffff), pad(6)),
  exit: nx(17, pad(6)),
  fin_timeout: nx(19, u16("fin_idle_timeout"), u16("fin_hard_timeout"), pad(2)),
  dec_ttl_cnt_ids: nx(21, counterIds),
  write_metadata: nx(22, pad(6), u64("metadata"), u64("metadata_mask")),
  stack_push: nx(27, half("field", "ofs"), header("field"), half("field", "bits"), pad(6)),
  stack_pop: nx(28, half("field", "ofs"), header("field"), half("field", "bits"), pad(6)),
  sample: nx(29, u16("probability"), u32("collector_set_id"), u32("obs_domain_id"), u32("obs_point_id")),
  output_reg2: nx(32, ofsBits("src"), u16("max_len", 0xffff), header("src"), pad(6)),
  conjunction: nx(34, u8("clause"), u8("n_clauses"), u32("id")),
  sample2: nx(38, ...sample),
  output_trunc: nx(39, u16("port"), u32("max_len")),
  sample3: nx(41, ...sample),
  clone: nx(42, pad(6), nested),
  ct_clear: nx(43, pad(6)),
  encap: nx(46, u16("hdr_size", 0), u32("new_pkt_type"), rest("properties")),
  decap: nx(47, pad(2), u32("new_pkt_type")),
  dec_nsh_ttl: nx(48, pad(6)),
  check_pkt_larger: nx(49, u16("pkt_len"), half("dst", "ofs"), header("dst"), pad(6)),
  delete_field: nx(50, header("field"), pad(10)),
  debug_slow: nx(254, pad(6)),
  debug_recirc: nx(255, pad(6)),
} as const satisfies Record<string, Def<readonly Part[]>>;

type Simplify<T> = { [K in keyof T]: T[K] };
type TableAction = { [K in keyof typeof table]: Simplify<{ type: K } & Shape<(typeof table)[K]["layout"]>> }[keyof typeof table];

/** Source or destination translation; without `kind`, that of the connection, in whichever direction. */
export interface Nat {
  readonly kind?: "src" | "dst";
  /** An address or the first of a range, IPv4 or IPv6. */
  readonly addr_min?: string;
  readonly addr_max?: string;
  readonly port_min?: number;
  readonly port_max?: number;
  readonly persistent?: boolean;
  readonly hash?: boolean;
  readonly random?: boolean;
}

export type Action =
  | TableAction
  /** max_len: bytes sent to the controller, 0xffff (all) by default; without meaning for other ports. */
  | { readonly type: "output"; readonly port: number; readonly max_len?: number }
  | { readonly type: "set_field"; readonly field: FieldName; readonly value: FieldValue; readonly mask?: FieldValue }
  | { readonly type: "load"; readonly dst: SubField; readonly value: number | bigint }
  /** load and masked set_field of experimenter fields and tun_metadata; as such only decoded. */
  | { readonly type: "reg_load2"; readonly field: FieldName; readonly value: FieldValue; readonly mask?: FieldValue }
  /** Table 255 or none: the current one. in_port: that of the packet by default. ct: fields of the original direction. */
  | { readonly type: "resubmit"; readonly table?: number; readonly in_port?: number; readonly ct?: boolean }
  | {
    readonly type: "ct"; readonly commit?: boolean; readonly force?: boolean; readonly zone?: number | SubField;
    /** Where the packet goes on with ct_state set. */
    readonly table?: number;
    /** 21 ftp, 69 tftp. */
    readonly alg?: number; readonly nat?: Nat; readonly exec?: readonly Action[];
  }
  /** Only inside ct, where Ct.nat is the usual way to say it. */
  | { readonly type: "nat"; readonly nat: Nat }
  | {
    readonly type: "controller"; readonly max_len?: number; readonly controller_id?: number; readonly reason?: number;
    readonly userdata?: Uint8Array; readonly pause?: boolean; readonly meter_id?: number;
  }
  | { readonly type: "dec_ttl" }
  | LearnAction
  | { readonly type: "experimenter"; readonly experimenter: number; readonly data?: Uint8Array };

const tableCodes = new Map<string, [name: string, def: Def<readonly Part[]>]>();
for (const [name, def] of Object.entries(table)) tableCodes.set(`${def.vendor}/${def.code}`, [name, def]);
const NX_NAMES: ([name: string, def: Def<readonly Part[]>] | undefined)[] = [];
const OF_NAMES: ([name: string, def: Def<readonly Part[]>] | undefined)[] = [];
for (const [name, def] of Object.entries(table)) (def.vendor === 0 ? OF_NAMES : NX_NAMES)[def.code] = [name, def];
const tableByName: ReadonlyMap<string, Def<readonly Part[]>> = new Map(Object.entries(table));

// --- encoding ---

/** Writes a list of actions; returns the offset after it. */
export function encodeActions(buf: Buffer, off: number, actions: readonly Action[]): number {
  for (let i = 0; i < actions.length; i++) off = encodeAction(buf, off, actions[i]!);
  return off;
}

/** 16-bit port numbers of Nicira actions. */
function port16(port: number): number {
  return port >= 0xffffff00 ? port & 0xffff : port;
}

function encodeAction(buf: Buffer, off: number, action: Action): number {
  room(buf, off);
  switch (action.type) {
    case "output":
      if (action.port >>> 0 !== action.port) throw badValue(`output: no port ${action.port}`);
      writeU32(buf, off, 16);
      writeU32(buf, off + 4, action.port);
      writeU16(buf, off + 8, action.max_len ?? (action.port === ports.CONTROLLER ? 0xffff : 0));
      writeU16(buf, off + 10, 0);
      writeU32(buf, off + 12, 0);
      return off + 16;
    case "set_field":
      return encodeSetField(buf, off, action.field, action.value, action.mask);
    case "load":
      return encodeLoad(buf, off, subfield(action, "dst"), action.value);
    case "reg_load2":
      return encodeLoad2(buf, off, fields[action.field], action.value, action.mask);
    case "resubmit": {
      const pos = nicira(buf, off, action.table === undefined && action.ct !== true ? 1 : action.ct === true ? 44 : 14);
      writeU16(buf, pos, port16(action.in_port ?? 0xfff8));
      writeU32(buf, pos + 2, (action.table ?? (action.ct === true ? 255 : 0)) << 24);
      writeU16(buf, off + 2, 16);
      return off + 16;
    }
    case "ct":
      return encodeCt(buf, off, action);
    case "nat":
      return encodeNat(buf, off, action.nat);
    case "controller":
      return encodeController(buf, off, action);
    case "dec_ttl":
      writeU32(buf, off, (24 << 16) | 8);
      writeU32(buf, off + 4, 0);
      return off + 8;
    case "learn":
      return encodeLearn(buf, off, action);
    case "experimenter": {
      writeU16(buf, off, 0xffff);
      writeU32(buf, off + 4, action.experimenter);
      const data = action.data ?? new Uint8Array(0);
      buf.set(data, off + 8);
      return finish(buf, off, off + 8 + data.length);
    }
    default: {
      const def = tableByName.get(action.type);
      if (def === undefined) throw badValue(`no action ${(action as { type: string }).type}`);
      let pos = off + 4;
      if (def.vendor === 0) writeU16(buf, off, def.code);
      else pos = nicira(buf, off, def.code);
      return finish(buf, off, encodeParts(def.layout, buf, pos, action));
    }
  }
}

/** Writes one set_field action; returns the offset after it. */
export function encodeSetField(buf: Buffer, off: number, name: FieldName, value: FieldValue, mask: FieldValue | undefined): number {
  const field = fields[name];
  if (field === undefined) throw badValue(`no field ${name}`);
  if (mask !== undefined) {
    const bits = toBig(field, mask);
    if (bits !== (1n << BigInt(field.bits)) - 1n) {
      if (needsLoad2(field)) return encodeLoad2(buf, off, field, value, mask);
      // OpenFlow 1.3 has no masked set_field: one load for each run of ones.
      const whole = toBig(field, value);
      for (let ofs = 0; ofs < field.bits; ) {
        let run = 0;
        while (run < 64 && ofs + run < field.bits && (bits >> BigInt(ofs + run)) & 1n) run++;
        if (run > 0) off = encodeLoad(buf, off, { field: name, ofs, bits: run }, (whole >> BigInt(ofs)) & ((1n << BigInt(run)) - 1n));
        ofs += run || 1;
      }
      return off;
    }
  }
  writeU16(buf, off, 25);
  return finish(buf, off, encodeOxm(buf, off + 4, field, value));
}

/** Experimenter fields have no header of four bytes, tun_metadata no fixed width: NXAST_REG_LOAD cannot name them. */
function needsLoad2(field: Field): boolean {
  return field.nxmExperimenter !== undefined || field.bytes === 0;
}

/** Writes one load action; returns the offset after it. */
export function encodeLoad(buf: Buffer, off: number, dst: SubField, value: number | bigint): number {
  const field = fields[dst.field];
  if (needsLoad2(field)) {
    const ones = ((1n << BigInt(dst.bits)) - 1n) << BigInt(dst.ofs);
    return encodeLoad2(buf, off, field, BigInt(value) << BigInt(dst.ofs), dst.bits === field.bytes * 8 ? undefined : ones);
  }
  if (dst.bits > 64) throw badValue(`load takes at most 64 bits, got ${dst.bits}`);
  if (dst.bits < 53 ? Number(value) >= 2 ** dst.bits : BigInt(value) >> BigInt(dst.bits) !== 0n) throw badValue(`load: ${value} does not fit ${dst.bits} bits`);
  const pos = nicira(buf, off, 7);
  writeU16(buf, pos, (dst.ofs << 6) | (dst.bits - 1));
  writeNxmHeader(buf, pos + 2, dst);
  writeU64(buf, pos + 6, value, "load");
  writeU16(buf, off + 2, 24);
  return off + 24;
}

function encodeLoad2(buf: Buffer, off: number, field: Field, value: FieldValue, mask: FieldValue | undefined): number {
  const start = nicira(buf, off, 33);
  let pos = writeHeader(buf, start, field.nxmHeader, field.nxmExperimenter);
  const head = pos - start - 4;
  const length = writeValue(buf, pos, field, value);
  pos += length;
  if (mask !== undefined) {
    pos += writeValue(buf, pos, field, mask);
    buf[start + 2] = buf[start + 2]! | 1;
  }
  buf[start + 3] = head + (mask === undefined ? length : length * 2);
  return finish(buf, off, pos);
}

function encodeCt(buf: Buffer, off: number, action: Action & { type: "ct" }): number {
  const pos = nicira(buf, off, 35);
  writeU16(buf, pos, (action.commit === true ? 1 : 0) | (action.force === true ? 2 : 0));
  if (typeof action.zone === "object") {
    const zone = subfield(action, "zone");
    writeNxmHeader(buf, pos + 2, zone);
    writeU16(buf, pos + 6, (zone.ofs << 6) | (zone.bits - 1));
  } else {
    writeU32(buf, pos + 2, 0);
    writeU16(buf, pos + 6, action.zone ?? 0);
  }
  writeU32(buf, pos + 8, (action.table ?? 255) << 24);
  writeU16(buf, pos + 12, action.alg ?? 0);
  let end = pos + 14;
  if (action.nat !== undefined) end = encodeNat(buf, end, action.nat);
  if (action.exec !== undefined) end = encodeActions(buf, end, action.exec);
  return finish(buf, off, end);
}

const NAT_FLAGS = ["persistent", "hash", "random"] as const;

function encodeNat(buf: Buffer, off: number, nat: Nat): number {
  const pos = nicira(buf, off, 36);
  let flags = nat.kind === "src" ? 1 : nat.kind === "dst" ? 2 : 0;
  NAT_FLAGS.forEach((name, i) => {
    if (nat[name] === true) flags |= 4 << i;
  });
  writeU16(buf, pos, 0);
  writeU16(buf, pos + 2, flags);
  let end = pos + 6;
  let present = 0;
  for (const [text, bit] of [[nat.addr_min, 1], [nat.addr_max, 2]] as const) {
    if (text === undefined) continue;
    if (text.includes(":")) {
      if (!writeIpv6(buf, end, text)) throw badValue(`nat: not an address: ${text}`);
      present |= bit << 2;
      end += 16;
    } else {
      if (!writeIpv4(buf, end, text)) throw badValue(`nat: not an address: ${text}`);
      present |= bit;
      end += 4;
    }
  }
  for (const [port, bit] of [[nat.port_min, 16], [nat.port_max, 32]] as const) {
    if (port === undefined) continue;
    writeU16(buf, end, port);
    present |= bit;
    end += 2;
  }
  writeU16(buf, pos + 4, present);
  return finish(buf, off, end);
}

const NO_METER = 0xffffffff;

function encodeController(buf: Buffer, off: number, action: Action & { type: "controller" }): number {
  const reason = action.reason ?? 1;
  if (action.userdata === undefined && action.pause !== true && action.meter_id === undefined) {
    const pos = nicira(buf, off, 20);
    writeU16(buf, pos, action.max_len ?? 0xffff);
    writeU16(buf, pos + 2, action.controller_id ?? 0);
    buf[pos + 4] = reason;
    buf[pos + 5] = 0;
    writeU16(buf, off + 2, 16);
    return off + 16;
  }
  let pos = nicira(buf, off, 37);
  writeU16(buf, pos, 0);
  writeU32(buf, pos + 2, 0);
  pos += 6;
  const property = (type: number, length: number, write: (at: number) => void): void => {
    writeU16(buf, pos, type);
    writeU16(buf, pos + 2, 4 + length);
    writeU32(buf, pos + 4, 0);
    write(pos + 4);
    pos = pad8(buf, pos, pos + 4 + length);
  };
  if ((action.max_len ?? 0xffff) !== 0xffff) property(0, 4, (at) => writeU16(buf, at, action.max_len!));
  if ((action.controller_id ?? 0) !== 0) property(1, 4, (at) => writeU16(buf, at, action.controller_id!));
  if (reason !== 1) property(2, 1, (at) => (buf[at] = reason));
  const userdata = action.userdata;
  if (userdata !== undefined && userdata.length > 0) property(3, userdata.length, (at) => buf.set(userdata, at));
  if (action.pause === true) property(4, 0, () => undefined);
  if (action.meter_id !== undefined && action.meter_id !== NO_METER) property(5, 4, (at) => writeU32(buf, at, action.meter_id!));
  return finish(buf, off, pos);
}

// --- decoding ---

const MAX_DEPTH = 32;
let depth = 0;

/** Reads `length` bytes of actions. @throws OpenFlowError */
export function decodeActions(buf: Buffer, off: number, length: number): Action[] {
  const end = off + length;
  if (end > buf.length) throw truncated(off, "actions");
  if (depth === MAX_DEPTH) throw malformed(off, "actions nested too deeply");
  depth++;
  try {
    const actions: Action[] = [];
    while (off < end) {
      if (off + 8 > end) throw truncated(off, "action");
      const size = buf.readUInt16BE(off + 2);
      if (size < 8 || size % 8 !== 0) throw malformed(off + 2, `action length ${size}`);
      if (off + size > end) throw truncated(off + 2, "action");
      actions.push(decodeAction(buf, off, off + size));
      off += size;
    }
    return actions;
  } finally {
    depth--;
  }
}

function decodeAction(buf: Buffer, off: number, end: number): Action {
  const code = buf.readUInt16BE(off);
  if (code !== 0xffff) {
    if (code === 0) {
      if (end - off !== 16) throw malformed(off + 2, "output action length");
      return { type: "output", port: buf.readUInt32BE(off + 4), max_len: buf.readUInt16BE(off + 8) };
    }
    if (code === 24) {
      if (end - off !== 8) throw malformed(off + 2, "dec_ttl action length");
      return { type: "dec_ttl" };
    }
    if (code === 25) {
      const oxm = readOxm(buf, off + 4, end);
      if (end - oxm.end >= 8) throw malformed(oxm.end, "set_field length");
      if (typeof oxm.value === "object" && !(oxm.value instanceof Uint8Array)) throw malformed(off + 6, "masked set_field");
      return { type: "set_field", field: oxm.field.name, value: oxm.value };
    }
    return decodeRow(OF_NAMES[code], buf, off, off + 4, end);
  }
  const vendor = buf.readUInt32BE(off + 4);
  if (vendor !== NX_VENDOR) {
    if (vendor === ONF_VENDOR && end - off >= 16 && buf.readUInt16BE(off + 8) === 3200) return decodeCopyField(buf, off, end);
    return { type: "experimenter", experimenter: vendor, data: buf.subarray(off + 8, end) };
  }
  if (end - off < 16) throw truncated(off, "Nicira action");
  const subtype = buf.readUInt16BE(off + 8);
  const pos = off + 10;
  switch (subtype) {
    case 1:
    case 14:
    case 44: {
      exactly(off, end, 16);
      const port = buf.readUInt16BE(pos);
      return {
        type: "resubmit",
        ...(subtype === 1 ? {} : { table: buf[pos + 2]! }),
        ...(port === 0xfff8 && subtype !== 1 ? {} : { in_port: port }),
        ...(subtype === 44 ? { ct: true } : {}),
      };
    }
    case 7: {
      exactly(off, end, 24);
      const value = buf.readUInt16BE(pos);
      const { field } = readHeader(buf, pos + 2, end);
      const dst = checked(pos, { field: field.name, ofs: value >>> 6, bits: (value & 63) + 1 });
      return { type: "load", dst, value: buf.readUInt32BE(pos + 6) === 0 ? buf.readUInt32BE(pos + 10) : buf.readBigUInt64BE(pos + 6) };
    }
    case 16:
    case 45:
      return decodeLearn(buf, off, end, subtype === 45);
    case 20:
      exactly(off, end, 16);
      return { type: "controller", max_len: buf.readUInt16BE(pos), controller_id: buf.readUInt16BE(pos + 2), reason: buf[pos + 4]! };
    case 33: {
      const oxm = readOxm(buf, pos, end);
      if (typeof oxm.value === "object" && !(oxm.value instanceof Uint8Array)) return { type: "reg_load2", field: oxm.field.name, value: oxm.value.value, mask: oxm.value.mask };
      return { type: "reg_load2", field: oxm.field.name, value: oxm.value };
    }
    case 35:
      return decodeCt(buf, off, end);
    case 36:
      return { type: "nat", nat: decodeNat(buf, off, end) };
    case 37:
      return decodeController(buf, off, end);
    default:
      return decodeRow(NX_NAMES[subtype], buf, off, pos, end);
  }
}

function exactly(off: number, end: number, size: number): void {
  if (end - off !== size) throw malformed(off + 2, `action length ${end - off}, expected ${size}`);
}

const SUBFIELDS = ["src", "dst", "field"];

function decodeRow(row: [name: string, def: Def<readonly Part[]>] | undefined, buf: Buffer, off: number, pos: number, end: number): Action {
  if (row === undefined) throw malformed(off, "unknown action");
  const obj: Obj = { type: row[0] };
  const layout = row[1].layout;
  const at = decodeParts(layout, buf, pos, Math.max(end, pos), obj, row[0]);
  if (end - at >= 8) throw malformed(at, `${row[0]}: ${end - at} bytes left over`);
  for (const name of SUBFIELDS) {
    const sub = obj[name] as Draft | undefined;
    if (sub === undefined) continue;
    if (row[0] === "check_pkt_larger") sub.bits = 1;
    checked(off, sub);
  }
  return obj as unknown as Action;
}

/** ONF copy_field is the same as move. */
function decodeCopyField(buf: Buffer, off: number, end: number): Action {
  if (end - off < 32) throw truncated(off, "copy_field");
  const bits = buf.readUInt16BE(off + 12);
  const src = readHeader(buf, off + 20, end);
  const dst = readHeader(buf, src.end, end);
  return {
    type: "move",
    src: checked(off + 14, { field: src.field.name, ofs: buf.readUInt16BE(off + 14), bits }),
    dst: checked(off + 16, { field: dst.field.name, ofs: buf.readUInt16BE(off + 16), bits }),
  };
}

function decodeCt(buf: Buffer, off: number, end: number): Action {
  if (end - off < 24) throw truncated(off, "ct");
  const pos = off + 10;
  const flags = buf.readUInt16BE(pos);
  const tableId = buf[pos + 8]!;
  const alg = buf.readUInt16BE(pos + 12);
  let zone: number | SubField = buf.readUInt16BE(pos + 6);
  if (buf.readUInt32BE(pos + 2) !== 0) {
    zone = checked(pos + 6, { field: readHeader(buf, pos + 2, end).field.name, ofs: zone >>> 6, bits: (zone & 63) + 1 });
  }
  const exec = decodeActions(buf, pos + 14, end - pos - 14);
  const first = exec[0];
  const nat = first?.type === "nat" ? first.nat : undefined;
  if (nat !== undefined) exec.shift();
  return {
    type: "ct",
    ...(flags & 1 ? { commit: true } : {}),
    ...(flags & 2 ? { force: true } : {}),
    ...(zone === 0 ? {} : { zone }),
    ...(tableId === 255 ? {} : { table: tableId }),
    ...(alg === 0 ? {} : { alg }),
    ...(nat === undefined ? {} : { nat }),
    ...(exec.length === 0 ? {} : { exec }),
  };
}

function decodeNat(buf: Buffer, off: number, end: number): Nat {
  const flags = buf.readUInt16BE(off + 12);
  const present = buf.readUInt16BE(off + 14);
  const nat: { -readonly [K in keyof Nat]: Nat[K] } = {};
  if (flags & 1) nat.kind = "src";
  else if (flags & 2) nat.kind = "dst";
  NAT_FLAGS.forEach((name, i) => {
    if (flags & (4 << i)) nat[name] = true;
  });
  let pos = off + 16;
  const take = (bit: number, size: number): number => {
    if ((present & bit) === 0) return -1;
    if (pos + size > end) throw truncated(pos, "nat");
    pos += size;
    return pos - size;
  };
  for (const [key, bit] of [["addr_min", 1], ["addr_max", 2]] as const) {
    const at = take(bit, 4);
    if (at >= 0) nat[key] = ipv4Text(buf, at);
  }
  for (const [key, bit] of [["addr_min", 4], ["addr_max", 8]] as const) {
    const at = take(bit, 16);
    if (at >= 0) nat[key] = ipv6Text(buf, at);
  }
  for (const [key, bit] of [["port_min", 16], ["port_max", 32]] as const) {
    const at = take(bit, 2);
    if (at >= 0) nat[key] = buf.readUInt16BE(at);
  }
  return nat;
}

function decodeController(buf: Buffer, off: number, end: number): Action {
  const action: { -readonly [K in keyof (Action & { type: "controller" })]: (Action & { type: "controller" })[K] } = { type: "controller" };
  for (let pos = off + 16; pos < end; ) {
    if (pos + 4 > end) throw truncated(pos, "controller property");
    const type = buf.readUInt16BE(pos);
    const length = buf.readUInt16BE(pos + 2);
    const size = [8, 8, 5, 4, 4, 8][type];
    if (size === undefined) throw malformed(pos, `controller property ${type}`);
    if (length < size || (type !== 3 && length > 8)) throw malformed(pos + 2, `controller property length ${length}`);
    if (pos + length > end) throw truncated(pos, "controller property");
    if (type === 0) action.max_len = buf.readUInt16BE(pos + 4);
    else if (type === 1) action.controller_id = buf.readUInt16BE(pos + 4);
    else if (type === 2) action.reason = buf[pos + 4]!;
    else if (type === 3) action.userdata = buf.subarray(pos + 4, pos + length);
    else if (type === 4) action.pause = true;
    else action.meter_id = buf.readUInt32BE(pos + 4);
    pos += (length + 7) & ~7;
  }
  return action;
}
