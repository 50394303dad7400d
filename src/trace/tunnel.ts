// What a tunnel port makes of a packet's tunnel fields when it sends it. ofproto/tunnel.c of Open vSwitch, tnl_port_send.
import { fields } from "node-openflow";
import { fieldBits, type Packet } from "./packet/packet.ts";
import { at } from "./packet/places.ts";
import type { TunnelOptions } from "./switch.ts";

/** Address that a packet is tunnelled to, equal for equal ones; that of a packet in no tunnel is one too. */
export function tunnelDestination({ words }: Packet): string {
  const v4 = words[at.tun_dst]!;
  return v4 === 0 ? words.slice(at.tun_ipv6_dst, at.tun_ipv6_dst + 4).join() : String(v4);
}

export function sendOn(packet: Packet, { remote, local, key }: TunnelOptions): void {
  if (local !== "flow") address(packet, "src", local ?? "0.0.0.0");
  if (remote !== "flow") address(packet, "dst", remote);
  if (key !== "flow") packet.set("tunnel_id", key);
}

function address(packet: Packet, side: "src" | "dst", text: string): void {
  const six = text.includes(":");
  const field = `tun_ipv6_${side}` as const;
  packet.words[side === "src" ? at.tun_src : at.tun_dst] = six ? 0 : Number(fieldBits(fields[`tun_ipv4_${side}`], text).value);
  packet.set(field, six ? fieldBits(fields[field], text).value : 0n);
}
