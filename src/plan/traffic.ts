// Classes of traffic between two ports: what their rules tell apart, and which of it changed flows are about.
import type { Traffic } from "#app";
import { decodeMatch, FLOW_MOD_MATCH_OFFSET, type Match } from "node-openflow";
import type { Flow } from "../compiler/desired.ts";

/** Packets that are treated alike, as far as rules go. */
export interface TrafficClass {
  readonly protocol: number;
  /** One of them; undefined: the protocol has no ports. */
  readonly port: number | undefined;
  /** All of them. */
  readonly intervals: readonly (readonly [number, number])[];
}

const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132]);
const [FIRST, LAST] = [1, 65_535];

/** Every class: echo requests, TCP and UDP at least. */
export function classesOf(family: 4 | 6, traffic: readonly Traffic[]): TrafficClass[] {
  const own = traffic.filter((t) => t.family === family);
  const protocols = new Set([family === 4 ? 1 : 58, 6, 17, ...own.map((t) => t.protocol)]);
  return [...protocols].flatMap((protocol) => {
    if (!WITH_PORTS.has(protocol)) return [{ protocol, port: undefined, intervals: [] }];
    const named = own.flatMap((t) => (t.protocol === protocol && t.ports !== undefined ? [[Math.max(FIRST, t.ports[0]), t.ports[1]] as const] : [])).filter(([min, max]) => min <= max);
    const bounds = [...new Set([FIRST, LAST + 1, ...named.flatMap(([min, max]) => [min, max + 1])])].sort((a, b) => a - b);
    const classes: TrafficClass[] = [];
    const others: (readonly [number, number])[] = [];
    for (let i = 0; i + 1 < bounds.length; i++) {
      const interval = [bounds[i]!, bounds[i + 1]! - 1] as const;
      if (named.some(([min, max]) => min <= interval[0] && interval[1] <= max)) classes.push({ protocol, port: interval[0], intervals: [interval] });
      else others.push(interval);
    }
    // No rule tells these from each other.
    if (others.length > 0) classes.push({ protocol, port: others.at(-1)![0], intervals: others });
    return classes;
  });
}

interface Part {
  readonly protocol: number;
  readonly family: 4 | 6 | undefined;
  readonly min: number;
  readonly max: number;
}

const PROTOCOL_OF: readonly (readonly [prefix: string, protocol: number])[] = [["tcp_dst", 6], ["udp_dst", 17], ["sctp_dst", 132]];
/** Echo requests and answers. */
const ECHO: ReadonlySet<unknown> = new Set([undefined, 0, 8, 128, 129]);

/** What changed flows are about. */
export class Concerned {
  everything = false;
  private readonly parts = new Map<string, Part>();

  all(): void {
    this.everything = true;
  }

  add(flow: Flow): void {
    if (this.everything) return;
    const match: Match = decodeMatch(flow.slab, flow.off + FLOW_MOD_MATCH_OFFSET);
    const get = (name: string): unknown => {
      const given = (match as Readonly<Record<string, unknown>>)[name];
      return masked(given)?.value ?? given;
    };
    const type = get("eth_type");
    const family = type === 0x800 ? 4 : type === 0x86dd ? 6 : undefined;
    // ARP, and whatever else is no IP, decides of no packet that is followed.
    if (type !== undefined && family === undefined) return;
    const protocol = get("ip_proto");
    if (typeof protocol !== "number") {
      this.all();
      return;
    }
    if (!ECHO.has(get("icmpv4_type")) || !ECHO.has(get("icmpv6_type"))) return;
    const given = (match as Readonly<Record<string, unknown>>)[PROTOCOL_OF.find(([, p]) => p === protocol)?.[0] ?? ""];
    const [min, max] = rangeOf(given);
    this.parts.set(`${family} ${protocol} ${min} ${max}`, { family, protocol, min, max });
  }

  has(family: 4 | 6, { protocol, intervals }: TrafficClass): boolean {
    if (this.everything) return true;
    for (const part of this.parts.values()) {
      if (part.protocol !== protocol || (part.family !== undefined && part.family !== family)) continue;
      if (intervals.length === 0 || intervals.some(([min, max]) => min <= part.max && part.min <= max)) return true;
    }
    return false;
  }
}

const masked = (given: unknown): { readonly value: unknown; readonly mask: unknown } | undefined => (typeof given === "object" && given !== null && "mask" in given ? given as { readonly value: unknown; readonly mask: unknown } : undefined);

/** Ports that a match has, at least: a value, a value with a mask of its first bits, or any. */
function rangeOf(given: unknown): readonly [number, number] {
  if (typeof given === "number") return [given, given];
  const { value, mask } = masked(given) ?? {};
  if (typeof value !== "number" || typeof mask !== "number") return [0, LAST];
  const rest = ~mask & 0xffff;
  return (rest & (rest + 1)) === 0 ? [value & mask, (value & mask) | rest] : [0, LAST];
}
