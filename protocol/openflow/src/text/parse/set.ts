// Actions that change the packet or its fields: set_field, load, move, the mod_ actions of OpenFlow 1.0, which are sent as
// set_field, tags and headers pushed and popped, TTLs.

import type { Action } from "../../actions/codec.ts";
import type { EncapProperty } from "../../actions/encap.ts";
import { fields, type FieldName } from "../../match/fields.ts";
import { writeIpv4, writeMac } from "../../match/value.ts";
import {
  canBeSet, fieldNamed, fieldOrNumberNamed, fieldValue, hasShortNumber, leadingInteger, leadingSubField, ones, subField, wireSubField, wireValue,
  type TextField, type TextSubField,
} from "./fields.ts";
import { ETH, PACKET_TYPE, PROTO, VLAN_PRESENT } from "./packet.ts";
import { consistent, inconsistent, plain, readable, writable, type Judge, type Reader, type Reading } from "./step.ts";
import { decimal, hexBytes, number, pairs, part, pieces, quoted, textError, u16, u32, u64, u8, type Word } from "./words.ts";

// --- set_field and load ---

function arrow(value: Word): { left: Word; right: Word } {
  const at = value.text.indexOf("->");
  if (at < 0) throw textError(value, `-> is missing in ${quoted(value)}`);
  if (at + 2 === value.text.length) throw textError({ at: value.at + at }, `a field is missing after ->`);
  return { left: part(value, 0, at), right: part(value, at + 2) };
}

function bytesOf(value: bigint): number {
  return value === 0n ? 0 : (value.toString(16).length + 1) >> 1;
}

const MOST_BITS = 64;

/** What writes `value` where `mask` has ones: loads of up to 64 bits, or one load with a mask for fields that they cannot name. */
function loads(field: TextField, value: bigint, mask: bigint): Action[] {
  const wire = field.wire!;
  const whole = mask === ones(field);
  if (!hasShortNumber(field) || wire.bytes === 0) {
    const bytes = wire.bytes || Math.max(bytesOf(value), whole ? 0 : bytesOf(mask));
    const action = { type: "reg_load2" as const, field: wire.name, value: wireValue(wire, value, bytes) };
    return [whole ? action : { ...action, mask: wireValue(wire, mask, bytes) }];
  }
  const found: Action[] = [];
  for (let ofs = 0; ofs < field.width; ) {
    let bits = 0;
    while (bits < MOST_BITS && ofs + bits < field.width && ((mask >> BigInt(ofs + bits)) & 1n) !== 0n) bits++;
    if (bits > 0) {
      const run = (value >> BigInt(ofs)) & ((1n << BigInt(bits)) - 1n);
      found.push({ type: "load", dst: { field: wire.name, ofs, bits }, value: run <= 0xffffffffn ? Number(run) : run });
    }
    ofs += bits || 1;
  }
  return found;
}

/** The packet after a field was set; the field has to be there. */
function judgeSet(judge: Judge, word: Word, field: TextField, value: bigint): void {
  const { packet } = judge;
  if (!packet.meets(field.needs) || (field.name === "vlan_vid" && !packet.hasVlan)) throw inconsistent(word, `the match does not say that there is ${field.name}`);
  if (field.name === "vlan_tci") packet.vlans[0] = Number(value);
}

const setField: Reader = (value, word) => {
  const { left, right } = arrow(value);
  const field = fieldNamed(right.text);
  if (field === undefined) throw textError(right, `no field ${quoted(right)}`);
  const { wire } = field;
  if (!field.writable || wire === undefined) throw textError(right, `${field.name} cannot be set`, "OFPBAC_BAD_SET_ARGUMENT");
  const masked = fieldValue(field, left);
  if (!canBeSet(field, masked.value)) throw textError(left, `${field.name} cannot be ${quoted(left)}`, "OFPBAC_BAD_SET_ARGUMENT");
  const actions: Action[] = masked.mask === ones(field)
    ? [{ type: "set_field", field: wire.name, value: wireValue(wire, masked.value, wire.bytes || bytesOf(masked.value)) }]
    : loads(field, masked.value, masked.mask);
  return {
    sets: field,
    compile: (judge) => (judge !== undefined && judgeSet(judge, word, field, masked.value), actions),
  };
};

const load: Reader = (value, word) => {
  const { left, right } = arrow(value);
  const sub = subField(right);
  const { field, ofs, bits } = sub;
  wireSubField(right, sub);
  const { value: given, end } = leadingInteger(field, left);
  if (end !== left.text.length) throw textError({ at: left.at + end }, `load: ${quoted(left)} is not a number`);
  if (given >> BigInt(bits) !== 0n) throw textError(left, `load: ${quoted(left)} has more than ${bits} bits`);
  const shifted = given << BigInt(ofs);
  const actions = loads(field, shifted, ((1n << BigInt(bits)) - 1n) << BigInt(ofs));
  return { sets: field, compile: (judge) => (judge !== undefined && judgeSet(judge, word, field, shifted), actions) };
};

const move: Reader = (value, word) => {
  const { sub: src, end } = leadingSubField(value);
  if (!value.text.startsWith("->", end)) throw textError({ at: value.at + end }, `move: -> is missing in ${quoted(value)}`);
  const target = part(value, end + 2);
  const dst = subField(target);
  if (src.bits !== dst.bits) throw textError(value, `move: ${src.bits} bits of ${src.field.name} to ${dst.bits} of ${dst.field.name}`);
  const action: Action = { type: "move", src: wireSubField(value, src), dst: wireSubField(target, dst) };
  return {
    sets: dst.field,
    compile(judge) {
      if (judge !== undefined) {
        readable(judge, word, src);
        writable(judge, word, dst);
      }
      return [action];
    },
  };
};

const stack = (type: "stack_push" | "stack_pop", check: (judge: Judge, word: Word, sub: TextSubField) => void): Reader => (value, word) => {
  const sub = subField(value);
  return plain({ type, field: wireSubField(value, sub) }, (judge) => check(judge, word, sub));
};

const deleteField: Reader = (value, word) => {
  const field = fieldOrNumberNamed(value.text);
  if (field === undefined) throw textError(value, `no field ${quoted(value)}`);
  return plain({ type: "delete_field", field: wireSubField(value, { field, ofs: 0, bits: field.width }) }, () => {
    if (field.wire?.bytes !== 0) throw textError(word, `${word.text}: only tun_metadata can be deleted, not ${field.name}`, "OFPBAC_BAD_ARGUMENT");
  });
};

const checkPktLarger: Reader = (value) => {
  const { left, right } = arrow(value);
  const dst = subField(right);
  if (dst.bits !== 1) throw textError(right, `check_pkt_larger takes one bit, not ${dst.bits}`);
  const length = left.text.endsWith(")") ? part(left, 0, left.text.length - 1) : left;
  return plain({ type: "check_pkt_larger", pkt_len: u16(length, "check_pkt_larger"), dst: wireSubField(right, dst) });
};

// --- the mod_ actions and others that are sent as set_field of a whole field ---

function setter(name: FieldName, read: (value: Word, word: Word) => bigint, check?: (judge: Judge, word: Word) => void): Reader {
  return (value, word) => plain({ type: "set_field", field: name, value: wireValue(fields[name], read(value, word)) }, check && ((judge) => check(judge, word)));
}

const scratch = Buffer.alloc(8);

function ethernet(value: Word, word: Word): bigint {
  if (!writeMac(scratch, 2, value.text)) throw textError(value, `${word.text}: ${quoted(value)} is not an Ethernet address`);
  scratch.writeUInt16BE(0, 0);
  return scratch.readBigUInt64BE(0);
}

function ipv4(value: Word, word: Word): bigint {
  if (!writeIpv4(scratch, 0, value.text)) throw textError(value, `${word.text}: ${quoted(value)} is not an IPv4 address`);
  return BigInt(scratch.readUInt32BE(0));
}

function upTo(limit: number): (value: Word, word: Word) => bigint {
  return (value, word) => BigInt(number(value, word.text, limit));
}

function tos(value: Word, word: Word): bigint {
  const given = u8(value, word.text);
  if ((given & 3) !== 0) throw textError(value, `${word.text}: ${quoted(value)} has bits of ECN`);
  return BigInt(given >> 2);
}

const onIp = (judge: Judge, word: Word): void => consistent(judge, judge.packet.isIp, word, "the match does not say ip or ipv6");
const onIpv4 = (judge: Judge, word: Word): void => consistent(judge, judge.packet.type === ETH.IP, word, "the match does not say ip");
const onMpls = (judge: Judge, word: Word): void => consistent(judge, judge.packet.isMpls, word, "the match does not say mpls");

/** `push`: a tag is pushed first where there is none. */
function vlan(name: "vlan_vid" | "vlan_pcp", push: boolean): Reader {
  return (value, word) => {
    const given = name === "vlan_vid" ? number(value, word.text, 0xfff) | VLAN_PRESENT : number(value, word.text, 7);
    const set: Action = { type: "set_field", field: name, value: given };
    return {
      compile(judge) {
        const tagged = judge?.packet.hasVlan ?? false;
        if (judge !== undefined) {
          if (!push) consistent(judge, tagged, word, "the match does not say that there is a VLAN tag");
          judge.packet.vlans[0] |= VLAN_PRESENT;
        }
        return push && !tagged ? [{ type: "push_vlan", ethertype: 0x8100 }, set] : [set];
      },
    };
  };
}

const SIDES = { src: { 6: "tcp_src", 17: "udp_src", 132: "sctp_src" }, dst: { 6: "tcp_dst", 17: "udp_dst", 132: "sctp_dst" } } as const;

/** Which field a port belongs to follows from the protocol; where that is unknown the action of OpenFlow 1.0 is left. */
function transportPort(side: "src" | "dst"): Reader {
  return (value, word) => {
    const port = u16(value, word.text);
    return {
      compile(judge) {
        if (judge !== undefined) consistent(judge, judge.packet.hasPorts, word, "the match does not say tcp, udp or sctp");
        const name = (SIDES[side] as Readonly<Record<number, FieldName>>)[judge?.packet.proto ?? 0];
        if (name !== undefined) return [{ type: "set_field", field: name, value: port }];
        return [side === "src" ? { type: "set_tp_src", tp_port: port } : { type: "set_tp_dst", tp_port: port }];
      },
    };
  };
}

// --- tags, headers, TTLs ---

const pushVlan: Reader = (value, word) => {
  const ethertype = u16(value, word.text);
  if (ethertype !== 0x8100 && ethertype !== 0x88a8) throw textError(value, `${word.text}: ${quoted(value)} is no Ethernet type of a VLAN tag`);
  return plain({ type: "push_vlan", ethertype }, (judge) => {
    if (!judge.packet.pushVlan()) throw textError(word, `${word.text}: there are two VLAN tags already`, "OFPBAC_BAD_TAG");
  });
};

const popVlan: Reader = (_, word) => plain({ type: "pop_vlan" }, (judge) => {
  consistent(judge, judge.packet.hasVlan, word, "the match does not say that there is a VLAN tag");
  judge.packet.popVlan();
});

const pushMpls: Reader = (value, word) => {
  const ethertype = u16(value, word.text);
  return plain({ type: "push_mpls", ethertype }, (judge) => {
    const { packet } = judge;
    consistent(judge, packet.packetType === PACKET_TYPE.ETHERNET, word, "it takes an Ethernet packet");
    packet.ethType = ethertype;
    packet.proto = 0;
  });
};

const popMpls: Reader = (value, word) => {
  const ethertype = u16(value, word.text);
  return plain({ type: "pop_mpls", ethertype }, (judge) => {
    const { packet } = judge;
    consistent(judge, packet.packetType === PACKET_TYPE.ETHERNET && packet.isMpls, word, "the match does not say mpls");
    packet.ethType = ethertype;
  });
};

function setTtl(type: "set_nw_ttl" | "set_mpls_ttl"): Reader {
  return (value, word) => {
    const ttl = u8(value, word.text);
    return type === "set_nw_ttl" ? plain({ type, nw_ttl: ttl }, (judge) => onIp(judge, word)) : plain({ type, mpls_ttl: ttl }, (judge) => onMpls(judge, word));
  };
}

const decTtl: Reader = (value, word) => {
  if (value.text === "") return plain({ type: "dec_ttl" }, (judge) => onIp(judge, word));
  const ids = pieces(value, /[, ]/).map((id) => decimal(id, word.text, 0xffff));
  if (ids.length === 0) throw textError(value, `${word.text}: at least one controller is expected`);
  return plain({ type: "dec_ttl_cnt_ids", ids }, (judge) => onIp(judge, word));
};

const ENCAPSULATIONS: ReadonlyMap<string, number> = new Map([["ethernet", 0], ["nsh", PACKET_TYPE.NSH], ["mpls", 0x10000 | ETH.MPLS], ["mpls_mc", 0x10000 | ETH.MPLS_MC]]);

const encap: Reader = (value, word) => {
  const first = pairs(value).next().value;
  const packetType = first === undefined ? undefined : ENCAPSULATIONS.get(first.key.text);
  if (first === undefined || packetType === undefined) throw textError(value, `${word.text}: ${quoted(value)} is none of ${[...ENCAPSULATIONS.keys()].join(", ")}`);
  const properties: EncapProperty[] = [];
  for (const pair of pairs(first.value)) properties.push(encapProperty(packetType, pair.key, pair.value));
  return plain({ type: "encap", new_pkt_type: packetType, ...(properties.length === 0 ? {} : { properties }) }, ({ packet }) => {
    packet.packetType = packetType;
    if (packetType >>> 16 === 1) packet.ethType = packetType & 0xffff;
    if (!packet.isIp) packet.proto = 0;
  });
};

function encapProperty(packetType: number, key: Word, value: Word): EncapProperty {
  if (packetType !== PACKET_TYPE.NSH || (key.text !== "md_type" && key.text !== "tlv")) throw textError(key, `encap: no property ${quoted(key)}`);
  if (key.text === "md_type") {
    const mdType = u8(value, "md_type");
    if (mdType !== 1 && mdType !== 2) throw textError(value, `md_type is 1 or 2, not ${quoted(value)}`);
    return { type: "nsh_mdtype", md_type: mdType };
  }
  const found = /^(0[xX][0-9a-fA-F]{1,4}),([0-9]{1,3}),0x([0-9a-fA-F]{1,251})$/.exec(value.text);
  if (found === null) throw textError(value, `tlv takes 0xCLASS,TYPE,0xVALUE, not ${quoted(value)}`);
  const at = value.at + value.text.lastIndexOf("0x") + 2;
  return {
    type: "nsh_tlv", tlv_class: Number(found[1]), tlv_type: decimal({ text: found[2]!, at: value.at + found[1]!.length + 1 }, "tlv", 0xff),
    value: hexBytes({ text: found[3]!, at }, "tlv"),
  };
}

const decap: Reader = (value, word) => {
  let packetType: number = PACKET_TYPE.NEXT;
  const pair = pairs(value).next().value;
  if (pair !== undefined) {
    if (pair.key.text !== "packet_type") throw textError(pair.key, `${word.text}: no argument ${quoted(pair.key)}`);
    const [space, type] = [...pairs(pair.value)];
    if (space?.key.text !== "ns" || type?.key.text !== "type") throw textError(pair.value, `packet_type takes ns and type, not ${quoted(pair.value)}`);
    packetType = number(space.value, "ns", 4) * 0x10000 + u16(type.value, "type");
  }
  return plain({ type: "decap", new_pkt_type: packetType }, ({ packet }) => {
    if (packet.packetType === PACKET_TYPE.ETHERNET) packet.packetType = 0x10000 | packet.ethType;
    else {
      // What was inside is known only when it is out.
      packet.packetType = PACKET_TYPE.UNKNOWN;
      packet.ethType = 0xffff;
    }
  });
};

const onNsh: Reader = (_, word) => plain({ type: "dec_nsh_ttl" }, (judge) => {
  consistent(judge, judge.packet.packetType === PACKET_TYPE.NSH || judge.packet.ethType === ETH.NSH, word, "the match does not say nsh");
});

const tunnel: Reader = (value, word): Reading => plain({ type: "set_field", field: "tunnel_id", value: u64(value, word.text) });

export const SETTERS: Readonly<Record<string, Reader>> = {
  set_field: setField,
  load,
  move,
  push: stack("stack_push", readable),
  pop: stack("stack_pop", writable),
  delete_field: deleteField,
  check_pkt_larger: checkPktLarger,
  mod_dl_src: setter("eth_src", ethernet),
  mod_dl_dst: setter("eth_dst", ethernet),
  mod_nw_src: setter("ipv4_src", ipv4, onIpv4),
  mod_nw_dst: setter("ipv4_dst", ipv4, onIpv4),
  mod_nw_tos: setter("ip_dscp", tos, onIp),
  mod_nw_ecn: setter("ip_ecn", upTo(3), onIp),
  mod_nw_ttl: setTtl("set_nw_ttl"),
  set_nw_ttl: setTtl("set_nw_ttl"),
  mod_tp_src: transportPort("src"),
  mod_tp_dst: transportPort("dst"),
  mod_vlan_vid: vlan("vlan_vid", true),
  mod_vlan_pcp: vlan("vlan_pcp", true),
  set_vlan_vid: vlan("vlan_vid", false),
  set_vlan_pcp: vlan("vlan_pcp", false),
  push_vlan: pushVlan,
  pop_vlan: popVlan,
  strip_vlan: popVlan,
  push_mpls: pushMpls,
  pop_mpls: popMpls,
  set_mpls_label: setter("mpls_label", upTo(0xfffff), onMpls),
  set_mpls_tc: setter("mpls_tc", upTo(7), onMpls),
  set_mpls_ttl: setTtl("set_mpls_ttl"),
  dec_mpls_ttl: (_, word) => plain({ type: "dec_mpls_ttl" }, (judge) => onMpls(judge, word)),
  dec_ttl: decTtl,
  encap,
  decap,
  dec_nsh_ttl: onNsh,
  set_tunnel: tunnel,
  set_tunnel64: tunnel,
  set_queue: (value, word) => plain({ type: "set_queue", queue_id: u32(value, word.text) }),
  pop_queue: () => plain({ type: "pop_queue" }),
  fin_timeout(value, word) {
    const timeouts = { idle_timeout: 0, hard_timeout: 0 };
    for (const pair of pairs(value)) {
      if (pair.key.text !== "idle_timeout" && pair.key.text !== "hard_timeout") throw textError(pair.key, `${word.text}: no argument ${quoted(pair.key)}`);
      timeouts[pair.key.text] = u16(pair.value, pair.key.text);
    }
    return plain({ type: "fin_timeout", fin_idle_timeout: timeouts.idle_timeout, fin_hard_timeout: timeouts.hard_timeout }, (judge) => {
      consistent(judge, judge.packet.proto === PROTO.TCP, word, "the match does not say tcp");
    });
  },
};
