// Against a real Open vSwitch: what is encoded comes back byte for byte, bundles are all or nothing.

import { execFileSync } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import type { Action } from "../actions/codec.ts";
import { encodeInstructions, type Instruction } from "../messages/instructions.ts";
import type { OpenFlowConnection } from "./connection.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { ports } from "../match/fields.ts";
import { eachFlowStats, encodeFlowMod, type FlowMod } from "../messages/flow-mod.ts";
import { encodeMatch, type Match } from "../match/match.ts";
import { decodeMessage, encodeMessage, type Decoded, type MessageOf } from "../messages/codec.ts";
import { formatInstructions } from "../text/print/flow.ts";
import { formatMatch } from "../text/print/match.ts";
import { ovsInstalled, startFlowSwitch, type TestSwitch } from "../testing/test-switch.ts";

const ip = { eth_type: 0x0800 };
const ip6 = { eth_type: 0x86dd };
const nd = { ...ip6, ip_proto: 58, icmpv6_code: 0 };
const fraction = { value: 0x12, mask: 0xff };

/** One match for each field, with what it requires. */
const MATCHES: readonly Match[] = [
  {},
  { in_port: 5 },
  { in_port: ports.LOCAL },
  { eth_src: "fa:16:3e:00:00:01", eth_dst: "fa:16:3e:00:00:02" },
  { eth_dst: { value: "01:00:00:00:00:00", mask: "01:00:00:00:00:00" } },
  { eth_dst: "fa:16:3e:00:00:01/ff:ff:ff:00:00:00" },
  { eth_type: 0x0800 },
  { vlan_vid: 0x1005 },
  { vlan_vid: 0 },
  { vlan_vid: { value: 0x1000, mask: 0x1000 } },
  { vlan_vid: 0x1005, vlan_pcp: 3 },
  { eth_type: 0x8847, mpls_label: 100, mpls_tc: 2, mpls_bos: 1 },
  { eth_type: 0x8847, mpls_ttl: 9 },
  { ...ip, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.0/8" },
  { ...ip, ipv4_dst: "10.0.3.0/255.0.255.0" },
  { ...ip6, ipv6_src: "fd00::1", ipv6_dst: "fd00::/64", ipv6_flabel: 0x12345 },
  { ...ip6, ipv6_flabel: { value: 0x300, mask: 0xf00 } },
  { ...ip6, ipv6_flabel: { value: 0x12345, mask: 0xfffff } },
  { ...ip, ip_frag: 1 },
  { ...ip, ip_frag: { value: 1, mask: 1 } },
  { ...ip, ip_frag: { value: 0, mask: 3 } },
  { ...ip, ip_dscp: 10, ip_ecn: 1, ip_ttl: 64 },
  { ...ip, ip_proto: 6, tcp_src: 1000, tcp_dst: 80, tcp_flags: { value: 2, mask: 0x12 } },
  { ...ip, ip_proto: 6, tcp_flags: 2 },
  { ...ip, ip_proto: 6, tcp_flags: { value: 2, mask: 0xfff } },
  { ...ip, ip_proto: 6, tcp_dst: { value: 0x1000, mask: 0xf000 } },
  { ...ip, ip_proto: 17, udp_src: 67, udp_dst: 68 },
  { ...ip6, ip_proto: 132, sctp_src: 1, sctp_dst: 2 },
  { ...ip, ip_proto: 1, icmpv4_type: 8, icmpv4_code: 0 },
  { ...ip6, ip_proto: 58, icmpv6_type: 128, icmpv6_code: 0 },
  { ...nd, icmpv6_type: 135, ipv6_nd_target: "fd00::1", ipv6_nd_sll: "fa:16:3e:00:00:01" },
  { ...nd, icmpv6_type: 136, ipv6_nd_target: "fd00::1/120", ipv6_nd_tll: "fa:16:3e:00:00:01", nd_reserved: 0x20000000, nd_options_type: 2 },
  { eth_type: 0x0806, arp_op: 1, arp_spa: "10.0.0.1", arp_tpa: "10.0.0.0/24", arp_sha: "fa:16:3e:00:00:01", arp_tha: "00:00:00:00:00:00" },
  { tunnel_id: 5n },
  { tunnel_id: fraction },
  { tun_ipv4_src: "192.0.2.1", tun_ipv4_dst: "192.0.2.2", tun_flags: { value: 1, mask: 1 } },
  { tun_ipv6_src: "2001:db8::1", tun_ipv6_dst: "2001:db8::/32" },
  { tun_gbp_id: 7, tun_gbp_flags: 8 },
  { tun_metadata0: "01020304" },
  { tun_metadata0: { value: "01020000", mask: "ffff0000" }, tun_metadata3: "0000000000000001" },
  { tun_erspan_idx: 5 },
  { eth_type: 0x894f, nsh_flags: 1, nsh_ttl: 5, nsh_mdtype: 1, nsh_np: 3, nsh_spi: 10, nsh_si: 4, nsh_c1: 1, nsh_c2: 2, nsh_c3: 3, nsh_c4: fraction },
  { reg0: 1, reg7: fraction, reg15: { value: 0, mask: 0xffffffff } },
  { xreg1: 0x1_0000_0002n, xxreg3: { value: 5n, mask: 0xffn }, reg0: 0 },
  { pkt_mark: 1 },
  { ct_state: "+trk+est-new", ct_zone: 5, ct_mark: 0x12, ct_label: 3n },
  { ct_mark: fraction, ct_label: { value: 1n << 100n, mask: 1n << 100n } },
  { ct_state: "+trk+est", ...ip, ct_nw_src: "10.0.0.1", ct_nw_dst: "10.0.0.0/24", ct_nw_proto: 6, ct_tp_src: 80, ct_tp_dst: 81 },
  { ct_state: "+trk+est", ...ip6, ct_ipv6_src: "fd00::1", ct_ipv6_dst: "fd00::/8", ct_nw_proto: 17, ct_tp_dst: 53 },
  { metadata: 5n },
  { metadata: { value: 0xab00n, mask: 0xff00n } },
  { conj_id: 12 },
  { actset_output: 3 },
  { metadata: 1, reg5: 2, ct_state: { value: 0x21, mask: 0x21 }, in_port: 1, tcp_dst: 22, ip_proto: 6, ...ip, eth_src: "fa:16:3e:00:00:09", tunnel_id: 9, ipv4_src: "1.2.3.4" },
];

const reg = (n: number, ofs = 0, bits = 32) => ({ field: `reg${n}` as "reg0", ofs, bits });
const eth = "fa:16:3e:00:00:01";

const ACTIONS: readonly (readonly Action[])[] = [
  [],
  [{ type: "output", port: 5 }],
  [{ type: "output", port: ports.CONTROLLER }, { type: "output", port: ports.CONTROLLER, max_len: 128 }],
  [{ type: "output", port: ports.IN_PORT }, { type: "output", port: ports.NORMAL }, { type: "output", port: ports.FLOOD }, { type: "output", port: ports.LOCAL }],
  [{ type: "set_field", field: "eth_dst", value: eth }, { type: "set_field", field: "eth_src", value: eth }],
  [{ type: "set_field", field: "eth_dst", value: eth, mask: "ff:ff:ff:00:00:00" }],
  [{ type: "set_field", field: "reg3", value: 5 }],
  [{ type: "set_field", field: "reg3", value: 0x50, mask: 0xf0f0 }],
  [{ type: "set_field", field: "metadata", value: 7n }, { type: "set_field", field: "metadata", value: 7n, mask: 0xffn }],
  [{ type: "set_field", field: "tunnel_id", value: 7n }, { type: "set_field", field: "tun_ipv4_dst", value: "192.0.2.1" }, { type: "set_field", field: "tun_ipv6_dst", value: "2001:db8::1" }],
  [{ type: "set_field", field: "tun_metadata0", value: "01020304" }],
  [{ type: "set_field", field: "xreg1", value: 7n }, { type: "set_field", field: "xxreg1", value: 1n << 99n }, { type: "set_field", field: "xxreg1", value: 1n << 99n, mask: ((1n << 40n) - 1n) << 64n }],
  [{ type: "set_field", field: "ipv4_src", value: "10.0.0.1" }, { type: "set_field", field: "ip_dscp", value: 5 }, { type: "set_field", field: "ip_ecn", value: 1 }, { type: "set_field", field: "ip_ttl", value: 3 }],
  [{ type: "set_field", field: "tcp_dst", value: 80 }, { type: "set_nw_ttl", nw_ttl: 9 }, { type: "dec_ttl" }],
  [{ type: "set_field", field: "pkt_mark", value: 3 }],
  [{ type: "push_vlan", ethertype: 0x8100 }, { type: "set_field", field: "vlan_vid", value: 0x1005 }, { type: "set_field", field: "vlan_pcp", value: 2 }, { type: "pop_vlan" }],
  [{ type: "push_mpls", ethertype: 0x8847 }, { type: "set_mpls_ttl", mpls_ttl: 8 }, { type: "dec_mpls_ttl" }],
  [{ type: "move", src: { field: "eth_src", ofs: 0, bits: 48 }, dst: { field: "eth_dst", ofs: 0, bits: 48 } }],
  [{ type: "move", src: reg(1, 4, 16), dst: { field: "metadata", ofs: 8, bits: 16 } }, { type: "move", src: { field: "in_port", ofs: 0, bits: 16 }, dst: reg(0, 0, 16) }],
  [{ type: "move", src: { field: "nxm_in_port", ofs: 0, bits: 16 }, dst: reg(0, 16, 16) }, { type: "move", src: { field: "tunnel_id", ofs: 0, bits: 32 }, dst: reg(2) }],
  [{ type: "move", src: { field: "ipv4_src", ofs: 0, bits: 32 }, dst: { field: "xxreg0", ofs: 32, bits: 32 } }],
  [{ type: "load", dst: reg(0), value: 5 }, { type: "load", dst: reg(1, 8, 4), value: 5 }, { type: "load", dst: { field: "nxm_in_port", ofs: 0, bits: 16 }, value: 0 }],
  [{ type: "load", dst: { field: "xxreg0", ofs: 64, bits: 64 }, value: 5n }, { type: "load", dst: { field: "eth_dst", ofs: 0, bits: 48 }, value: 5 }, { type: "load", dst: { field: "tunnel_id", ofs: 0, bits: 64 }, value: 5n }],
  [{ type: "load", dst: { field: "metadata", ofs: 0, bits: 64 }, value: 5 }, { type: "load", dst: { field: "metadata", ofs: 8, bits: 8 }, value: 5 }, { type: "load", dst: { field: "xreg0", ofs: 0, bits: 32 }, value: 1 }],
  [{ type: "load", dst: { field: "arp_op", ofs: 0, bits: 16 }, value: 2 }, { type: "load", dst: { field: "arp_spa", ofs: 0, bits: 32 }, value: 2 }],
  [{ type: "resubmit", table: 5 }, { type: "resubmit", table: 6, in_port: 3 }, { type: "resubmit", in_port: 4 }],
  [{ type: "ct", table: 3 }, { type: "ct", commit: true, force: true, zone: 5 }, { type: "ct", zone: reg(3, 0, 16), table: 4, alg: 21, commit: true }, { type: "ct_clear" }],
  [{ type: "ct", commit: true, exec: [{ type: "set_field", field: "ct_mark", value: 5 }, { type: "set_field", field: "ct_label", value: 5n }, { type: "move", src: reg(1), dst: { field: "ct_mark", ofs: 0, bits: 32 } }] }],
  [{ type: "ct", commit: true, exec: [{ type: "load", dst: { field: "ct_mark", ofs: 3, bits: 1 }, value: 1 }, { type: "set_field", field: "ct_label", value: 1n, mask: 1n }] }],
  [{ type: "ct", commit: true, table: 2, nat: { kind: "src", addr_min: "192.0.2.1" } }, { type: "ct", table: 3, nat: {} }],
  [{ type: "ct", commit: true, nat: { kind: "dst", addr_min: "192.0.2.1", addr_max: "192.0.2.9", port_min: 1000, port_max: 2000, random: true, persistent: true }, exec: [{ type: "set_field", field: "ct_mark", value: 5 }] }],
  [{ type: "conjunction", id: 7, clause: 0, n_clauses: 2 }, { type: "conjunction", id: 8, clause: 1, n_clauses: 3 }],
  [{ type: "controller" }, { type: "controller", max_len: 64, controller_id: 2, reason: 0 }],
  [{ type: "controller", userdata: Uint8Array.of(1, 2, 3) }, { type: "controller", userdata: Uint8Array.of(1, 2, 3, 4), meter_id: 1, pause: true, reason: 0, max_len: 128, controller_id: 3 }],
  [{ type: "output_reg", src: reg(2, 0, 16) }, { type: "output_reg", src: { field: "tunnel_id", ofs: 0, bits: 16 }, max_len: 0 }, { type: "output_reg2", src: { field: "xreg0", ofs: 0, bits: 32 } }],
  [{ type: "stack_push", field: reg(2) }, { type: "stack_pop", field: reg(3) }, { type: "stack_push", field: { field: "metadata", ofs: 4, bits: 8 } }],
  [{
    type: "learn", table_id: 9, priority: 100, cookie: 5n, idle_timeout: 60, hard_timeout: 70, flags: 3, fin_idle_timeout: 1, fin_hard_timeout: 2,
    specs: [
      { type: "match", src: 0x800, dst: { field: "eth_type", ofs: 0, bits: 16 } },
      { type: "match", src: { field: "ipv4_src", ofs: 0, bits: 32 }, dst: { field: "ipv4_dst", ofs: 0, bits: 32 } },
      { type: "match", src: { field: "eth_src", ofs: 0, bits: 48 }, dst: { field: "eth_dst", ofs: 0, bits: 48 } },
      { type: "load", src: 0xab, dst: reg(1, 0, 8) },
      { type: "load", src: { field: "nxm_in_port", ofs: 0, bits: 16 }, dst: reg(0, 0, 16) },
      { type: "output", src: { field: "nxm_in_port", ofs: 0, bits: 16 } },
    ],
  }],
  [{ type: "learn", table_id: 9, limit: 10, result_dst: reg(0, 3, 1), specs: [{ type: "match", src: reg(1), dst: reg(1) }] }],
  [{ type: "note", data: Uint8Array.of(1, 2, 3, 0, 0, 0) }],
  [{ type: "clone", actions: [{ type: "set_field", field: "reg1", value: 1 }, { type: "output", port: 3 }] }],
  [{ type: "group", group_id: 77 }, { type: "set_queue", queue_id: 3 }, { type: "pop_queue" }, { type: "exit" }],
  [{ type: "fin_timeout", fin_idle_timeout: 3, fin_hard_timeout: 4 }],
  [{ type: "multipath", fields: 1, basis: 50, algorithm: 0, max_link: 3, arg: 0, dst: reg(0) }],
  [{ type: "sample", probability: 5, collector_set_id: 1, obs_domain_id: 2, obs_point_id: 3 }],
  [{ type: "check_pkt_larger", pkt_len: 1500, dst: reg(0, 3, 1) }],
  [{ type: "output_trunc", port: 3, max_len: 100 }],
  [{ type: "dec_ttl_cnt_ids", ids: [1, 2, 3] }],
  [{ type: "bundle", algorithm: 0, fields: 0, basis: 0, members: [1, 2] }],
  [{ type: "bundle_load", algorithm: 1, fields: 0, basis: 0, members: [1, 2, 3], dst: reg(5, 0, 16) }],
  [{ type: "delete_field", field: { field: "tun_metadata0", ofs: 0, bits: 32 } }],
];

/** Actions that only fit certain packets. */
const BASES: readonly [needle: string, match: Match][] = [
  ["arp_op", { eth_type: 0x0806 }],
  ["tcp_dst", { ...ip, ip_proto: 6 }],
  ["fin_timeout", { ...ip, ip_proto: 6 }],
  ["multipath", ip],
  ["push_vlan", ip],
  ["\"alg\"", { ...ip, ip_proto: 6 }],
  ["\"ct\"", ip],
  ["push_mpls", ip],
  ["ipv4_src", ip],
  ["dec_ttl", ip],
];

const INSTRUCTIONS: readonly (readonly Instruction[])[] = [
  [],
  [{ type: "goto_table", table_id: 9 }],
  [{ type: "apply_actions", actions: [] }],
  [{ type: "apply_actions", actions: [] }, { type: "goto_table", table_id: 9 }],
  [{ type: "write_actions", actions: [] }, { type: "goto_table", table_id: 9 }],
  [{ type: "clear_actions" }, { type: "goto_table", table_id: 9 }],
  [{ type: "write_metadata", metadata: 0xfff, metadata_mask: 0xff }],
  [{ type: "goto_table", table_id: 9 }, { type: "apply_actions", actions: [{ type: "output", port: 1 }] }],
  [{ type: "write_metadata", metadata: 5n, metadata_mask: 0xffn }, { type: "goto_table", table_id: 8 }],
  [{ type: "write_metadata", metadata: 5n }, { type: "clear_actions" }],
  [{ type: "meter", meter_id: 1 }, { type: "write_actions", actions: [{ type: "output", port: 2 }] }, { type: "apply_actions", actions: [{ type: "output", port: 1 }] }, { type: "clear_actions" }],
];

/** What this package prints in words of its own. */
const NOT_PRINTED = /multipath|bundle|tun_metadata|tun_erspan/;

function flowMod(fm: Partial<FlowMod>): Buffer {
  const buf = Buffer.alloc(8192);
  return buf.subarray(0, encodeFlowMod(buf, 0, { command: "add", priority: 100, match: {}, ...fm }));
}

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

  /** Installs one flow, dumps it, and returns what came back. */
  async function throughSwitch(match: Match, instructions: readonly Instruction[]): Promise<{ match: string; instructions: string }> {
    await conn.request({ type: "flow_mod", command: "delete", match: {} });
    await conn.request({ type: "flow_mod", command: "add", priority: 5, match, instructions });
    const found: { match: string; instructions: string }[] = [];
    await conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, (reply) =>
      eachFlowStats(reply, (e) =>
        found.push({
          match: e.buf.toString("hex", e.match_off, e.match_off + e.match_len),
          instructions: e.buf.toString("hex", e.instructions_off, e.instructions_off + e.instructions_len),
        })));
    expect(found).toHaveLength(1);
    return found[0]!;
  }

  function sent(match: Match, instructions: readonly Instruction[]): { match: string; instructions: string } {
    const buf = Buffer.alloc(8192);
    const matchEnd = encodeMatch(buf, 0, match);
    const end = encodeInstructions(buf, matchEnd, instructions);
    return { match: buf.toString("hex", 0, matchEnd), instructions: buf.toString("hex", matchEnd, end) };
  }

  const show = (value: unknown): string => JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? Number(v) : v));

  test.each(MATCHES.map((match) => [show(match), match] as const))("match %s comes back as sent", async (_, match) => {
    expect(await throughSwitch(match, [])).toEqual(sent(match, []));
  });

  test.each(ACTIONS.map((actions) => [show(actions), actions] as const))("actions %s come back as sent", async (text, actions) => {
    const match = BASES.find(([needle]) => text.includes(needle))?.[1] ?? {};
    const instructions: Instruction[] = actions.length === 0 ? [] : [{ type: "apply_actions", actions }];
    expect(await throughSwitch(match, instructions)).toEqual(sent(match, instructions));
  });

  test.each(INSTRUCTIONS.map((instructions) => [show(instructions), instructions] as const))("instructions %s come back as sent", async (_, instructions) => {
    expect(await throughSwitch({}, instructions)).toEqual(sent({}, instructions));
  });

  test("flows print as ovs-ofctl prints them", () => {
    const cases: (readonly [Match, readonly Instruction[]])[] = [
      ...MATCHES.map((match) => [match, []] as const),
      ...ACTIONS.map((actions) => [BASES.find(([needle]) => show(actions).includes(needle))?.[1] ?? {}, [{ type: "apply_actions", actions }]] as const),
      ...INSTRUCTIONS.map((instructions) => [{}, instructions] as const),
    ];
    const wrong: string[] = [];
    for (const [match, instructions] of cases) {
      const message = encodeMessage({ type: "flow_mod", command: "add", priority: 5, match, instructions }, 1);
      const { match: m, instructions: i } = decodeMessage(message) as Decoded<MessageOf<"flow_mod">>;
      const theirs = execFileSync("ovs-ofctl", ["ofp-print", message.toString("hex")], { encoding: "utf8" });
      const line = theirs.slice(theirs.indexOf("ADD ") + 4).trim().replace(/^table:\d+ /, "");
      const ours = `${formatMatch(m, 5)} actions=${formatInstructions(i!)}`;
      if (line !== ours && !NOT_PRINTED.test(ours)) wrong.push(`theirs ${line}\n  ours ${ours}`);
    }
    expect(wrong).toEqual([]);
  });

  test("a bundle of many flows is applied as one", async () => {
    await conn.bundle([flowMod({ command: "delete", priority: 0 })]);
    await conn.bundle((function* () {
      for (let i = 0; i < 5000; i++) yield flowMod({ match: { reg0: i }, instructions: [{ type: "goto_table", table_id: 1 }] });
    })());
    const reply = await conn.request({ type: "multipart_request", kind: "aggregate", match: {} });
    expect(reply.flow_count).toBe(5000);
    const all = await conn.request({ type: "multipart_request", kind: "flow", match: {} });
    expect(all.flows).toHaveLength(5000);
  });

  test.each([
    ["refused when added", { ip_proto: 6, eth_type: 0x0806 }, undefined, "OFPBMC_BAD_PREREQ"],
    ["refused at commit", { reg0: 1 }, [{ type: "apply_actions", actions: [{ type: "group", group_id: 1234 }] }], "OFPBAC_BAD_OUT_GROUP"],
  ] as const)("a message %s fails the bundle as a whole and is named", async (_, match, instructions, name) => {
    await conn.bundle([flowMod({ command: "delete" })]);
    const good = flowMod({ match: { reg0: 1 } });
    const bad = flowMod({ match: match, ...(instructions === undefined ? {} : { instructions }) });
    const error = await conn.bundle([good, good, bad, good]).then(() => undefined, (e: unknown) => e);
    expect(error).toBeInstanceOf(OpenFlowError);
    expect(error).toMatchObject({ code: "OF_PEER_ERROR", errorName: name, index: 2 });
    const reply = await conn.request({ type: "multipart_request", kind: "aggregate", match: {} });
    expect(reply.flow_count).toBe(0);
    await conn.bundle([good]);
  });

  test("onRefused gets each message that is refused when it is added, and nothing is applied", async () => {
    await conn.bundle([flowMod({ command: "delete" })]);
    const messages = Array.from({ length: 3000 }, (_, i) => flowMod({ match: i % 3 === 1 ? { ip_proto: 6, eth_type: 0x0806 } : { reg0: i } }));
    const refused: (number | undefined)[] = [];
    const error = await conn.bundle(messages, { onRefused: ({ index }) => refused.push(index) }).then(() => undefined, (e: unknown) => e);
    expect(error).toMatchObject({ code: "OF_PEER_ERROR", errorName: "OFPBMC_BAD_PREREQ", index: 1 });
    expect(refused).toEqual(Array.from({ length: 1000 }, (_, i) => 3 * i + 1));
    expect((await conn.request({ type: "multipart_request", kind: "aggregate", match: {} })).flow_count).toBe(0);
    await conn.bundle(messages.filter((_, i) => i % 3 !== 1), { onRefused: () => expect.unreachable() });
    expect((await conn.request({ type: "multipart_request", kind: "aggregate", match: {} })).flow_count).toBe(2000);
    await conn.bundle([flowMod({ command: "delete" })]);
  });
});
