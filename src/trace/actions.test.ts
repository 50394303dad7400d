// Each action in a small table of its own, and the real Open vSwitch with the same flows: same flows, same packets out.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseFlow, parseGroup, type Match } from "node-openflow";
import { Bed, type Given } from "../../test/support/trace/agreement.ts";
import { ctState, TraceSwitch, type TraceGroup, type TracePort } from "./index.ts";

const PORTS: readonly (TracePort & { readonly type?: string })[] = [
  { number: 1 }, { number: 2 }, { number: 3 },
  { number: 10, type: "geneve", tunnel: { remote: "flow", key: "flow", local: "192.0.2.1" } },
  { number: 11, type: "vxlan", tunnel: { remote: "192.0.2.9", key: 77n } },
];
const MAC = { eth_src: "02:00:00:00:00:01", eth_dst: "02:00:00:00:00:02" } as const;
const tcp: Match = { in_port: 1, ...MAC, eth_type: 0x800, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.2", ip_proto: 6, ip_ttl: 64, ip_dscp: 3, ip_ecn: 1, tcp_src: 1000, tcp_dst: 80 };
const tcp6: Match = { in_port: 1, ...MAC, eth_type: 0x86dd, ipv6_src: "fd00::1", ipv6_dst: "fd00::2", ip_proto: 6, ip_ttl: 64, tcp_src: 1000, tcp_dst: 80 };
const udp: Match = { in_port: 1, ...MAC, eth_type: 0x800, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.2", ip_proto: 17, ip_ttl: 1, udp_src: 1000, udp_dst: 53 };
const icmp: Match = { in_port: 1, ...MAC, eth_type: 0x800, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.2", ip_proto: 1, ip_ttl: 64, icmpv4_type: 8, icmpv4_code: 0 };
const arp: Match = { in_port: 1, ...MAC, eth_type: 0x806, arp_op: 1, arp_spa: "10.0.0.1", arp_tpa: "10.0.0.2", arp_sha: MAC.eth_src, arp_tha: "00:00:00:00:00:00" };
const nd: Match = { in_port: 2, ...MAC, eth_type: 0x86dd, ipv6_src: "fd00::1", ipv6_dst: "ff02::1:ff00:2", ip_proto: 58, ip_ttl: 255, icmpv6_type: 135, icmpv6_code: 0, ipv6_nd_target: "fd00::2", ipv6_nd_sll: MAC.eth_src };
const tagged: Match = { ...tcp, vlan_vid: 0x1005, vlan_pcp: 3 };
const tunnelled: Match = { ...tcp, in_port: 10, tunnel_id: 5n, tun_ipv4_src: "192.0.2.7", tun_ipv4_dst: "192.0.2.1" };
const tracked: Match = { ...tcp, ct_state: 0x22, ct_zone: 3, ct_mark: 9 };
const first: Match = { ...tcp, ip_frag: 1 };
const later: Match = { in_port: 1, ...MAC, eth_type: 0x800, ipv4_src: "10.0.0.1", ipv4_dst: "10.0.0.2", ip_proto: 6, ip_ttl: 64, ip_frag: 3 };
const strange: Match = { in_port: 3, ...MAC, eth_type: 0x88cc };
const packets = { tcp, tcp6, udp, icmp, arp, nd, tagged, tunnelled, tracked, first, later, strange };

function switchOf(flows: readonly string[], groups: readonly string[] = []): TraceSwitch<string> {
  const sw = new TraceSwitch<string>({ ports: [...PORTS, { number: 0xfffffffe }] });
  for (const text of flows) {
    const { table_id = 0, priority = 0x8000, match, instructions } = parseFlow(text);
    sw.add({ table: table_id, priority, match, instructions: instructions ?? [], ref: text });
  }
  for (const text of groups) {
    const { group_id, group_type, buckets } = parseGroup(text);
    sw.setGroup({ id: group_id, type: group_type as TraceGroup["type"], buckets });
  }
  return sw;
}

const OUT = "table=9,actions=output:2";
const cases: Readonly<Record<string, { readonly flows: readonly string[]; readonly groups?: readonly string[]; readonly ct?: readonly number[] }>> = {
  "output, also to where it came from, to a port that is not, and to reserved ones": {
    flows: ["table=0,actions=output:2,output:1,in_port,output:99,output:LOCAL,controller,output:3", "table=0,priority=40000,arp,actions=all", "table=0,priority=40000,udp,actions=flood"],
  },
  "output to a register": { flows: ["table=0,actions=load:2->NXM_NX_REG0[0..15],output:NXM_NX_REG0[0..15],load:0xfff8->NXM_NX_REG1[],output:NXM_NX_REG1[],load:0x10000->NXM_NX_REG2[],output:NXM_NX_REG2[],load:0xfffd->NXM_NX_REG3[],output:NXM_NX_REG3[]"] },
  "no flow, no action": { flows: ["table=0,priority=9,tcp,actions=drop", "table=0,priority=9,arp,actions=goto_table:3", "table=0,priority=9,udp,actions=resubmit(,3),output:2"] },
  "set_field of every kind, and where the packet has no such field": {
    flows: [
      "table=0,tcp,actions=set_field:02:00:00:00:00:77->eth_src,set_field:10.9.9.9->ip_src,set_field:10.9.9.8->ip_dst,set_field:99->tcp_src,set_field:98->tcp_dst,set_field:7->nw_ttl,set_field:9->ip_dscp,set_field:2->nw_ecn,resubmit(,9),mod_nw_tos:32,mod_tp_src:5,mod_nw_src:10.9.9.7,mod_dl_src:02:00:00:00:00:79,output:3",
      "table=0,udp,actions=set_field:98->udp_dst,set_field:02:00:00:00:00:77->eth_dst,resubmit(,9)",
      "table=0,tcp6,actions=set_field:fd00::9->ipv6_src,set_field:fd00::8->ipv6_dst,set_field:0x12345->ipv6_label,set_field:98->tcp_dst,set_field:9->ip_dscp,resubmit(,9)",
      "table=0,priority=40000,arp,actions=set_field:2->arp_op,set_field:10.0.0.9->arp_spa,set_field:10.0.0.8->arp_tpa,set_field:02:00:00:00:00:09->arp_sha,set_field:02:00:00:00:00:08->arp_tha,resubmit(,9)",
      "table=0,priority=40000,icmp6,icmp_type=135,icmp_code=0,actions=set_field:fd00::7->nd_target,output:1,set_field:136->icmpv6_type,set_field:02:00:00:00:00:06->nd_sll,in_port",
      "table=0,priority=40000,icmp,actions=set_field:0->icmp_type,set_field:3->icmp_code,resubmit(,9)", OUT,
    ],
  },
  "registers, metadata, tunnel and parts of them": {
    flows: ["table=0,actions=load:0x12345678->NXM_NX_REG0[],load:0xab->NXM_NX_REG0[8..15],set_field:0x1122334455667788->xreg1,set_field:0xfd000000000000000000000000000001->xxreg2,load:3->OXM_OF_METADATA[40..47],write_metadata:0x5/0xf,goto_table:9", "table=9,priority=9,reg0=0x1234ab78,reg2=0x11223344,reg3=0x55667788,reg8=0xfd000000,reg11=1,metadata=0x30000000005,actions=output:3"],
  },
  "move, within and between fields": {
    flows: [
      "table=0,priority=9,ip,actions=move:NXM_OF_IP_SRC[]->NXM_NX_REG1[],move:NXM_OF_IP_DST[]->NXM_OF_IP_SRC[],move:NXM_NX_REG1[]->NXM_OF_IP_DST[],move:NXM_OF_ETH_SRC[0..31]->NXM_NX_REG2[],move:NXM_NX_REG2[0..15]->NXM_OF_ETH_DST[32..47],move:NXM_OF_IP_SRC[]->NXM_NX_XXREG1[32..63],resubmit(,9)",
      "table=0,priority=9,arp,actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],load:0->NXM_OF_IN_PORT[],output:1",
      "table=0,priority=9,ipv6,actions=move:NXM_NX_IPV6_SRC[]->NXM_NX_XXREG1[],move:NXM_NX_XXREG1[]->NXM_NX_IPV6_DST[],move:NXM_NX_IPV6_SRC[0..31]->NXM_NX_REG0[],resubmit(,9)", OUT,
    ],
  },
  "tags: pushed, popped, changed": {
    flows: [
      "table=0,actions=push_vlan:0x8100,set_field:4101->vlan_vid,set_field:5->vlan_pcp,output:2,push_vlan:0x88a8,set_field:4102->vlan_vid,output:3,pop_vlan,output:2",
      "table=0,priority=40000,dl_vlan=5,actions=set_field:4103->vlan_vid,output:2,pop_vlan,output:3,push_vlan:0x8100,output:2",
      "table=0,priority=40001,vlan_tci=0x1000/0x1000,dl_vlan=6,actions=drop", "table=0,priority=40002,udp,actions=mod_vlan_vid:7,mod_vlan_pcp:3,output:2", "table=0,priority=40002,icmp,actions=push_vlan:0x8100,set_field:5->vlan_pcp,resubmit(,1),output:2", "table=1,vlan_tci=0x1000/0x1000,actions=pop_vlan,output:3",
    ],
  },
  "labels": {
    flows: [
      "table=0,actions=push_mpls:0x8847,set_field:77->mpls_label,output:2,push_mpls:0x8847,set_field:3->mpls_tc,dec_mpls_ttl,output:3,set_mpls_ttl:1,dec_mpls_ttl,output:2", "table=0,priority=40000,udp,actions=push_mpls:0x8847,push_mpls:0x8847,push_mpls:0x8847,push_mpls:0x8847,output:2",
      "table=0,priority=40000,arp,actions=push_mpls:0x8847,resubmit(,9)", OUT,
    ],
  },
  "time to live": { flows: ["table=0,actions=resubmit(,1),output:3", "table=1,ip,actions=dec_ttl,dec_ttl,output:2", "table=1,ipv6,actions=dec_ttl,output:2", "table=1,priority=40000,icmp,actions=dec_ttl(1,2),mod_nw_ttl:1,dec_ttl(7,8),output:2"] },
  "resubmit: tables, another port, nested, with the connection's tuple": {
    flows: ["table=0,actions=load:1->NXM_NX_REG0[],resubmit(2,1),resubmit(,2),resubmit(,77),output:2", "table=0,priority=40000,ct_state=+trk+est-inv,tcp,actions=resubmit(,1,ct),resubmit(,77),output:2", "table=1,in_port=2,actions=load:2->NXM_NX_REG1[],in_port,resubmit(,2)", "table=1,priority=9,actions=output:3", "table=2,actions=resubmit(3,1),load:0->NXM_OF_IN_PORT[],output:1"],
  },
  "too deep": { flows: ["table=0,actions=output:2,resubmit(,0)", "table=0,priority=40000,udp,actions=resubmit(,1),output:2", "table=1,actions=resubmit(,0),output:3"] },
  "too many": { flows: ["table=0,actions=output:2,resubmit(,1),resubmit(,1)", ...Array.from({ length: 12 }, (_, i) => `table=${i + 1},actions=resubmit(,${i + 2}),resubmit(,${i + 2})`), "table=13,actions=output:3"] },
  "the stack": { flows: ["table=0,actions=push:NXM_NX_REG0[],load:5->NXM_NX_REG0[],push:NXM_NX_REG0[0..7],push:NXM_OF_ETH_DST[],resubmit(,1),pop:NXM_OF_ETH_SRC[],pop:NXM_NX_REG3[],pop:NXM_NX_REG4[],pop:NXM_NX_REG5[],output:2", "table=1,actions=pop:NXM_NX_XXREG2[],push:NXM_NX_XXREG2[]"] },
  "clone: packet, stack and actions of its own; exit does not stay in it": {
    flows: ["table=0,actions=load:1->NXM_NX_REG0[],clone(load:2->NXM_NX_REG0[],set_field:02:00:00:00:00:55->eth_dst,push:NXM_NX_REG0[],output:3),output:2,clone(resubmit(,1),output:3),output:1,in_port", "table=1,priority=9,tcp,actions=set_field:1.1.1.1->ip_dst,output:3", "table=1,priority=9,udp,actions=exit", "table=0,priority=40000,ipv6,actions=clone(load:2->NXM_NX_REG0[],ct(commit,zone=1),output:3),output:2"],
  },
  "exit": { flows: ["table=0,actions=resubmit(,1),output:2", "table=1,priority=9,tcp,actions=output:3,exit,output:2"] },
  "the action set": {
    flows: [
      "table=0,actions=write_actions(output:2,set_field:02:00:00:00:00:33->eth_dst,push_vlan:0x8100,set_field:4105->vlan_vid),goto_table:1", "table=1,priority=9,tcp,actions=output:3,write_actions(output:3),goto_table:2", "table=1,priority=9,udp,actions=clear_actions,goto_table:2", "table=1,priority=9,icmp,actions=write_actions(group:5),goto_table:2",
      "table=1,priority=9,arp,actions=write_actions(resubmit(,9)),goto_table:2", "table=2,actions=load:1->NXM_NX_REG0[],write_actions(output:controller)", OUT,
    ],
    groups: ["group_id=5,type=all,bucket=output:2,bucket=output:3"],
  },
  "groups: all, indirect, first live; buckets are sets of actions on copies": {
    flows: ["table=0,priority=9,tcp,actions=group:1,output:3", "table=0,priority=9,udp,actions=group:2,output:3", "table=0,priority=9,arp,actions=group:3,output:3", "table=0,priority=9,icmp,actions=group:4,output:3", OUT],
    groups: [
      "group_id=2,type=indirect,bucket=load:3->NXM_NX_REG0[],output:2", "group_id=1,type=all,bucket=output:3,set_field:02:00:00:00:00:31->eth_dst,bucket=set_field:02:00:00:00:00:32->eth_dst,bucket=resubmit(,9),push_vlan:0x8100,bucket=output:controller,bucket=output:2,group:2",
      "group_id=3,type=ff,bucket=watch_port:77,output:2,bucket=watch_port:2,output:2,load:5->NXM_NX_REG0[],bucket=watch_port:3,output:3", "group_id=4,type=ff,bucket=watch_port:77,output:2",
    ],
  },
  "tunnels: key and address of the packet or of the port, and not back to oneself": {
    flows: ["table=0,actions=load:42->NXM_NX_TUN_ID[],set_field:192.0.2.8->tun_dst,output:10,output:11,set_field:fd00::8->tun_ipv6_dst,set_field:0.0.0.0->tun_dst,output:10,output:2,set_field:192.0.2.1->tun_dst,output:10,in_port"],
  },
  "connection tracking": {
    flows: ["table=0,ip,actions=ct(table=1,zone=5)", "table=0,ipv6,actions=load:9->NXM_NX_REG3[0..15],ct(commit,table=1,zone=NXM_NX_REG3[0..15],exec(set_field:7->ct_mark,set_field:0x10->ct_label)),output:3", "table=0,priority=9,arp,actions=ct_clear,output:2", "table=1,ct_state=+new+trk,ip,actions=ct(commit,zone=5,nat(src=10.7.7.7:99)),load:1->NXM_NX_REG0[],ct(table=2,zone=6,nat),output:3", "table=1,ct_state=+new+trk,ipv6,actions=ct(commit,zone=5),ct(table=2,zone=6,nat),output:3", "table=1,ct_state=+est+trk,ip,actions=resubmit(,2)", "table=2,ct_state=+trk,ct_zone=6,actions=ct_clear,resubmit(,3)", "table=2,ct_state=+trk,ct_mark=7,ct_label=0x10,actions=output:2", "table=2,priority=9,actions=output:1,in_port", "table=3,ct_state=-trk,actions=output:2"],
    ct: [ctState.trk | ctState.new, ctState.trk | ctState.est | ctState.rpl],
  },
  "translation": { flows: ["table=0,ip,actions=ct(commit,table=1,zone=5,nat(dst=10.8.8.8:88)),output:3", "table=1,ip,nw_dst=10.8.8.8,actions=output:2", "table=0,ipv6,actions=ct(commit,table=1,zone=5,nat(src=fd00::88)),output:3", "table=1,ipv6,ipv6_src=fd00::88,actions=output:2"] },
  "conjunction": {
    flows: [
      "table=0,priority=100,ip,nw_src=10.0.0.1,actions=conjunction(1,1/2),conjunction(2,1/3)", "table=0,priority=100,tcp,tp_dst=80,actions=conjunction(1,2/2)", "table=0,priority=100,udp,actions=conjunction(2,2/3)", "table=0,priority=90,udp,tp_dst=53,actions=conjunction(3,1/2)", "table=0,priority=90,ip,nw_dst=10.0.0.2,actions=conjunction(3,2/2)",
      "table=0,priority=10,conj_id=1,ip,actions=output:2", "table=0,priority=10,conj_id=3,ip,actions=output:3", "table=0,priority=95,icmp,actions=output:3,output:2", "table=0,priority=1,ip,nw_src=10.0.0.1,actions=controller", "table=0,priority=0,actions=in_port,output:1",
    ],
  },
  "fragments, masks, priorities": {
    flows: ["table=0,priority=50,tcp,tp_dst=80,actions=output:2", "table=0,priority=50,ip,nw_frag=later,actions=output:3", "table=0,priority=60,ip,nw_frag=first,tcp,tp_dst=0,actions=in_port", "table=0,priority=40,ip,nw_src=10.0.0.0/24,actions=output:3,output:2", "table=0,priority=45,tcp6,tp_dst=0x40/0xffc0,actions=output:3", "table=0,priority=45,ipv6,ipv6_dst=ff02::/16,actions=output:3", "table=0,priority=70,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,actions=drop", "table=0,priority=70,vlan_tci=0x1000/0x1000,actions=output:3", "table=0,priority=2,icmp,icmp_type=8,icmp_code=0,actions=output:3", "table=0,priority=2,tcp,tcp_flags=-syn,actions=output:2"],
  },
  "meters, queues, notes, samples, truncation": { flows: ["table=0,actions=meter:3,set_queue:5,output:2,pop_queue,note:00.11,output(port=3,max_len=100),output(port=1,max_len=100),output:2"] },
  "where the length decides": { flows: ["table=0,actions=check_pkt_larger(1000)->NXM_NX_REG0[0],resubmit(,1),output:2", "table=1,reg0=1/1,actions=output:3,exit", "table=1,priority=9,ip,actions=dec_ttl,output:1"] },
  "two lengths, one after the other": { flows: ["table=0,actions=check_pkt_larger(1000)->NXM_NX_REG0[0],load:7->NXM_NX_REG1[],resubmit(,1)", "table=1,priority=9,reg0=1/1,actions=controller", "table=1,priority=8,actions=check_pkt_larger(60)->NXM_NX_REG0[1],load:8->NXM_NX_REG1[],resubmit(,2)", "table=2,priority=9,reg0=2/2,actions=output:3", "table=2,priority=8,ip,actions=dec_ttl,output:2"] },
  "punts": { flows: ["table=0,actions=controller(reason=no_match,max_len=99,id=7),controller(userdata=01.02,pause),output:2", "table=0,priority=40000,udp,actions=controller(userdata=05,max_len=9),output:2"] },
  "punts that pass a meter of their own": { flows: ["table=0,actions=controller(max_len=99,meter_id=4),output:2", "table=0,priority=40000,udp,actions=clone(dec_ttl,resubmit(,1)),output:3", "table=1,actions=controller(meter_id=5)"] },
};

describe("the real Open vSwitch agrees", () => {
  let bed: Bed;
  beforeAll(async () => {
    bed = await Bed.start();
    await bed.setPorts(PORTS);
  });
  afterAll(() => bed.stop());

  test.each(Object.entries(cases))("%s", async (_, { flows, groups, ct }) => {
    const sw = switchOf(flows, groups);
    await bed.load(sw);
    for (const [name, fields] of Object.entries(packets)) {
      const given: Given = { fields, ...(ct && { ct }) };
      expect(await bed.disagreement(sw, given), name).toBeUndefined();
    }
  });
});
