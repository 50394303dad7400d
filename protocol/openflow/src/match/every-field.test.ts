// Every field and every action through a real Open vSwitch: sent by our encoder, dumped by our decoder, equal. The cases come from
// the tables of fields and actions, so that a new row is a new case; what the switch refuses is said here with its error.

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Action } from "../actions/codec.ts";
import type { OpenFlowConnection } from "../channel/connection.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { fieldList, type Field, type FieldName, type Prerequisite } from "./fields.ts";
import { eachFlowStats } from "../messages/flow-mod.ts";
import { encodeInstructions, decodeInstructions, type Instruction } from "../messages/instructions.ts";
import { decodeMatch, encodeMatch, type Match, type MatchValue } from "./match.ts";
import type { FieldValue } from "./value.ts";
import { ovsInstalled, startFlowSwitch, type TestSwitch } from "../testing/test-switch.ts";

const ip: Match = { eth_type: 0x0800 };
const ip6: Match = { eth_type: 0x86dd };
const NEEDS: Readonly<Record<Prerequisite, Match>> = {
  eth: {}, vlan: { vlan_vid: { value: 0x1000, mask: 0x1000 } }, ip, ipv4: ip, ipv6: ip6, arp: { eth_type: 0x0806 }, mpls: { eth_type: 0x8847 }, nsh: { eth_type: 0x894f },
  tcp: { ...ip, ip_proto: 6 }, udp: { ...ip, ip_proto: 17 }, sctp: { ...ip, ip_proto: 132 }, icmpv4: { ...ip, ip_proto: 1 }, icmpv6: { ...ip6, ip_proto: 58 },
  nd: { ...ip6, ip_proto: 58, icmpv6_type: 135, icmpv6_code: 0 }, nd_solicit: { ...ip6, ip_proto: 58, icmpv6_type: 135, icmpv6_code: 0 },
  nd_advert: { ...ip6, ip_proto: 58, icmpv6_type: 136, icmpv6_code: 0 }, ct: { ct_state: "+trk+est" },
};

/** Fields with what else they want matched. */
const ALSO: Readonly<Partial<Record<FieldName, Match>>> = {
  ct_nw_src: { ...ip, ct_state: "+trk+est" }, ct_nw_dst: { ...ip, ct_state: "+trk+est" }, ct_ipv6_src: { ...ip6, ct_state: "+trk+est" }, ct_ipv6_dst: { ...ip6, ct_state: "+trk+est" },
  ct_nw_proto: { ...ip, ct_state: "+trk+est" }, ct_tp_src: { ...ip, ct_state: "+trk+est", ct_nw_proto: 6 }, ct_tp_dst: { ...ip, ct_state: "+trk+est", ct_nw_proto: 6 },
};

/** Values that a field's kind does not make obvious. */
const VALUES: Readonly<Partial<Record<FieldName, MatchValue>>> = {
  eth_type: 0x0806, packet_type: 0x00010800, vlan_vid: 0x1005, vlan_tci: 0x3005, in_port: 5, nxm_in_port: 5, ip_frag: 1, tcp_flags: 2, tun_flags: { value: 1, mask: 1 }, ct_state: "+trk+est-new", recirc_id: 1,
  // A peculiarity of 3.1: these come back with the value as mask.
  tun_erspan_ver: { value: 1n, mask: 1n }, tun_erspan_hwid: { value: 1n, mask: 1n }, tun_gtpu_flags: { value: 1n, mask: 1n }, tun_gtpu_msgtype: { value: 1n, mask: 1n },
  ip_tos: 0x28, nsh_mdtype: 1, ct_zone: 5, arp_op: 2, icmpv6_type: 135, ip_proto: 17,
};

/** The switch's own TLV map has fields 0 (4 bytes) and 3 (8 bytes); one width stands for the 64 of them. */
const tunMetadata = (field: Field): boolean => field.name.startsWith("tun_metadata");
const METADATA: Readonly<Record<string, string>> = { tun_metadata0: "01020304", tun_metadata3: "0102030405060708" };

/** What Open vSwitch 3.1 answers to a match on the field. */
const REFUSED: Readonly<Partial<Record<FieldName, string>>> = {
  dp_hash: "OFPBRC_EPERM", recirc_id: "OFPBRC_EPERM",
};

/** What actions set, where it is not what matches. */
const SET: Readonly<Partial<Record<FieldName, number>>> = { tun_flags: 1, tun_erspan_ver: 1, tun_erspan_hwid: 1, tun_gtpu_flags: 1, tun_gtpu_msgtype: 1 };
/** What Open vSwitch 3.1 answers to an action that writes the field, by action. */
const SET_REFUSED: Readonly<Partial<Record<FieldName, Readonly<Record<string, string>>>>> = { in_port: { set_field: "OFPBAC_BAD_SET_ARGUMENT" } };

function value(field: Field): MatchValue {
  const own = VALUES[field.name];
  if (own !== undefined) return own;
  switch (field.kind) {
    case "mac":
      return "02:00:00:00:00:09";
    case "ipv4":
      return "192.0.2.9";
    case "ipv6":
      return "2001:db8::9";
    case "bytes":
      return METADATA[field.name]!;
    case "uint":
      return 1n;
  }
}

function masked(field: Field): MatchValue | undefined {
  if (!field.maskable || ["tun_flags", "ct_state", "vlan_vid", "vlan_tci", "ip_frag"].includes(field.name)) return undefined;
  switch (field.kind) {
    case "mac":
      return "02:00:00:00:00:00/ff:00:00:00:00:00";
    case "ipv4":
      return "192.0.2.0/24";
    case "ipv6":
      return "2001:db8::/32";
    case "bytes":
      return { value: METADATA[field.name]!.replace(/..$/, "00"), mask: "ff".repeat(METADATA[field.name]!.length / 2 - 1) + "00" };
    case "uint":
      return field.bits < 2 ? undefined : { value: 1n, mask: 1n };
  }
}

const reg = (ofs = 0, bits = 32): { field: FieldName; ofs: number; bits: number } => ({ field: "reg5", ofs, bits });

interface Case {
  readonly actions: readonly Action[];
  readonly match?: Match;
  /** The name of the error with which the switch refuses it. */
  readonly refused?: string;
  /** What comes back where it is not what was sent. */
  readonly back?: readonly Action[];
  /** The same where it comes back as instructions. */
  readonly instructions?: readonly Instruction[];
}
const tcp = NEEDS.tcp;
const one = (...actions: Action[]): Case => ({ actions });
const on = (match: Match, ...actions: Action[]): Case => ({ match, actions });

/** Every action; a new one is a type error here. */
const ACTIONS: Readonly<Record<Action["type"], readonly Case[]>> = {
  output: [one({ type: "output", port: 2 }, { type: "output", port: 0xfffffff8 }, { type: "output", port: 0xfffffffd, max_len: 128 })],
  set_field: [one({ type: "set_field", field: "reg1", value: 5 })], // and below, for every field
  load: [one({ type: "load", dst: reg(3, 7), value: 5 })],
  reg_load2: [{ ...one({ type: "reg_load2", field: "tun_metadata0", value: "01020000", mask: "ffff0000" }) }],
  move: [on(tcp, { type: "move", src: { field: "ipv4_src", ofs: 0, bits: 32 }, dst: reg() })],
  resubmit: [one({ type: "resubmit", table: 5 }, { type: "resubmit", in_port: 3 }, { type: "resubmit", table: 6, in_port: 3 }), on({ ...tcp, ct_state: "+trk+est" }, { type: "resubmit", table: 7, ct: true })],
  ct: [
    on(tcp, { type: "ct", commit: true, force: true, zone: 7, table: 3, alg: 21, nat: { kind: "src", addr_min: "192.0.2.1", addr_max: "192.0.2.9", port_min: 1000, port_max: 2000, hash: true },
      exec: [{ type: "set_field", field: "ct_mark", value: 5 }, { type: "set_field", field: "ct_label", value: 5n }] }),
    on(ip, { type: "ct", zone: reg(0, 16), nat: {} }, { type: "ct", commit: true, nat: { kind: "dst", addr_min: "192.0.2.1", random: true, persistent: true } }),
    on(ip6, { type: "ct", commit: true, nat: { kind: "dst", addr_min: "2001:db8::1", addr_max: "2001:db8::2" } }),
    { ...on({}, { type: "ct", commit: true }), refused: "OFPBAC_MATCH_INCONSISTENT" },
  ],
  nat: [{ ...on(ip, { type: "nat", nat: { kind: "src", addr_min: "192.0.2.1" } }), refused: "OFPBAC_BAD_SET_ARGUMENT" }],
  ct_clear: [one({ type: "ct_clear" })],
  controller: [
    one({ type: "controller", max_len: 64, controller_id: 3, reason: 0 }),
    one({ type: "controller", max_len: 64, controller_id: 3, reason: 0, userdata: Uint8Array.of(1, 2, 3), pause: true, meter_id: 1 }),
  ],
  dec_ttl: [on(ip, { type: "dec_ttl" })],
  dec_ttl_cnt_ids: [on(ip, { type: "dec_ttl_cnt_ids", ids: [1, 2, 3] })],
  learn: [
    on(tcp, {
      type: "learn", table_id: 9, priority: 7, idle_timeout: 3, hard_timeout: 4, cookie: 5n, fin_idle_timeout: 1, fin_hard_timeout: 2,
      specs: [
        { type: "match", src: { field: "eth_src", ofs: 0, bits: 48 }, dst: { field: "eth_dst", ofs: 0, bits: 48 } }, { type: "load", src: 0xab, dst: reg(0, 8) },
        { type: "output", src: { field: "nxm_in_port", ofs: 0, bits: 16 } },
      ],
    }),
    one({ type: "learn", table_id: 9, limit: 10, result_dst: reg(3, 1), specs: [{ type: "match", src: reg(), dst: reg() }] }),
  ],
  conjunction: [one({ type: "conjunction", id: 7, clause: 1, n_clauses: 3 })],
  note: [one({ type: "note", data: Uint8Array.of(1, 2, 3, 0, 0, 0) })],
  clone: [one({ type: "clone", actions: [{ type: "set_field", field: "reg1", value: 1 }, { type: "output", port: 3 }] })],
  group: [one({ type: "group", group_id: 77 }), { ...one({ type: "group", group_id: 78 }), refused: "OFPBAC_BAD_OUT_GROUP" }],
  set_queue: [one({ type: "set_queue", queue_id: 3 })],
  pop_queue: [one({ type: "pop_queue" })],
  exit: [one({ type: "exit" })],
  fin_timeout: [on(tcp, { type: "fin_timeout", fin_idle_timeout: 3, fin_hard_timeout: 4 }), { ...on(ip, { type: "fin_timeout", fin_idle_timeout: 3, fin_hard_timeout: 4 }), refused: "OFPBAC_MATCH_INCONSISTENT" }],
  multipath: [on(ip, { type: "multipath", fields: 1, basis: 50, algorithm: 0, max_link: 3, arg: 0, dst: reg() })],
  bundle: [one({ type: "bundle", algorithm: 0, fields: 0, basis: 0, members: [1, 2] })],
  bundle_load: [one({ type: "bundle_load", algorithm: 1, fields: 0, basis: 0, members: [1, 2, 3], dst: reg(0, 16) })],
  output_reg: [one({ type: "output_reg", src: reg(0, 16), max_len: 100 })],
  output_reg2: [one({ type: "output_reg2", src: { field: "xreg0", ofs: 0, bits: 32 } })],
  output_trunc: [one({ type: "output_trunc", port: 3, max_len: 100 })],
  write_metadata: [{ ...one({ type: "write_metadata", metadata: 5n, metadata_mask: 0xffn }), instructions: [{ type: "write_metadata", metadata: 5n, metadata_mask: 0xffn }] }],
  stack_push: [one({ type: "stack_push", field: reg() })],
  stack_pop: [one({ type: "stack_pop", field: reg(4, 8) })],
  sample: [one({ type: "sample", probability: 5, collector_set_id: 1, obs_domain_id: 2, obs_point_id: 3 })],
  sample2: [one({ type: "sample2", probability: 5, collector_set_id: 1, obs_domain_id: 2, obs_point_id: 3, sampling_port: 7 })],
  sample3: [one({ type: "sample3", probability: 5, collector_set_id: 1, obs_domain_id: 2, obs_point_id: 3, sampling_port: 7, direction: 1 })],
  encap: [on({}, { type: "encap", new_pkt_type: 0x0001894f })],
  decap: [on({ eth_type: 0x894f }, { type: "decap", new_pkt_type: 0x0000fffe })],
  dec_nsh_ttl: [on({ eth_type: 0x894f }, { type: "dec_nsh_ttl" })],
  check_pkt_larger: [one({ type: "check_pkt_larger", pkt_len: 1500, dst: reg(3, 1) })],
  delete_field: [one({ type: "delete_field", field: { field: "tun_metadata0", ofs: 0, bits: 32 } })],
  set_tunnel: [{ ...one({ type: "set_tunnel", tun_id: 5 }), back: [{ type: "set_field", field: "tunnel_id", value: 5n }] }],
  set_tunnel64: [{ ...one({ type: "set_tunnel64", tun_id: 5n }), back: [{ type: "set_field", field: "tunnel_id", value: 5n }] }],
  // The switch answers with set_field, which is what it keeps.
  set_vlan_vid: [
    { ...on(NEEDS.vlan, { type: "set_vlan_vid", vlan_vid: 5 }), back: [{ type: "set_field", field: "vlan_vid", value: 0x1005 }] },
    { ...one({ type: "set_vlan_vid", vlan_vid: 5 }), refused: "OFPBAC_MATCH_INCONSISTENT" },
  ],
  set_vlan_pcp: [
    { ...on(NEEDS.vlan, { type: "set_vlan_pcp", vlan_pcp: 2 }), back: [{ type: "set_field", field: "vlan_pcp", value: 2 }] },
    { ...one({ type: "set_vlan_pcp", vlan_pcp: 2 }), refused: "OFPBAC_MATCH_INCONSISTENT" },
  ],
  set_dl_src: [{ ...one({ type: "set_dl_src", dl_addr: "02:00:00:00:00:09" }), back: [{ type: "set_field", field: "eth_src", value: "02:00:00:00:00:09" }] }],
  set_dl_dst: [{ ...one({ type: "set_dl_dst", dl_addr: "02:00:00:00:00:09" }), back: [{ type: "set_field", field: "eth_dst", value: "02:00:00:00:00:09" }] }],
  set_nw_src: [{ ...on(ip, { type: "set_nw_src", nw_addr: "192.0.2.1" }), back: [{ type: "set_field", field: "ipv4_src", value: "192.0.2.1" }] }],
  set_nw_dst: [{ ...on(ip, { type: "set_nw_dst", nw_addr: "192.0.2.1" }), back: [{ type: "set_field", field: "ipv4_dst", value: "192.0.2.1" }] }],
  set_nw_tos: [{ ...on(ip, { type: "set_nw_tos", nw_tos: 40 }), back: [{ type: "set_field", field: "ip_dscp", value: 10 }] }],
  set_nw_ecn: [{ ...on(ip, { type: "set_nw_ecn", nw_ecn: 2 }), back: [{ type: "set_field", field: "ip_ecn", value: 2 }] }],
  set_tp_src: [{ ...on(tcp, { type: "set_tp_src", tp_port: 80 }), back: [{ type: "set_field", field: "tcp_src", value: 80 }] }],
  set_tp_dst: [{ ...on(tcp, { type: "set_tp_dst", tp_port: 80 }), back: [{ type: "set_field", field: "tcp_dst", value: 80 }] }],
  set_nw_ttl: [on(ip, { type: "set_nw_ttl", nw_ttl: 9 })],
  set_mpls_label: [{ ...on(NEEDS.mpls, { type: "set_mpls_label", mpls_label: 9 }), back: [{ type: "set_field", field: "mpls_label", value: 9 }] }],
  set_mpls_tc: [{ ...on(NEEDS.mpls, { type: "set_mpls_tc", mpls_tc: 2 }), back: [{ type: "set_field", field: "mpls_tc", value: 2 }] }],
  set_mpls_ttl: [on(NEEDS.mpls, { type: "set_mpls_ttl", mpls_ttl: 8 })],
  dec_mpls_ttl: [on(NEEDS.mpls, { type: "dec_mpls_ttl" })],
  push_vlan: [one({ type: "push_vlan", ethertype: 0x8100 }, { type: "set_field", field: "vlan_vid", value: 0x1005 })],
  pop_vlan: [on(NEEDS.vlan, { type: "pop_vlan" })],
  push_mpls: [on(ip, { type: "push_mpls", ethertype: 0x8847 })],
  pop_mpls: [on(NEEDS.mpls, { type: "pop_mpls", ethertype: 0x0800 })],
  // No part of Open vSwitch.
  copy_ttl_out: [{ ...one({ type: "copy_ttl_out" }), refused: "OFPBAC_BAD_TYPE" }],
  copy_ttl_in: [{ ...one({ type: "copy_ttl_in" }), refused: "OFPBAC_BAD_TYPE" }],
  push_pbb: [{ ...one({ type: "push_pbb", ethertype: 0x88e7 }), refused: "OFPBAC_BAD_TYPE" }],
  pop_pbb: [{ ...one({ type: "pop_pbb" }), refused: "OFPBAC_BAD_TYPE" }],
  experimenter: [{ ...one({ type: "experimenter", experimenter: 0x123456, data: new Uint8Array(8) }), refused: "OFPBAC_BAD_VENDOR" }],
  // Taken by a switch with dummy datapaths only.
  debug_slow: [one({ type: "debug_slow" })],
  debug_recirc: [one({ type: "debug_recirc" })],
};

describe.skipIf(!ovsInstalled)("a real Open vSwitch", () => {
  let ovs: TestSwitch;
  let conn: OpenFlowConnection;

  beforeAll(async () => {
    ovs = startFlowSwitch();
    conn = await ovs.connect();
  });
  afterAll(() => {
    conn?.close();
    ovs?.stop();
  });

  /** What the switch has after it was given the flow: "" plus the name of its error, or match and actions in hex. */
  async function back(match: Match, actions: readonly Action[]): Promise<string> {
    await conn.request({ type: "flow_mod", command: "delete", match: {} });
    try {
      await conn.request({ type: "flow_mod", command: "add", priority: 5, match, instructions: actions.length === 0 ? [] : [{ type: "apply_actions", actions }] });
    } catch (error) {
      if (error instanceof OpenFlowError && error.code === "OF_PEER_ERROR") return error.errorName!;
      throw error;
    }
    const found: string[] = [];
    const buf = Buffer.alloc(8192);
    await conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, (reply) =>
      eachFlowStats(reply, (e) => {
        // Decoded and encoded from copies: what the bytes say, not how they were written.
        const m = encodeMatch(buf, 0, { ...decodeMatch(e.buf, e.match_off) });
        const end = encodeInstructions(buf, m, decodeInstructions(e.buf, e.instructions_off, e.instructions_len));
        found.push(buf.toString("hex", 0, end));
      }));
    expect(found).toHaveLength(1);
    return found[0]!;
  }

  function sent(match: Match, actions: readonly Action[], instructions: readonly Instruction[] = actions.length === 0 ? [] : [{ type: "apply_actions", actions }]): string {
    const buf = Buffer.alloc(8192);
    const end = encodeInstructions(buf, encodeMatch(buf, 0, match), instructions);
    return buf.toString("hex", 0, end);
  }

  const known = fieldList.filter((field) => field.known && field.name !== "cookie" && field.name !== "nxm_in_port" && (!tunMetadata(field) || METADATA[field.name] !== undefined));
  const needs = (field: Field): Match => ({ ...(field.needs === undefined ? {} : NEEDS[field.needs]), ...ALSO[field.name] });

  test("the cases are all fields but those that a switch cannot have in a flow", () => {
    const left = fieldList.filter((field) => !known.includes(field) && !tunMetadata(field)).map((field) => field.name);
    expect(left).toEqual(["in_phy_port", "pbb_isid", "ipv6_exthdr", "pbb_uca", "nxm_in_port", "cookie"]);
  });

  test.each(known.map((field) => [field.name, field] as const))("%s matches, whole and masked", async (name, field) => {
    for (const form of [value(field), masked(field)]) {
      if (form === undefined) continue;
      const match: Match = { ...needs(field), [name]: form };
      expect(await back(match, [])).toBe(REFUSED[name] ?? sent(match, []));
    }
  });

  test.each(known.filter((field) => field.writable).map((field) => [field.name, field] as const))("%s is set, moved, loaded and stacked", async (name, field) => {
    const inCt = name === "ct_mark" || name === "ct_label"; // written when a connection is committed, read anywhere
    const match = inCt ? ip : name === "vlan_vid" ? NEEDS.vlan : needs(field);
    const width = tunMetadata(field) ? METADATA[name]!.length * 4 : field.width;
    const whole = { field: name, ofs: 0, bits: Math.min(width, 32), ...(tunMetadata(field) ? { length: METADATA[name]!.length / 2 } : {}) };
    const write = (action: Action): Action[] => (inCt ? [{ type: "ct", commit: true, exec: [action] }] : [action]);
    const lists: Record<string, Action[]> = {
      set_field: write({ type: "set_field", field: name, value: (SET[name] ?? value(field)) as FieldValue }),
      move: [{ type: "move", src: whole, dst: reg(0, whole.bits) }, ...write({ type: "move", src: reg(0, whole.bits), dst: whole })],
      stack: inCt ? [{ type: "stack_push", field: whole }] : [{ type: "stack_push", field: whole }, { type: "stack_pop", field: whole }],
    };
    if (field.experimenter === undefined && !tunMetadata(field)) lists["load"] = write({ type: "load", dst: { ...whole, bits: 1 }, value: 1 });
    const differing: string[] = [];
    for (const [what, actions] of Object.entries(lists)) {
      const got = await back(match, actions);
      if (got !== (SET_REFUSED[name]?.[what] ?? sent(match, actions))) differing.push(`${what}: ${got}\n  sent ${sent(match, actions)}`);
    }
    expect(differing).toEqual([]);
  });

  test.each(Object.entries(ACTIONS))("%s", async (type, cases) => {
    expect(cases.length).toBeGreaterThan(0);
    for (const { match = {}, actions, refused, back: kept, instructions } of cases) {
      expect(actions.some((action) => action.type === type)).toBe(true);
      expect(await back(match, actions)).toBe(refused ?? sent(match, kept ?? actions, instructions));
    }
  });
});
