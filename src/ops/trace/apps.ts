// What apps are asked about a packet (App.explains), each guarded; which of several answers counts.
import { isCause, type App, type Explains, type PacketCause, type PacketEntrance, type PacketQuestion, type PacketStart, type PacketStop, type TunnelKnown } from "#app";
import { registerOfPacket } from "../../pipeline/naming.ts";
import type { Packet } from "../../trace/index.ts";
import type { TracerParts } from "./parts.ts";

type Parts = Pick<TracerParts, "apps" | "guard" | "view" | "ask" | "layout">;

function* answers<H extends "begin" | "takers" | "tunnel" | "entrance" | "behind" | "waits" | "unanswered" | "forwards", R>({ apps, guard }: Parts, hook: H, run: (of: NonNullable<Explains[H]>) => R): Iterable<R> {
  for (const app of apps) {
    const of: App["explains"] = app.explains;
    const asked = of?.[hook];
    if (asked === undefined) continue;
    const answer = guard<R | undefined>({ app: app.name, hook: "explains" }, {}, () => run(asked), undefined);
    if (answer !== undefined) yield answer;
  }
}

/** A cause before any start, of which the first counts; undefined: nobody knows who asks. */
export function beginning(parts: Parts, question: PacketQuestion): PacketStart | PacketCause | undefined {
  let start: PacketStart | undefined;
  for (const found of answers(parts, "begin", (begin) => begin(parts.view, question, parts.ask))) {
    if (found !== undefined && isCause(found)) return found;
    start ??= found;
  }
  return start;
}

/** Hosts that take up a frame which leaves for a physical network. */
export function takersOf(parts: Parts, frame: Packet): readonly string[] {
  const network = registerOfPacket(parts.layout.register("net"), frame.fields()) as number;
  const mac = macText(frame.get("eth_dst"));
  return [...answers(parts, "takers", (takers) => takers(parts.view, network, mac))].flat();
}

export const macText = (mac: bigint): string => mac.toString(16).padStart(12, "0").replace(/..(?!$)/g, "$&:");

export const tunnelKnown = (parts: Parts, from: string, to: string, type: string): TunnelKnown | undefined => first(answers(parts, "tunnel", (tunnel) => tunnel(parts.view, from, to, type)));

export const entranceOf = (parts: Parts, port: string): PacketEntrance | undefined => first(answers(parts, "entrance", (entrance) => entrance(parts.view, port)));

export const behindOf = (parts: Parts, chassis: string, ofport: number, vlan: number): string | undefined => first(answers(parts, "behind", (behind) => behind(parts.view, chassis, ofport, vlan)));

export const unansweredOf = (parts: Parts, stop: PacketStop): PacketCause | undefined => first(answers(parts, "unanswered", (unanswered) => unanswered(parts.view, stop)));

export const forwardsTo = (parts: Parts, at: string, port: string, address: string): boolean => [...answers(parts, "forwards", (forwards) => forwards(parts.view, at, port, address))].includes(true);

export const waitsOn = (parts: Parts, stop: PacketStop): boolean => [...answers(parts, "waits", (waits) => waits(parts.view, stop))].includes(true);

function first<T>(list: Iterable<T | undefined>): T | undefined {
  for (const one of list) if (one !== undefined) return one;
  return undefined;
}
