// What a port may send, written down a second time from docs/neighbours.md ("Who may say what"): the anti-spoofing of one frame, and nothing about where it goes.
// Knows nothing of flows.
import { within, type Port } from "./policy-model.ts";

/** Option of neighbour discovery that holds a link-layer address: 1 the source's, 2 the target's. */
export interface LinkLayer {
  readonly kind: 1 | 2;
  readonly mac: string;
}
interface Common {
  /** EtherType of a tag that the frame has. */
  readonly tag?: number;
  readonly sourceMac: string;
  readonly destinationMac: string;
}
interface Packet extends Common {
  /** Of ARP, who it says that sends. */
  readonly source: string;
}
export type Frame =
  | (Common & { readonly kind: "other"; readonly type: number })
  | (Packet & { readonly kind: "arp"; readonly op: number; readonly sha: string; readonly target: string; readonly padding: number })
  | (Packet & { readonly kind: "ip"; readonly destination: string; readonly protocol: number; readonly ports: readonly [number, number]; readonly fragment: "no" | "first" | "later"; readonly snap: boolean })
  | (Packet & {
    readonly kind: "discovery"; readonly type: number; readonly code: number; readonly hops: number; readonly destination: string; readonly target: string; readonly options: readonly LinkLayer[];
    /** Bytes of another option. */
    readonly nonce: number; readonly fragment: "no" | "first"; readonly extension: boolean;
  });

const NOBODY = "00:00:00:00:00:00";
const RS = 133;
const RA = 134;
const NS = 135;
const NA = 136;
const REDIRECT = 137;
const ARP_MAX = 64;
const DISCOVERY_MAX = 128;
/** Of what leaves the link-layer address out, from a port with port security. */
const BARE_MAX = 90;

/** RFC 4291 appendix A */
export function linkLocal(mac: string): string {
  const [a, b, c, d, e, f] = mac.split(":").map((x) => Number.parseInt(x, 16)) as [number, number, number, number, number, number];
  const hex = (high: number, low: number): string => ((high << 8) | low).toString(16);
  return `fe80::${hex(a ^ 2, b)}:${hex(c, 0xff)}:${hex(0xfe, d)}:${hex(e, f)}`;
}

/** MACs with what a port may send from each: its addresses, its pairs, and the link-local address of a MAC that sends IPv6 and is nobody else's. */
export function sources(port: Port, ports: readonly Port[]): readonly { readonly mac: string; readonly range: string }[] {
  const named = [
    ...port.fixed_ips.map((f) => ({ mac: port.mac_address, range: f.ip_address })),
    ...port.allowed_address_pairs.map((p) => ({ mac: p.mac_address, range: p.ip_address })).filter(({ range }) => !["0.0.0.0", "0.0.0.0/32", "::", "::/128"].includes(range)),
  ];
  const others = ports.filter((p) => p.id !== port.id && p.network_id === port.network_id).map((p) => p.mac_address);
  const six = [...new Set(named.filter(({ range }) => range.includes(":")).map(({ mac }) => mac))];
  return [...named, ...six.filter((mac) => !others.includes(mac)).map((mac) => ({ mac, range: linkLocal(mac) }))];
}

/** Whether something comes of a frame of so many bytes that a port sends. */
export function mayLeave(port: Port, frame: Frame, bytes: number, ports: readonly Port[]): boolean {
  if (frame.tag !== undefined) return false;
  const discovers = frame.kind === "discovery" && [RS, NS, NA].includes(frame.type);
  if (frame.kind === "arp" && bytes > ARP_MAX) return false;
  if (discovers && !believable(frame, bytes)) return false;
  if (frame.kind === "arp" && frame.source === "0.0.0.0" && frame.op !== 1) return false;
  if (!port.port_security_enabled) return true;
  if (frame.kind === "other") return false;
  const all = sources(port, ports);
  const own = (ip: string): boolean => all.some(({ mac, range }) => mac === frame.sourceMac && within(ip, range));
  const mine = all.some(({ mac }) => mac === frame.sourceMac);
  if (frame.kind === "arp") return frame.sha === frame.sourceMac && (own(frame.source) || (mine && frame.source === "0.0.0.0"));
  if (frame.kind === "ip") {
    const [from, to] = frame.protocol === 17 && frame.fragment !== "later" ? frame.ports : [];
    // Nobody serves DHCP but the network; who has no address asks for one.
    if ((from === 67 && to === 68 && !frame.source.includes(":")) || (from === 547 && to === 546 && frame.source.includes(":"))) return false;
    return own(frame.source) || (mine && from === 68 && to === 67 && frame.source === "0.0.0.0");
  }
  if (frame.type === RA || frame.type === REDIRECT) return false;
  if (!discovers) return own(frame.source);
  if (frame.hops !== 255 || frame.code !== 0) return false;
  const sends = all.some(({ mac, range }) => mac === frame.sourceMac && range.includes(":"));
  if (!sends || !(own(frame.source) || frame.source === "::")) return false;
  if (frame.type === RS) return frame.destination === "ff02::2";
  if (frame.type === NA && !own(frame.target)) return false;
  const said = frame.options.filter((o) => o.kind === (frame.type === NS ? 1 : 2));
  return said.every((o) => o.mac === frame.sourceMac) && (said.length > 0 || bytes <= BARE_MAX);
}

/**
 * Whether a port looks for duplicates of what it may have itself, or of what another port has at the very MAC that it sends from: it may ask, and who hears
 * it depends on who else may have that. One at the same MAC is no duplicate.
 */
export const probesOwn = (port: Port, frame: Frame, ports: readonly Port[]): boolean =>
  (frame.kind === "arp" || (frame.kind === "discovery" && frame.type === NS)) && ["0.0.0.0", "::"].includes(frame.source) && port.port_security_enabled &&
  ports.some((p) => sources(p, ports).some(({ mac, range }) => (p === port || mac === frame.sourceMac) && within(frame.target, range)));

/** Neighbour discovery that a host would have to believe, as far as a switch sees it. */
function believable(frame: Frame & { kind: "discovery" }, bytes: number): boolean {
  const { type, code, source, target, options, destination } = frame;
  if (bytes > DISCOVERY_MAX || frame.fragment !== "no") return false;
  if (type === RS) return true;
  const kind = type === NS ? 1 : 2;
  if (code !== 0 || target === "::") return false;
  if ([1, 2].some((k) => options.filter((o) => o.kind === k).length > 1) || options.some((o) => o.kind === kind && o.mac === NOBODY)) return false;
  if (source !== "::") return true;
  return type === NS && within(destination, "ff02::1:ff00:0/104") && !options.some((o) => o.kind === 1);
}
