// What connection tracking says of a packet. The interpreter asks a caller's model; without one it assumes what ofproto/trace assumes.
import { ETH_TYPE, networkType, PROTO } from "./packet/prerequisites.ts";
import type { CtUse } from "./result.ts";
import { valueBits, type Packet } from "./packet/packet.ts";
import { fields, type Nat } from "node-openflow";

/** Bits of ct_state. */
export const ctState = { new: 1, est: 2, rel: 4, rpl: 8, inv: 16, trk: 32, snat: 64, dnat: 128 } as const;

export interface CtAnswer {
  /** Bits of ct_state. */
  readonly state: number;
  /** Of the connection; undefined: as the packet has it, with what the action itself gave. */
  readonly mark?: number;
  readonly label?: bigint;
  /** Translates the packet, or gives it its connection's tuple. */
  readonly change?: (packet: Packet) => void;
}

/** Asked once for each packet that goes on after ct, in the order in which a switch would resume them. */
export type Conntrack = (use: CtUse<unknown>) => CtAnswer;

/** The states in turn, then new connections: `ofproto/trace --ct-next`. A translation takes the first address and port of its range. */
export function ctNext(states: readonly number[] = []): Conntrack {
  let i = 0;
  return ({ nat }) => ({ state: states[i++] ?? (ctState.trk | ctState.new), ...(nat === undefined ? {} : { change: (packet): void => translate(packet, nat) }) });
}

/** As ofproto/trace does: ofproto-dpif-trace.c, ofproto_trace_recirc_node. */
export function translate(packet: Packet, nat: Nat): void {
  if (nat.kind === undefined || nat.addr_min === undefined) return;
  const six = nat.addr_min.includes(":");
  const address = `${six ? "ipv6" : "ipv4"}_${nat.kind}` as const;
  packet.set(address, valueBits(fields[address], nat.addr_min));
  if (nat.port_min !== undefined && nat.port_min !== 0) packet.set(`tcp_${nat.kind}`, BigInt(nat.port_min));
}

/** Open vSwitch 3.1's userspace datapath keeps no ports of SCTP connections, a kernel's conntrack does. */
export type Datapath = "userspace" | "kernel";

/** Gives the packet its own addresses and ports as those of its connection, in the original direction. */
export function ownTuple(packet: Packet, datapath: Datapath = "userspace"): void {
  tuple(packet, datapath, "src", "dst");
}

/** Gives an answer the addresses and ports of the connection that it is of: those of what it answers. */
export function answeredTuple(packet: Packet, datapath: Datapath = "userspace"): void {
  tuple(packet, datapath, "dst", "src");
}

type End = "src" | "dst";
function tuple(packet: Packet, datapath: Datapath, from: End, to: End): void {
  const family = networkType(packet.words) === ETH_TYPE.ipv6 ? "ipv6" : "ipv4";
  const [ctSrc, ctDst] = family === "ipv6" ? (["ct_ipv6_src", "ct_ipv6_dst"] as const) : (["ct_nw_src", "ct_nw_dst"] as const);
  const protocol = Number(packet.get("ip_proto"));
  packet.set("ct_nw_proto", BigInt(protocol));
  packet.set(ctSrc, packet.get(`${family}_${from}`));
  packet.set(ctDst, packet.get(`${family}_${to}`));
  if (protocol === PROTO.sctp && datapath === "userspace") {
    packet.set("ct_tp_src", 0n);
    packet.set("ct_tp_dst", 0n);
  } else if (protocol === PROTO.icmpv4 || protocol === PROTO.icmpv6) {
    const type = packet.get("tcp_src");
    packet.set("ct_tp_src", from === "src" ? type : (ANSWERED.get(type) ?? type));
    packet.set("ct_tp_dst", packet.get("tcp_dst"));
  } else {
    packet.set("ct_tp_src", packet.get(`tcp_${from}`));
    packet.set("ct_tp_dst", packet.get(`tcp_${to}`));
  }
}
/** ICMP and ICMPv6: the type of a request, by that of its answer. */
const ANSWERED: ReadonlyMap<bigint, bigint> = new Map([[0n, 8n], [14n, 13n], [16n, 15n], [129n, 128n]]);

/** `next`, with tuples: every packet that is not invalid is one that opens its connection, or by its state an answer. */
export function withTuples(next: Conntrack, datapath: Datapath = "userspace"): Conntrack {
  return (use) => {
    const { change, ...answer } = next(use);
    if ((answer.state & ctState.inv) !== 0) return { ...answer, ...(change && { change }) };
    return {
      ...answer,
      change: (packet): void => {
        ((answer.state & ctState.rpl) === 0 ? ownTuple : answeredTuple)(packet, datapath);
        change?.(packet);
      },
    };
  };
}
