// What the words of Open vSwitch for packets and datapath actions mean: ofproto/trace prints flows as "tcp,in_port=1,...", and what a datapath
// would do as "set(ipv4(ttl=63)),2".
import { fields, type Field, type FieldName } from "node-openflow";
import { decTtl, popMpls, pushMpls } from "../../src/trace/edit.ts";
import { fieldBits, Packet } from "../../src/trace/packet/packet.ts";
import { at, ranges } from "../../src/trace/packet/places.ts";
import { parseDatapathActions, type DatapathAction } from "./trace/ofproto-trace.ts";

const PROTOCOLS: Readonly<Record<string, readonly [type: number, proto?: number]>> = {
  eth: [-1], ip: [0x800], icmp: [0x800, 1], tcp: [0x800, 6], udp: [0x800, 17], sctp: [0x800, 132], ipv6: [0x86dd], icmp6: [0x86dd, 58], tcp6: [0x86dd, 6], udp6: [0x86dd, 17], sctp6: [0x86dd, 132],
  arp: [0x806], rarp: [0x8035], mpls: [0x8847], mplsm: [0x8848],
};
const NAMES: Readonly<Record<string, FieldName>> = {
  tun_id: "tunnel_id", tun_src: "tun_ipv4_src", tun_dst: "tun_ipv4_dst", dl_src: "eth_src", dl_dst: "eth_dst", dl_type: "eth_type", nw_src: "ipv4_src", nw_dst: "ipv4_dst", arp_spa: "arp_spa", arp_tpa: "arp_tpa",
  nw_proto: "ip_proto", nw_ttl: "ip_ttl", ipv6_label: "ipv6_flabel", tp_src: "tcp_src", tp_dst: "tcp_dst", icmp_type: "icmpv4_type", icmp_code: "icmpv4_code", nd_target: "ipv6_nd_target", nd_sll: "ipv6_nd_sll", nd_tll: "ipv6_nd_tll",
};
const CT = ["new", "est", "rel", "rpl", "inv", "trk", "snat", "dnat"];
const TCP = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr", "ns"];
const FRAGMENTS: Readonly<Record<string, number>> = { no: 0, first: 1, later: 3 };
/** Shown, and kept by nobody here. */
const IGNORED: ReadonlySet<string> = new Set(["recirc_id", "tun_tos", "tun_ttl", "tun_gbp_id", "tun_gbp_flags", "tun_erspan_ver", "gtpu_flags", "gtpu_msgtype", "tun_flags", "vlan_tci1", "dl_vlan1", "dl_vlan_pcp1", "skb_priority", "dp_hash", "packet_type", "mpls_lse1", "mpls_lse2"]);

const flags = (names: readonly string[], text: string): number => (/^(0x)?[0-9a-f]+$/.test(text) ? Number(text) : text.split("|").reduce((sum, name) => sum | (names.includes(name) ? 1 << names.indexOf(name) : parseInt(name.replace(/^\[(0x)?/, ""), 16)), 0));
const port = (text: string): number => ({ LOCAL: 0xfffffffe, CONTROLLER: 0xfffffffd, ANY: 0xffffffff, UNSET: 0xfffffff7 })[text] ?? (/^p\d+$/.test(text) ? Number(text.slice(1)) : Number(text));

/** A packet as the switch shows it, and words that it does not show. @throws Error on what nobody here knows */
export function packetOfSwitch(text: string): { readonly packet: Packet; readonly hidden: readonly number[] } {
  const packet = new Packet();
  const { words } = packet;
  const shown = new Set<string>();
  for (const part of text.split(",")) {
    const [key, value] = part.split(/=(.*)/s) as [string, string | undefined];
    shown.add(key);
    const protocol = PROTOCOLS[key];
    if (value === undefined) {
      if (protocol === undefined) throw new Error(`the switch shows ${part}`);
      if (protocol[0] >= 0) words[at.eth_type] = protocol[0];
      if (protocol[1] !== undefined) words[at.nw_proto] = protocol[1];
    } else if (key === "in_port") words[at.in_port] = port(value);
    else if (key === "ct_state") words[at.ct_state] = flags(CT, value);
    else if (key === "tcp_flags") words[at.tcp_flags] = flags(TCP, value);
    else if (key === "nw_frag") words[at.nw_frag] = FRAGMENTS[value]!;
    else if (key === "vlan_tci") words[at.vlan_tci] = Number(value);
    else if (key === "dl_vlan") words[at.vlan_tci] = words[at.vlan_tci]! | 0x1000 | Number(value);
    else if (key === "dl_vlan_pcp") words[at.vlan_tci] = words[at.vlan_tci]! | (Number(value) << 13);
    else if (key === "nw_tos") words[at.nw_tos] = words[at.nw_tos]! | Number(value);
    else if (key === "nw_ecn") words[at.nw_tos] = words[at.nw_tos]! | Number(value);
    else if (!IGNORED.has(key)) {
      const field = fields[NAMES[key] ?? (key as FieldName)] as Field | undefined;
      if (field === undefined) throw new Error(`the switch shows ${part}`);
      packet.set(field.name, fieldBits(field, value).value);
    }
  }
  const hidden: number[] = [];
  if (!shown.has("tun_id")) hidden.push(at.tun_id, at.tun_id + 1);
  if (!shown.has("actset_output")) hidden.push(at.actset_output);
  // Neighbour discovery's flags and type of option, groups of IGMP, and what a packet of no known protocol has.
  hidden.push(at.igmp_group);
  if (words[at.nw_proto] === 58) hidden.push(at.tcp_flags);
  if ((words[at.nw_frag]! & 2) !== 0 || words[at.nw_proto] === 2) hidden.push(at.tp_src, at.tp_dst);
  return { packet, hidden };
}

/** What a datapath sends. */
export interface Executed {
  readonly outputs: readonly { readonly port: number; readonly packet: Packet }[];
  /** reason/controller/length */
  readonly punts: readonly string[];
  readonly meters: number;
}

/** Does datapath actions to a packet as the datapath has it. */
export function execute(text: string, start: Packet): Executed {
  const packet = start.clone();
  packet.words.fill(0, ...ranges.tunnel);
  const out: { outputs: { port: number; packet: Packet }[]; punts: string[]; meters: number } = { outputs: [], punts: [], meters: 0 };
  runAll(parseDatapathActions(text), packet, out);
  return out;
}

function runAll(actions: readonly DatapathAction[], packet: Packet, out: { outputs: { port: number; packet: Packet }[]; punts: string[]; meters: number }): void {
  const { words } = packet;
  for (const { name, args } of actions) {
    if (/^\d+$/.test(name)) {
      out.outputs.push({ port: Number(name), packet: packet.clone() });
      continue;
    }
    const pairs = new Map(args.map((a) => a.split(/=(.*)/s) as [string, string]));
    switch (name) {
      case "set":
        for (const a of parseDatapathActions(args.join())) setKey(packet, a);
        break;
      case "push_vlan":
        words[at.vlan_tci_inner] = words[at.vlan_tci]!;
        words[at.vlan_tpid_inner] = words[at.vlan_tpid]!;
        words[at.vlan_tci] = 0x1000 | Number(pairs.get("vid")) | (Number(pairs.get("pcp")) << 13);
        words[at.vlan_tpid] = Number(pairs.get("tpid") ?? 0x8100);
        break;
      case "pop_vlan":
        words[at.vlan_tci] = words[at.vlan_tci_inner]!;
        words[at.vlan_tpid] = words[at.vlan_tpid_inner]!;
        words[at.vlan_tci_inner] = words[at.vlan_tpid_inner] = 0;
        break;
      case "push_mpls":
        pushMpls(packet, Number(pairs.get("eth_type")));
        setKey(packet, { name: "mpls", args });
        break;
      case "pop_mpls":
        popMpls(packet, Number(pairs.get("eth_type")));
        break;
      case "dec_ttl":
        decTtl(packet);
        break;
      case "meter":
        out.meters++;
        break;
      case "userspace": {
        const controller = args.find((a) => a.startsWith("controller("));
        if (controller === undefined) break;
        const said = new Map(parseDatapathActions(controller)[0]!.args.map((a) => a.split("=") as [string, string]));
        out.punts.push(`${said.get("reason")}/${said.get("controller_id")}/${said.get("max_len")}`);
        break;
      }
      // Of a copy for the controller that passes a meter of its own: of every packet.
      case "sample": {
        const inner = args.find((a) => a.startsWith("actions("));
        if (inner !== undefined) runAll(parseDatapathActions(inner.slice("actions(".length, -1)), packet.clone(), out);
        break;
      }
      case "clone":
        runAll(parseDatapathActions(args.join()), packet.clone(), out);
        break;
      case "check_pkt_len":
        for (const branch of ["gt", "le"]) {
          const arg = args.find((a) => a.startsWith(`${branch}(`));
          if (arg !== undefined) runAll(parseDatapathActions(arg.slice(3, -1)), packet.clone(), out);
        }
        break;
      case "ct":
      case "ct_clear":
      case "recirc":
      case "hash":
      case "trunc":
      case "drop":
        break;
      default:
        throw new Error(`datapath action ${name}(${args.join()})`);
    }
  }
}

const KEYS: Readonly<Record<string, Readonly<Record<string, FieldName>>>> = {
  eth: { src: "eth_src", dst: "eth_dst" },
  ipv4: { src: "ipv4_src", dst: "ipv4_dst", proto: "ip_proto", tos: "ip_tos", ttl: "ip_ttl" },
  ipv6: { src: "ipv6_src", dst: "ipv6_dst", label: "ipv6_flabel", proto: "ip_proto", tclass: "ip_tos", hlimit: "ip_ttl" },
  tcp: { src: "tcp_src", dst: "tcp_dst" }, udp: { src: "udp_src", dst: "udp_dst" }, sctp: { src: "sctp_src", dst: "sctp_dst" },
  icmp: { type: "icmpv4_type", code: "icmpv4_code" }, icmpv6: { type: "icmpv6_type", code: "icmpv6_code" },
  arp: { sip: "arp_spa", tip: "arp_tpa", op: "arp_op", sha: "arp_sha", tha: "arp_tha" },
  nd: { target: "ipv6_nd_target", sll: "ipv6_nd_sll", tll: "ipv6_nd_tll" },
  nd_ext: { nd_reserved: "nd_reserved", nd_options_type: "nd_options_type" },
  mpls: { label: "mpls_label", tc: "mpls_tc", ttl: "mpls_ttl", bos: "mpls_bos" },
  tunnel: { tun_id: "tunnel_id", src: "tun_ipv4_src", dst: "tun_ipv4_dst", ipv6_src: "tun_ipv6_src", ipv6_dst: "tun_ipv6_dst" },
};

function setKey(packet: Packet, { name, args }: DatapathAction): void {
  if (name === "skb_priority") return;
  if (name === "skb_mark") {
    packet.words[at.pkt_mark] = Number(args[0]!.split("/")[0]);
    return;
  }
  if (name === "tunnel") packet.words.fill(0, ...ranges.tunnel);
  const keys = KEYS[name];
  if (keys === undefined) throw new Error(`the datapath sets ${name}(${args.join()})`);
  for (const arg of args) {
    const [key, value] = arg.split(/=(.*)/s) as [string, string];
    const field = keys[key];
    if (field === undefined) continue; // frag, flags: as they are
    const [whole, mask] = value.split("/") as [string, string | undefined];
    const number = fieldBits(fields[field], whole).value;
    if (field === "ip_tos") {
      const bits = mask === undefined ? 0xff : Number(mask);
      packet.words[at.nw_tos] = (packet.words[at.nw_tos]! & ~bits) | (Number(number) & bits);
    } else if (mask === undefined) packet.set(field, number);
    else {
      const m = fieldBits(fields[field], mask).value;
      packet.set(field, (packet.get(field) & ~m) | (number & m));
    }
  }
}
