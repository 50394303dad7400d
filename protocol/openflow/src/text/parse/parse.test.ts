// Flow text in, objects out; and for text that is wrong, an error that points at the word.

import { describe, expect, test } from "vitest";

import { OpenFlowError } from "../../wire/errors.ts";
import { encodeMessage } from "../../messages/codec.ts";
import { parseActions, parseInstructions } from "./actions.ts";
import { parseFlow, parseFlows } from "./flow.ts";
import { parseGroup, parseMeter } from "./group.ts";
import { parseMatch } from "./match.ts";

function errorOf(parse: () => unknown): OpenFlowError {
  try {
    parse();
  } catch (error) {
    if (error instanceof OpenFlowError) return error;
    throw error;
  }
  throw new Error("nothing was wrong");
}

const ip = { eth_type: 0x0800 };
const ip6 = { eth_type: 0x86dd };

describe("matches", () => {
  test.each([
    ["", {}],
    ["in_port=LOCAL", { in_port: 0xfffffffe }],
    ["in_port=65533", { in_port: 0xfffffffd }],
    ["tcp,nw_src=10.1.2.3/8,tp_dst=80", { ...ip, ip_proto: 6, ipv4_src: { value: "10.0.0.0", mask: "255.0.0.0" }, tcp_dst: 80 }],
    ["tcp6,tcp_dst=0x50/0xf0", { ...ip6, ip_proto: 6, tcp_dst: { value: 0x50, mask: 0xf0 } }],
    ["ip_dst=192.0.2.1 ip", { ...ip, ipv4_dst: "192.0.2.1" }],
    ["ip,ipv4_src=1.2.3.4", { ...ip, ipv4_src: "1.2.3.4" }],
    ["arp,nw_src=10.0.0.1,nw_proto=2", { eth_type: 0x0806, arp_spa: "10.0.0.1", arp_op: 2 }],
    ["icmp6,tp_src=128", { ...ip6, ip_proto: 58, icmpv6_type: 128 }],
    ["icmp6,icmp_type=135,icmp_code=0,nd_target=fe80::1,nd_sll=2:0:0:0:0:1", { ...ip6, ip_proto: 58, icmpv6_type: 135, icmpv6_code: 0, ipv6_nd_target: "fe80::1", ipv6_nd_sll: "02:00:00:00:00:01" }],
    ["ct_state=+new-est,ct_label=0x1/0x3", { ct_state: { value: 1, mask: 3 }, ct_label: { value: 1n, mask: 3n } }],
    ["dl_vlan=5,dl_vlan_pcp=3", { vlan_vid: 0x1005, vlan_pcp: 3 }],
    ["dl_vlan=0xffff", { vlan_vid: 0 }],
    ["vlan_tci=0x1000/0x1000", { vlan_vid: { value: 0x1000, mask: 0x1000 } }],
    ["xreg0=0x500000006", { reg0: 5, reg1: 6 }],
    ["NXM_NX_REG2[4..7]=3,NXM_NX_REG2[0]=1", { reg2: { value: 0x31, mask: 0xf1 } }],
    ["tun_metadata3=0x1234", { tun_metadata3: Uint8Array.of(0x12, 0x34) }],
    ["ipv6,ipv6_label=0x12345/0xfffff", { ...ip6, ipv6_flabel: 0x12345 }],
    ["packet_type=(1,0x894f)", { packet_type: 0x1894f }],
    ["eth", { packet_type: 0 }],
    // Where no protocol says what it is, a port means nothing, and is not sent.
    ["tp_dst=80,in_port=1", { in_port: 1, packet_type: 0 }],
    ["reg0=0/0,ip,nw_frag=no", { ...ip, ip_frag: 0 }],
    ["reg0=0x/0xf", { reg0: { value: 0, mask: 15 } }],
  ])("%s", (text, match) => {
    expect(parseMatch(text)).toEqual(match);
  });

  test.each([
    ["in_port=1,foo=2", 10, "foo"],
    ["ip,nw_src=10.0.0.256", 10, "10.0.0.256"],
    ["ip,nw_src=10.0.0.0/40", 19, "40"],
    ["reg0=0x100000000", 5, "does not fit 4 bytes"],
    ["reg0=12z", 7, "12z"],
    ["in_port=", 8, "in_port"],
    ["eth_src=00:11", 8, "Ethernet address"],
    ["tcp_flags=+syn+foo", 14, "foo"],
    ["ct_state=+trk-trk", 13, "twice"],
    ["nw_proto=6/7", 9, "no mask"],
    ["tcp,tp_dst=80,tp_dst=90", 14, "tcp_dst is given twice"],
    ["tun_metadata0=1,tun_metadata0=1", 30, "twice"],
    ["reg0[0..3]=16", 11, "more than 4 bits"],
    ["reg0[3..40]=1", 4, "no bits 3..40"],
    ["nw_frag=maybe", 8, "maybe"],
    ["packet_type=5", 12, "(namespace,type)"],
    ["ipv6_label=0x100000", 11, "ipv6_label"],
  ])("%s is refused at %i", (text, offset, what) => {
    const error = errorOf(() => parseMatch(text));
    expect(error.code).toBe("OF_TEXT");
    expect(error.offset).toBe(offset);
    expect(error.message).toContain(what);
  });
});

describe("actions", () => {
  test.each([
    ["drop", []],
    ["1,LOCAL", [{ type: "output", port: 1, max_len: 0 }, { type: "output", port: 0xfffffffe, max_len: 0 }]],
    ["CONTROLLER:128", [{ type: "output", port: 0xfffffffd, max_len: 128 }]],
    ["enqueue:2:7", [{ type: "set_queue", queue_id: 7 }, { type: "output", port: 2, max_len: 0xffff }, { type: "pop_queue" }]],
    ["mod_vlan_vid:5", [{ type: "push_vlan", ethertype: 0x8100 }, { type: "set_field", field: "vlan_vid", value: 0x1005 }]],
    ["mod_tp_dst:80", [{ type: "set_tp_dst", tp_port: 80 }]],
    ["mod_nw_tos:40,set_tunnel:9", [{ type: "set_field", field: "ip_dscp", value: 10 }, { type: "set_field", field: "tunnel_id", value: 9n }]],
    ["set_field:0x105/0xf0f->reg1", [{ type: "load", dst: { field: "reg1", ofs: 0, bits: 4 }, value: 5 }, { type: "load", dst: { field: "reg1", ofs: 8, bits: 4 }, value: 1 }]],
    ["load:1->NXM_NX_XXREG0[]", [{ type: "load", dst: { field: "xxreg0", ofs: 0, bits: 64 }, value: 1 }, { type: "load", dst: { field: "xxreg0", ofs: 64, bits: 64 }, value: 0 }]],
    ["set_field:0x10/0xf0->nsh_c1", [{ type: "reg_load2", field: "nsh_c1", value: 0x10, mask: 0xf0 }]],
    ["resubmit(,7),resubmit:3", [{ type: "resubmit", table: 7 }, { type: "resubmit", table: 255, in_port: 3 }]],
    ["ct(commit,zone=5,nat(src=10.0.0.1-10.0.0.9:80),exec(set_field:1->ct_mark))", [{
      type: "ct", commit: true, zone: 5, nat: { kind: "src", addr_min: "10.0.0.1", addr_max: "10.0.0.9", port_min: 80 }, exec: [{ type: "set_field", field: "ct_mark", value: 1 }],
    }]],
    ["learn(table=3,eth_type=0x800,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:reg0[0..15])", [{
      type: "learn", table_id: 3, priority: 0x8000, cookie: 0n, idle_timeout: 0, hard_timeout: 0, fin_idle_timeout: 0, fin_hard_timeout: 0, flags: 0,
      specs: [
        { type: "match", src: 0x800, dst: { field: "eth_type", ofs: 0, bits: 16 } },
        { type: "match", src: { field: "eth_src", ofs: 0, bits: 48 }, dst: { field: "eth_dst", ofs: 0, bits: 48 } },
        { type: "output", src: { field: "reg0", ofs: 0, bits: 16 } },
      ],
    }]],
    ["controller(userdata=0a.0b,pause)", [{ type: "controller", userdata: Uint8Array.of(10, 11), pause: true }]],
    ["encap(nsh(md_type=1))", [{ type: "encap", new_pkt_type: 0x1894f, properties: [{ type: "nsh_mdtype", md_type: 1 }] }]],
  ])("%s", (text, actions) => {
    expect(parseActions(text)).toEqual(actions);
  });

  test.each([
    ["output:1,fly:2", 9, "fly", undefined],
    ["drop,output:1", 0, "drop", undefined],
    ["set_field:5->tcp_foo", 13, "tcp_foo", undefined],
    ["set_field:5->eth_type", 13, "eth_type", "OFPBAC_BAD_SET_ARGUMENT"],
    ["set_field:300->ip_dscp", 10, "ip_dscp", undefined],
    ["set_field:64->ip_dscp", 10, "ip_dscp", "OFPBAC_BAD_SET_ARGUMENT"],
    ["load:1", 5, "->", undefined],
    ["output:1,clone(2,foo)", 17, "foo", undefined],
    ["ct(commit,exec(output:1))", 15, "output", "OFPBAC_BAD_ARGUMENT"],
    ["set_field:1->ct_mark", 0, "ct_mark", "OFPBAC_BAD_SET_ARGUMENT"],
    ["conjunction(1,1/2),2", 19, "conjunction", "NXBAC_BAD_CONJUNCTION"],
    ["goto_table:1", 0, "goto_table", "OFPBIC_UNSUP_INST"],
    ["note:0x", 6, "x", undefined],
    ["push_vlan:", 10, "number is missing", undefined],
    ["group:4294967296", 6, "32 bits", undefined],
  ])("%s is refused at %i", (text, offset, what, name) => {
    const error = errorOf(() => parseActions(text));
    expect(error.code).toBe("OF_TEXT");
    expect(error.offset).toBe(offset);
    expect(error.message).toContain(what);
    expect(error.errorName).toBe(name);
  });

  test("as deep as Open vSwitch, and no deeper", () => {
    const nested = (depth: number): string => `${"clone(".repeat(depth)}1${")".repeat(depth)}`;
    expect(parseActions(nested(99))).toHaveLength(1);
    expect(errorOf(() => parseActions(nested(100))).message).toContain("nested");
  });
});

describe("instructions", () => {
  test("in the order in which they are executed", () => {
    expect(parseInstructions("meter:1,output:2,clear_actions,write_actions(3),write_metadata:4/0xf,goto_table:5").map(({ type }) => type))
      .toEqual(["meter", "apply_actions", "clear_actions", "write_actions", "write_metadata", "goto_table"]);
    expect(parseInstructions("write_actions(drop)")).toEqual([]);
    const error = errorOf(() => parseInstructions("goto_table:1,output:2"));
    expect(error).toMatchObject({ code: "OF_TEXT", offset: 13, errorName: "OFPBAC_UNSUPPORTED_ORDER", type: 2, errorCode: 11 });
  });
});

describe("flows", () => {
  test("what is not said has the value that ovs-ofctl sends", () => {
    expect(parseFlow("actions=drop")).toEqual({
      type: "flow_mod", command: "add", table_id: 0, priority: 0x8000, cookie: 0n, cookie_mask: 0n, idle_timeout: 0, hard_timeout: 0, flags: 0,
      buffer_id: 0xffffffff, out_port: 0xffffffff, out_group: 0xffffffff, match: {}, instructions: [],
    });
  });

  test("commands, and what belongs to each", () => {
    expect(parseFlow("modify_strict cookie=7/0xff,priority=3,table=2,actions=1")).toMatchObject({ command: "modify_strict", cookie: 7n, cookie_mask: 0xffn, priority: 3, table_id: 2 });
    expect(parseFlow("delete cookie=5/-1,out_port=LOCAL,out_group=9")).toMatchObject({ command: "delete", table_id: 255, cookie: 5n, cookie_mask: 0xffffffffffffffffn, out_port: 0xfffffffe, out_group: 9 });
    expect(parseFlow("", { command: "delete" })).toMatchObject({ table_id: 255, match: {} });
    expect(parseFlow("send_flow_rem,no_byte_counts,actions=drop").flags).toBe(17);
    // A word like the beginning of a command is one; after a given command it is not.
    expect(parseFlow("mod ip,actions=1").command).toBe("modify");
    expect(errorOf(() => parseFlow("add ip,actions=1", { command: "add" })).offset).toBe(0);
  });

  test("a file of flows", () => {
    const text = "# two flows\ntable=1,ip,actions=1 # to port 1\n\n  delete table=2\r\n";
    expect(parseFlows(text)).toMatchObject([{ command: "add", table_id: 1 }, { command: "delete", table_id: 2 }]);
    expect(parseFlows("")).toEqual([]);
    const wrong = `${text}actions=fly`;
    expect(errorOf(() => parseFlows(wrong)).offset).toBe(wrong.indexOf("fly"));
  });

  test("prerequisites of actions, from the match and the actions before", () => {
    expect(parseFlow("udp,actions=mod_tp_dst:5").instructions).toEqual([{ type: "apply_actions", actions: [{ type: "set_field", field: "udp_dst", value: 5 }] }]);
    expect(parseFlow("dl_vlan=3,actions=mod_vlan_vid:5").instructions).toEqual([{ type: "apply_actions", actions: [{ type: "set_field", field: "vlan_vid", value: 0x1005 }] }]);
    expect(errorOf(() => parseFlow("dl_vlan=3,actions=pop_vlan,set_field:4101->vlan_vid"))).toMatchObject({ offset: 27, errorName: "OFPBAC_MATCH_INCONSISTENT", type: 2, errorCode: 10 });
    expect(errorOf(() => parseFlow("udp,actions=1,set_field:5->tcp_dst"))).toMatchObject({ offset: 14, errorName: "OFPBAC_MATCH_INCONSISTENT" });
    // In an action set they are not known.
    expect(parseFlow("actions=write_actions(mod_nw_src:1.2.3.4)").instructions).toHaveLength(1);
  });

  test.each([
    ["table=300,actions=drop", 6, "300"],
    ["priority=70000,actions=drop", 9, "65535"],
    ["priority=1,priority=2,actions=drop", 11, "twice"],
    ["cookie=1/2,actions=drop", 7, "mask"],
    ["out_port=1,actions=drop", 0, "out_port"],
    ["idle_timeout=,actions=drop", 0, "missing"],
    ["ip", 2, "actions"],
    ["ip,actions", 3, "="],
    ["delete cookie=5", 14, "5/-1"],
    ["delete priority=5", 7, "priority"],
    ["table=1,actions=goto_table:1", 16, "OFPBIC_BAD_TABLE_ID"],
  ])("%s is refused at %i", (text, offset, what) => {
    const error = errorOf(() => parseFlow(text));
    expect(error.code).toBe("OF_TEXT");
    expect(error.offset).toBe(offset);
    expect(error.message).toContain(what);
  });
});

describe("groups and meters", () => {
  test("groups", () => {
    const any = { watch_port: 0xffffffff, watch_group: 0xffffffff };
    expect(parseGroup("group_id=5,type=select,bucket=weight:3,output:1,bucket=actions=mod_vlan_vid:9,2")).toEqual({
      type: "group_mod", command: "add", group_type: "select", group_id: 5, buckets: [
        { weight: 3, ...any, actions: [{ type: "output", port: 1, max_len: 0 }] },
        { weight: 1, ...any, actions: [{ type: "push_vlan", ethertype: 0x8100 }, { type: "set_field", field: "vlan_vid", value: 0x1009 }, { type: "output", port: 2, max_len: 0 }] },
      ],
    });
    expect(parseGroup("delete group_id=all")).toMatchObject({ command: "delete", group_id: 0xfffffffc, buckets: [] });
    expect(errorOf(() => parseGroup("group_id=1,type=ff,bucket=output:1"))).toMatchObject({ offset: 26 });
    expect(errorOf(() => parseGroup("group_id=1,type=all,bucket=weight:2,1")).message).toContain("weights");
    expect(errorOf(() => parseGroup("group_id=1,type=all,bucket=fly:1"))).toMatchObject({ offset: 27 });
    expect(errorOf(() => parseGroup("type=all")).message).toContain("group_id");
  });

  test("meters", () => {
    expect(parseMeter("meter=3,kbps,burst,bands=type=drop rate=1000 burst_size=5,type=dscp_remark rate=7 burst_size=1 prec_level=2")).toEqual({
      type: "meter_mod", command: "add", flags: 5, meter_id: 3, bands: [{ type: "drop", rate: 1000, burst_size: 5 }, { type: "dscp_remark", rate: 7, burst_size: 1, prec_level: 2 }],
    });
    expect(parseMeter("meter=all", { command: "delete" })).toMatchObject({ meter_id: 0xffffffff, bands: [] });
    expect(errorOf(() => parseMeter("meter=3,kbps,bands=type=fly")).offset).toBe(24);
    expect(errorOf(() => parseMeter("meter=3,kbps")).message).toContain("bands");
    expect(errorOf(() => parseMeter("meter=3,bands=type=drop rate=1")).message).toContain("kbps");
  });
});

test("any text: a message that can be encoded, or an error that points into it", () => {
  const seeds = [
    "table=3,priority=7,tcp,nw_src=10.0.0.0/8,tp_dst=80/0xff,reg0=0x5/0xff,ct_state=+trk-new,actions=set_field:1.2.3.4->ip_src,load:5->reg1[0..7],ct(commit,nat(src=1.2.3.4:80),exec(set_field:1->ct_mark)),resubmit(,4)",
    "ipv6,ipv6_dst=fd00::/8,dl_vlan=5,actions=learn(table=4,NXM_OF_ETH_DST[]=NXM_OF_ETH_SRC[],output:reg0[]),clone(push_vlan:0x8100,2),write_metadata:5/6,goto_table:9",
    "arp,arp_op=1,in_port=LOCAL,tun_metadata3=0x12/0xff,xxreg1=0x1/0x3,actions=bundle(eth_src,0,hrw,ofport,members:1,2),multipath(eth_src,50,hrw,12,0,reg0[]),note:01.02,controller(userdata=00.11,pause)",
    "group_id=1,type=select,bucket=weight:3,actions=output:1,bucket=watch_port:2,set_queue:1", "meter=1,kbps,burst,bands=type=drop rate=5 burst_size=7",
  ];
  const alphabet = " ,=:()[]->/+-|0123456789abcdefxX\"*.\t\nctoken\u{1f600}";
  let state = 20_231;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return state % limit;
  };
  let taken = 0;
  for (let i = 0; i < 20_000; i++) {
    let text = seeds[i % seeds.length]!;
    for (let k = 1 + random(4); k > 0; k--) {
      const at = random(text.length + 1);
      const other = seeds[random(seeds.length)]!;
      const change = [alphabet[random(alphabet.length)]!, "", other.slice(random(other.length)), text.slice(at, at + 20)][random(4)]!;
      text = text.slice(0, at) + change + text.slice(at + random(4));
    }
    try {
      encodeMessage([parseGroup, parseMeter, parseFlow][Math.min(random(9), 2)]!(text), 1);
      taken++;
    } catch (error) {
      if (!(error instanceof OpenFlowError)) throw new Error(JSON.stringify(text), { cause: error });
      expect(error.code, text).toBe("OF_TEXT");
      if (!(error.offset! >= 0 && error.offset! <= text.length)) throw new Error(`${error.message} of ${JSON.stringify(text)}`);
    }
  }
  expect(taken).toBeGreaterThan(500);
});
