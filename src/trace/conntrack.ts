// What connection tracking says of a packet. The interpreter asks a caller's model; without one it assumes what ofproto/trace assumes.
import { ETH_TYPE, networkType } from "./packet/prerequisites.ts";
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

/** Gives the packet its own addresses and ports as those of its connection, in the original direction. */
export function ownTuple(packet: Packet): void {
  const six = networkType(packet.words) === ETH_TYPE.ipv6;
  packet.set("ct_nw_proto", packet.get("ip_proto"));
  packet.set(six ? "ct_ipv6_src" : "ct_nw_src", packet.get(six ? "ipv6_src" : "ipv4_src"));
  packet.set(six ? "ct_ipv6_dst" : "ct_nw_dst", packet.get(six ? "ipv6_dst" : "ipv4_dst"));
  packet.set("ct_tp_src", packet.get("tcp_src"));
  packet.set("ct_tp_dst", packet.get("tcp_dst"));
}
