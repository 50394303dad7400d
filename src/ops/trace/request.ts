// What POST /trace and GET /v2.0/axion/explain are asked: words to a request.
import { normalizeIp, parseMac, type PacketQuestion } from "#app";
import type { Instant } from "../../model/past/history.ts";
import { noInstant, parseInstant } from "../flows/instant.ts";
import { BadTrace, type TraceRequest } from "./tracer.ts";

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, sctp: 132, icmpv6: 58, "ipv6-icmp": 58 };
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 132]);

const known = ["from", "to", "protocol", "port", "source_port", "size", "source", "source_mac", "ttl", "switch", "flow", "ct", "state", "at", "reverse"] as const;
export type TraceWord = (typeof known)[number];

/** Of a JSON body. @throws BadTrace */
export function requestOf(body: unknown): TraceRequest {
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw new BadTrace("body", "is no object");
  const given = body as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(given)) if (!(known as readonly string[]).includes(name)) throw new BadTrace(name.slice(0, 64), `is not known here; there are ${known.join(", ")}`);
  const text = (name: TraceWord): string | undefined => {
    const value = given[name];
    if (value === undefined) return undefined;
    if (typeof value !== "string" || value === "" || value.length > 1024) throw new BadTrace(name, "is no text of 1 to 1024 characters");
    return value;
  };
  const number = (name: TraceWord, min: number, max: number): number | undefined => {
    const value = given[name];
    if (value === undefined) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) throw new BadTrace(name, `is no whole number from ${min} to ${max}`);
    return value;
  };
  const oneOf = <T extends string>(name: TraceWord, values: readonly T[], fallback: T): T => {
    const value = text(name);
    if (value === undefined) return fallback;
    const found = values.find((v) => v === value);
    if (found === undefined) throw new BadTrace(name, `'${value.slice(0, 64)}' is not one of ${values.join(", ")}`);
    return found;
  };
  const { reverse = true } = given;
  if (typeof reverse !== "boolean") throw new BadTrace("reverse", "is neither true nor false");
  const at = instantOf(given.at);
  const state = oneOf("state", ["installed", "desired"], at === undefined ? "installed" : "desired");
  if (at !== undefined && state !== "desired") throw new BadTrace("state", "of the past there is what was desired");
  const common = { ct: oneOf("ct", ["new", "established"], "new"), state, reverse, ...(at !== undefined && { at }) };
  const size = number("size", 20, 65_535);
  const chassis = text("switch");
  const flow = text("flow");
  if (chassis !== undefined || flow !== undefined) {
    if (chassis === undefined || flow === undefined) throw new BadTrace(chassis === undefined ? "switch" : "flow", "is missing: a packet at a switch needs both");
    for (const name of known.slice(0, 9)) if (name !== "size" && given[name] !== undefined) throw new BadTrace(name, "is for packets of ports; with switch and flow the flow says it");
    return { ...common, what: { switch: chassis, flow, ...(size !== undefined && { size }) } };
  }
  const [from, to] = [text("from"), text("to")];
  if (from === undefined) throw new BadTrace("from", "is missing: the id of the port that sends, or switch and flow");
  if (to === undefined) throw new BadTrace("to", "is missing: the id of a port, or an address");
  const protocol = protocolOf(given.protocol ?? "icmp");
  const [port, sourcePort] = [number("port", 1, 65_535), number("source_port", 1, 65_535)];
  if (!WITH_PORTS.has(protocol)) for (const [name, value] of [["port", port], ["source_port", sourcePort]] as const) if (value !== undefined) throw new BadTrace(name, "is for protocols with ports: tcp, udp, sctp");
  if (WITH_PORTS.has(protocol) && port === undefined) throw new BadTrace("port", "is missing: this protocol has ports");
  const ttl = number("ttl", 0, 255);
  const [source, sourceMac] = [text("source"), text("source_mac")];
  const what: PacketQuestion = { from, to, protocol, ...(port !== undefined && { port }), ...(sourcePort !== undefined && { sourcePort }), ...(size !== undefined && { size }), ...(ttl !== undefined && { ttl }), ...addressesOf(source, sourceMac, to) };
  return { ...common, what };
}

/** A generation, as a number or its digits, or an RFC 3339 instant. */
function instantOf(value: unknown): Instant | undefined {
  if (value === undefined) return undefined;
  const text = typeof value === "number" || typeof value === "string" ? String(value) : "";
  const instant = parseInstant(text);
  if (instant === undefined) throw new BadTrace("at", noInstant(text));
  return instant;
}

function addressesOf(source: string | undefined, sourceMac: string | undefined, to: string): Pick<PacketQuestion, "source" | "sourceMac" | "family"> {
  const ip = source === undefined ? undefined : normalizeIp(source);
  if (source !== undefined && ip === undefined) throw new BadTrace("source", `'${source.slice(0, 64)}' is no address`);
  const target = normalizeIp(to);
  if (ip !== undefined && target !== undefined && ip.includes(":") !== target.includes(":")) throw new BadTrace("source", "is of another family than to");
  const mac = sourceMac === undefined ? undefined : parseMac(sourceMac);
  if (sourceMac !== undefined && mac === undefined) throw new BadTrace("source_mac", `'${sourceMac.slice(0, 64)}' is no MAC address`);
  // Of a port's addresses it is for one of the family that it is sent from.
  return { ...(ip !== undefined && { source: ip, family: ip.includes(":") ? 6 : 4 }), ...(mac !== undefined && { sourceMac: mac }) };
}

function protocolOf(value: unknown): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255) return value;
  const text = typeof value === "string" ? value.toLowerCase() : "";
  const found = PROTOCOLS[text] ?? (/^\d{1,3}$/.test(text) && Number(text) <= 255 ? Number(text) : undefined);
  if (found === undefined) throw new BadTrace("protocol", `is neither ${Object.keys(PROTOCOLS).join(", ")} nor a number from 0 to 255`);
  return found;
}
