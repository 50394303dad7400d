// A packet's way over hosts: through the flows of one switch, by tunnels and physical networks to the next.
import { chassisTable, vifTable, type ReadView, type TunnelKnown } from "#app";
import { fields, type FieldName } from "node-openflow";
import { hopsOf, type Hop, type Output, type Packet, type Trace, type TraceOptions } from "../../trace/index.ts";
import { at, ranges } from "../../trace/packet/places.ts";
import { fieldBits } from "../../trace/packet/packet.ts";
import type { Asking, Deadline } from "./asking.ts";
import type { Connections } from "./connections.ts";
import { isTunnel, type Ref, type SwitchView } from "./switch-view.ts";

/** Switches, and copies of the packet on them, that one trace goes through; and lookups in all. */
const ARRIVALS = 64;
const HOPS = 2048;
/** Hosts that are looked at for who takes up a frame on a physical network. */
const TAKERS = 8;

export interface Walked {
  readonly switch: string;
  readonly hop: Hop<Ref>;
  /** The packet came in here, or back from conntrack. */
  readonly begins: boolean;
}

/** A copy that left a switch for good. */
export interface Delivered {
  readonly switch: string;
  /** Name of the OpenFlow port, as the switch has it. */
  readonly port: string;
  readonly ofport: number;
  /** iface-id of a guest's interface, or the port behind it that the tag is of. */
  readonly iface: string | undefined;
  /** The tag of that one. */
  readonly vlan: number | null;
  /** out: by a port that is no guest's and no tunnel. */
  readonly to: "guest" | "outside";
  readonly packet: Packet;
  readonly bytes: number | undefined;
  /** Switches on its way that are not connected, where what switches have was to count. */
  readonly unconnected: readonly string[];
}

/** A copy that ended. */
export interface Ended {
  readonly switch: string;
  readonly hop: Hop<Ref> | undefined;
  readonly did: "dropped" | "punted" | "lost";
  readonly packet: Packet;
  readonly reason: string;
  /** Of what was lost: the tunnel that loses it, to a host, or (stranger) to an address that is none's. */
  readonly tunnel?: LosingTunnel;
  /** The port that it would have left by, which is not there, or lets nothing out. */
  readonly port?: { readonly name: string; readonly tunnel: boolean };
  /** It would have left by the port that it came in by, which no switch does: to the guest there, by its iface-id, or the port behind it that the tag is of. */
  readonly turned?: { readonly iface: string | undefined };
  /** Of what was punted: as of what was delivered. */
  readonly unconnected?: readonly string[];
}

export interface LosingTunnel {
  readonly why: "stranger" | "down" | "narrow";
  readonly from: string;
  readonly to: string;
  readonly known: TunnelKnown | undefined;
}

export interface Walk {
  readonly hops: readonly Walked[];
  readonly delivered: readonly Delivered[];
  readonly ended: readonly Ended[];
  readonly notes: readonly string[];
}

export interface WalkParts {
  readonly view: ReadView;
  /** Of chassis, opened once each. */
  readonly open: (chassis: string) => Asking<SwitchView>;
  readonly deadline: Deadline;
  readonly desired: boolean;
  readonly connections: Connections;
  readonly tunnel: (from: string, to: string, type: string) => TunnelKnown | undefined;
  /** Hosts that take up a frame which leaves for a physical network: it goes on at the first that is there. */
  readonly takers: (packet: Packet) => readonly string[];
  /** Whether what leaves from a table is a copy for somebody else: see TableDecl.copies. */
  readonly copies: (table: number) => boolean;
  /** The port that a tag is of behind an OpenFlow port. */
  readonly behind: (chassis: string, ofport: number, vlan: number) => string | undefined;
}

interface Arrival {
  readonly chassis: string;
  readonly packet: Packet;
  /** Of the switches before. */
  readonly unconnected?: readonly string[];
}

/** @throws TraceBroken */
export function* walk(parts: WalkParts, first: Arrival): Asking<Walk> {
  const hops: Walked[] = [];
  const delivered: Delivered[] = [];
  const ended: Ended[] = [];
  const notes = new Set<string>();
  const queue: Arrival[] = [first];
  for (let n = 0; queue.length > 0; n++) {
    if (n === ARRIVALS) {
      notes.add(`more than ${ARRIVALS} copies of the packet: the rest is not followed`);
      break;
    }
    const { chassis, packet, unconnected: before = [] } = queue.shift()!;
    parts.deadline.check();
    const view = yield* parts.open(chassis);
    const isUnknown = !view.answers && !parts.desired;
    const unconnected = isUnknown && !before.includes(chassis) ? [...before, chassis] : before;
    if (isUnknown) {
      notes.add(`${chassis} is not connected: what it should have is shown`);
    }
    const result = yield* run(parts, view, packet);
    const passes = result.passes.map((pass) => [...hopsOf(pass.steps)]);
    for (const list of passes) for (const [i, hop] of list.entries()) hops.push({ switch: chassis, hop, begins: i === 0 });
    if (hops.length > HOPS) {
      hops.length = HOPS;
      queue.length = 0;
      notes.add(`more than ${HOPS} lookups: the rest is not followed`);
      break;
    }
    const hopOf = (made: { readonly pass: number; readonly table: number; readonly flow: unknown }): Hop<Ref> | undefined =>
      passes[made.pass]?.findLast((hop) => hop.table === made.table && hop.flow === made.flow) ?? passes[made.pass]?.at(-1);
    for (const output of result.outputs) {
      if (parts.copies(output.table)) {
        notes.add(`a copy leaves ${chassis} by ${nameOf(view, output.port)}, which is no matter of whom the packet is for`);
        continue;
      }
      const left = yield* leave(parts, view, output, hopOf(output));
      if ("chassis" in left) queue.push({ ...left, unconnected });
      else if ("did" in left) ended.push(left);
      else delivered.push({ ...left, unconnected });
    }
    for (const punt of result.punts) if (!parts.copies(punt.table)) ended.push({ switch: chassis, hop: hopOf(punt), did: "punted", packet: punt.packet, reason: "goes to the controller", unconnected });
    for (const drop of result.drops) {
      const final = result.passes[drop.pass]?.final ?? packet;
      ended.push({ switch: chassis, hop: hopOf(drop), did: "dropped", packet: final, reason: drop.reason, ...shutPort(view, drop.reason), ...turnedBack(parts, chassis, final, drop.reason) });
    }
    if (result.error !== undefined) notes.add(`${chassis}: ${result.error.text}`);
  }
  return { hops, delivered, ended, notes: [...notes] };
}

/** What the interpreter says of a port that packets do not leave by. */
function shutPort(view: SwitchView, reason: string): Pick<Ended, "port"> {
  const number = /^port (\d+) does not (?:exist|forward)$/.exec(reason)?.[1];
  if (number === undefined) return {};
  const own = view.own.get(Number(number));
  return { port: { name: own?.name ?? view.ports.get(Number(number))?.name ?? number, tunnel: isTunnel(own) } };
}

/** What the interpreter says of a packet for the port that it came in by. */
function turnedBack(parts: WalkParts, chassis: string, packet: Packet, reason: string): Pick<Ended, "turned"> {
  if (reason !== "skipping output to input port") return {};
  return { turned: { iface: guestAt(parts, chassis, Number(packet.get("in_port")), packet)?.iface } };
}

/** The guest of an OpenFlow port, if it is one's. */
function guestAt({ view, behind }: WalkParts, chassis: string, ofport: number, packet: Packet): Pick<Delivered, "port" | "iface" | "vlan"> | undefined {
  const vif = view.by(vifTable, "chassis", chassis).find((one) => one.ofport === ofport);
  if (vif === undefined) return undefined;
  const tag = Number(packet.get("vlan_vid"));
  const sharer = tag === 0 ? undefined : behind(chassis, ofport, tag & VID);
  return { port: vif.name, iface: sharer ?? vif.iface_id, vlan: sharer === undefined ? null : tag & VID };
}

function* run({ connections, desired }: WalkParts, view: SwitchView, packet: Packet): Asking<Trace<Ref>> {
  let fork = connections.fork();
  const begin = (): TraceOptions => {
    fork = connections.fork();
    return { conntrack: fork.on(view.chassis) };
  };
  const result = desired ? view.runDesired(packet, begin()) : yield* view.runInstalled(packet, begin);
  connections.become(fork);
  connections.commit(view.chassis, result.conntrack);
  return result;
}

const nameOf = (view: SwitchView, port: number): string => view.ports.get(port)?.name ?? view.own.get(port)?.name ?? String(port);

/** Where an output of a switch leads. */
function* leave(parts: WalkParts, view: SwitchView, output: Output<Ref>, hop: Hop<Ref> | undefined): Asking<Arrival | Omit<Delivered, "unconnected"> | Ended> {
  const { chassis } = view;
  const { view: rows } = parts;
  const own = view.own.get(output.port);
  const { packet } = output;
  if (isTunnel(own)) {
    const far = packet.words[at.tun_dst] !== 0 ? addressText(packet, "tun_ipv4_dst") : addressText(packet, "tun_ipv6_dst");
    const [peer] = rows.by(chassisTable, "endpoint", far);
    const known = peer === undefined ? undefined : parts.tunnel(chassis, peer.id, own!.type);
    const lost = (why: LosingTunnel["why"], to: string, reason: string): Ended => ({ switch: chassis, hop, did: "lost", packet, reason, tunnel: { why, from: chassis, to, known } });
    if (peer === undefined) return lost("stranger", far, `there is no host with the tunnel address ${far}`);
    if (known?.state === "down") return lost("down", peer.id, `the ${own!.type} tunnel from ${chassis} to ${peer.id} carries nothing${known.since === undefined ? "" : `, since ${known.since}`}${known.how === undefined ? "" : `, ${known.how}`}${known.oneWay === true ? "; that from there does" : ""}`);
    if (known?.mtu !== undefined && packet.length !== undefined && packet.length > known.mtu + ETHERNET) return lost("narrow", peer.id, `packets of more than ${known.mtu} bytes do not get from ${chassis} to ${peer.id} by ${own!.type}`);
    return { chassis: peer.id, packet: arriving(packet, output.port, rows.get(chassisTable, chassis)?.encap_ip ?? "") };
  }
  const guest = guestAt(parts, chassis, output.port, packet);
  if (guest !== undefined) return { switch: chassis, ...guest, ofport: output.port, to: "guest", packet, bytes: packet.length };
  // Ports to physical networks are numbered by these, the same on every host.
  if (own?.type === "patch") {
    for (const to of parts.takers(packet).slice(0, TAKERS)) {
      if (to !== chassis && (yield* parts.open(to)).own.get(output.port)?.type === "patch") return { chassis: to, packet: arriving(packet, output.port, "") };
    }
  }
  return { switch: chassis, port: nameOf(view, output.port), ofport: output.port, iface: undefined, vlan: null, to: "outside", packet, bytes: packet.length };
}

const ETHERNET = 14;
/** Of vlan_vid. */
const VID = 0xfff;

/** As the next switch has it: headers, and what its port says of the tunnel. */
function arriving(packet: Packet, port: number, source: string): Packet {
  const made = packet.clone();
  const kept = made.words.slice(...ranges.header);
  const tunnel = made.words.slice(...ranges.tunnel);
  made.words.fill(0);
  made.words.set(kept, ranges.header[0]);
  made.words[at.actset_output] = packet.words[at.actset_output]!;
  if (source !== "") {
    made.words.set(tunnel, ranges.tunnel[0]);
    const name: FieldName = source.includes(":") ? "tun_ipv6_src" : "tun_ipv4_src";
    made.set(name, fieldBits(fields[name], source).value);
  }
  made.words[at.in_port] = port;
  return made;
}

/** "" where it has none. */
export function addressText(packet: Packet, name: "tun_ipv4_dst" | "tun_ipv6_dst" | "ipv4_src" | "ipv4_dst" | "ipv6_src" | "ipv6_dst"): string {
  const value = packet.fields()[name];
  return typeof value === "string" ? value : "";
}
