// A trace: what was asked -> a packet, its way over the switches and the way back, what came of it, and why.
import { chassisTable, EXTERNAL, isCause, normalizeIp, VLAN_NONE, VLAN_PRESENT, type PacketCause, type PacketQuestion, type PacketGoal, type PacketStart, type Table, type TunnelKnown, type AnyTable } from "#app";
import { formatInstructions, formatMatch, parseMatch } from "node-openflow";
import { spread } from "../../lib/turns/stepwise.ts";
import { Packet } from "../../trace/index.ts";
import type { Instant } from "../../model/past/history.ts";
import { BadQuery } from "../bad-query.ts";
import { Named } from "../named.ts";
import { beginning, behindOf, entranceOf, forwardsTo, takersOf, tunnelKnown } from "./apps.ts";
import { Deadline, TraceBroken, waited, type Asking } from "./asking.ts";
import { causeOf, differenceOn, elsewhere, ledBack, notConnected, otherwise, toItself } from "./causes.ts";
import { Connections, type Phase } from "./connections.ts";
import type { TracerParts } from "./parts.ts";
import { SwitchView, type Ref, type Switches } from "./switch-view.ts";
import { addressText, walk, type Delivered, type Ended, type Walk, type Walked, type WalkParts } from "./walk.ts";

/** A packet at a switch. */
export interface FlowQuestion {
  readonly switch: string;
  readonly flow: string;
  /** Bytes, without Ethernet's header. */
  readonly size?: number;
}

export interface TraceRequest {
  /** A port's packet, or one at a switch in ovs-ofctl's syntax. */
  readonly what: PacketQuestion | FlowQuestion;
  readonly ct: Phase;
  /** Over what switches have, or what they should have. */
  readonly state: "installed" | "desired";
  readonly reverse: boolean;
  /** Over what switches should have had at that instant. */
  readonly at?: Instant;
  /** `from` and `to` may be names of ports. */
  readonly names?: true;
}

export interface TracedResource {
  readonly type: string;
  readonly id: string;
  readonly name?: string;
}

export interface TracedHop {
  readonly switch: string;
  readonly table_id: number;
  readonly table: string;
  /** Of the flow that matched; null: none did. */
  readonly priority: number | null;
  readonly match: string;
  readonly actions: string;
  /** Hexadecimal. */
  readonly cookie: string;
  readonly app: string;
  readonly rule: string;
  readonly resources: readonly TracedResource[];
  /** Whether the switch has the flow. */
  readonly installed: boolean;
  /** Whether it is as it should be. */
  readonly state: Ref["state"] | "miss";
  /** Where it came in to the switch, or back from conntrack: the packet with its registers, as ofproto/trace takes it. */
  readonly packet?: string;
}

export interface TraceCause extends Omit<PacketCause, "resources"> {
  readonly resources: readonly TracedResource[];
}

export interface OneWay {
  /** unknown: it would be delivered, but for switches on its way that are not connected. */
  readonly verdict: "delivered" | "dropped" | "unknown";
  readonly delivered: readonly { readonly switch: string; readonly port: string; readonly id?: string }[];
  readonly hops: readonly TracedHop[];
  readonly cause: TraceCause | null;
  readonly notes: readonly string[];
}

/** With what the answers leave out. */
interface Way {
  readonly shown: OneWay;
  readonly walked: Walk;
  /** The port whose machine forwards to the one that it is for. */
  readonly behind?: string;
}

export interface TraceAnswer extends OneWay {
  /** The way back of what was delivered to a port; null: there is none to follow. */
  readonly answer: OneWay | null;
  /** Of the instant that was asked for. */
  readonly generation?: number;
}

/** The request is understood, and names what is not there; `parameter` as in the body. */
export class BadTrace extends Error {
  readonly parameter: string;
  readonly status: 400 | 404 | 503;
  constructor(parameter: string, message: string, status: 400 | 404 | 503 = 400) {
    super(message);
    this.parameter = parameter;
    this.status = status;
  }
}

export class Tracer {
  private readonly parts: TracerParts;
  private readonly byResource: ReadonlyMap<string, AnyTable>;

  constructor(parts: TracerParts) {
    this.parts = parts;
    this.byResource = new Map(parts.tables.flatMap((table) => (table.resource === undefined ? [] : [[table.resource, table] as const])));
  }

  /** Id of the port of this name, where there is one alone; ids, and whatever is none, as they are. @throws BadTrace */
  private portNamed(text: string, parameter: string): string {
    try {
      return new Named(this.parts.tables, this.parts.view).idOf(parameter, text, { types: ["port"] }) ?? text;
    } catch (error) {
      if (error instanceof BadQuery) throw new BadTrace(error.parameter, error.reason, error.status);
      throw error;
    }
  }

  /** @throws BadTrace; TraceBroken when a switch on the way does not show what it has, or it takes too long */
  async trace(request: TraceRequest): Promise<TraceAnswer> {
    const deadline = new Deadline(this.parts.clock, TIME_MS);
    const { at } = request;
    if (at !== undefined) return this.inPast(at, request);
    for (let tries = 1; ; tries++) {
      try {
        return await waited(this.traced(request, deadline, this.parts.switches), deadline);
      } catch (error) {
        // A switch that went shows nothing any more: of it what it should have counts, as of one that was not there.
        if (!(error instanceof TraceBroken) || error.why !== "gone" || tries === TRIES) throw error;
      }
    }
  }

  private async inPast(at: Instant, request: TraceRequest): Promise<TraceAnswer> {
    const { past, ...parts } = this.parts;
    if (past === undefined) throw new BadTrace("at", "nothing of the past is kept here");
    const { clock } = parts;
    try {
      return await past.during(at, function* (generation, state) {
        const { view, engine } = state ?? parts;
        const then = new Tracer({ apps: parts.apps, tables: parts.tables, layout: parts.layout, guard: parts.guard, ask: parts.ask, clock, view, engine });
        // Where nobody waits for it, time is taken to get ready.
        return { ...(yield* then.traced(request, new Deadline(clock, TIME_MS), undefined, state !== undefined)), generation };
      });
    } catch (error) {
      if (error instanceof BadQuery) throw new BadTrace(error.parameter, error.reason, error.status);
      throw error;
    }
  }

  /** `slowly`: what is desired stays as it is until it is through, and it may stop to let others have their turn. */
  private *traced(request: TraceRequest, deadline: Deadline, switches: Switches | undefined, slowly = false): Asking<TraceAnswer> {
    const views = new Map<string, SwitchView>();
    const { engine } = this.parts;
    const open = function* (chassis: string): Asking<SwitchView> {
      let made = views.get(chassis);
      if (made === undefined) {
        made = yield* SwitchView.open(chassis, engine, switches);
        if (slowly) yield spread(made.preparing());
        views.set(chassis, made);
      }
      return made;
    };
    const connections = new Connections();
    if ("switch" in request.what) {
      const { chassis, packet } = this.atSwitch(request.what);
      const { shown } = yield* this.way({ chassis, packet, question: undefined, start: undefined, request, connections, open, deadline });
      return { ...shown, answer: null };
    }
    const what: PacketQuestion = request.names !== true ? request.what : { ...request.what, from: request.what.from === EXTERNAL ? EXTERNAL : this.portNamed(request.what.from, "from"), to: normalizeIp(request.what.to) === undefined ? this.portNamed(request.what.to, "to") : request.what.to };
    const begun = this.begin(what);
    if (normalizeIp(what.to) === undefined && !this.isPort(what.to)) throw new BadTrace("to", `there is no port ${what.to.slice(0, 64)}, and it is no address`, 404);
    if (isCause(begun)) return { ...this.stillborn(begun), answer: null };
    if (begun.own === true) return { ...this.stillborn(toItself(what.from, begun)), answer: null };
    const packet = packetOf(begun, what);
    connections.phase = "new";
    let way = yield* this.way({ chassis: begun.chassis, packet, question: what, start: begun, request, connections, open, deadline });
    if (request.ct === "established") {
      connections.phase = "established";
      way = yield* this.way({ chassis: begun.chassis, packet, question: what, start: begun, request, connections, open, deadline });
    }
    const { walked, shown: there } = way;
    const { goal } = begun;
    const arrived = walked.delivered.find((d) => d.to === "guest" && d.iface !== what.from && (typeof goal !== "object" || isAt(d, goal)));
    const receiver = way.behind ?? (goal === "anywhere" ? arrived?.iface : begun.to ?? arrived?.iface);
    if (!request.reverse || there.verdict === "dropped" || arrived === undefined || receiver === undefined) return { ...there, answer: null };
    return { ...there, answer: yield* this.back(receiver, what, arrived, { request, connections, open, deadline }) };
  }

  /** What the receiver answers. */
  private *back(port: string, what: PacketQuestion, arrived: Delivered, parts: Pick<WayParts, "request" | "connections" | "open" | "deadline">): Asking<OneWay> {
    const six = arrived.packet.get("eth_type") === 0x86ddn;
    const text = (end: "src" | "dst"): string => addressText(arrived.packet, six ? `ipv6_${end}` : `ipv4_${end}`);
    const question: PacketQuestion = {
      from: port, to: text("src"), source: text("dst"), protocol: what.protocol, answers: true,
      ...(what.port !== undefined && { port: Number(arrived.packet.get("tcp_src")), sourcePort: Number(arrived.packet.get("tcp_dst")) }), ...(what.size !== undefined && { size: what.size }),
    };
    const begun = this.begin(question);
    if (isCause(begun)) return this.stillborn(begun);
    // The connection is the asker's: its own port is where the answer has to arrive, whatever address it had on the way.
    const home = this.begin({ from: what.from, to: what.to, protocol: what.protocol });
    const goal = what.from === EXTERNAL ? "outside" : isCause(home) ? begun.goal : { chassis: home.chassis, ofport: home.ofport, vlan: tagOf(home.fields) };
    const start = { ...begun, goal, to: what.from === EXTERNAL ? undefined : what.from };
    return (yield* this.way({ chassis: begun.chassis, packet: packetOf(begun, question), question, start, ...parts })).shown;
  }

  private begin(question: PacketQuestion): PacketStart | PacketCause {
    const found = beginning(this.parts, question);
    if (found !== undefined) return found;
    const { from } = question;
    if (normalizeIp(from) !== undefined) throw new BadTrace("from", `${from} is an address: who sends is a port, which has an id and a name, or ${EXTERNAL}`, 404);
    throw new BadTrace("from", `there is no port ${from.slice(0, 64)}${from === EXTERNAL ? ", and nothing here leads outside" : ""}`, 404);
  }

  private atSwitch({ switch: chassis, flow, size }: FlowQuestion): { readonly chassis: string; readonly packet: Packet } {
    if (this.parts.view.get(chassisTable, chassis) === undefined) throw new BadTrace("switch", `there is no switch ${chassis.slice(0, 64)}`, 404);
    try {
      const packet = Packet.of(parseMatch(flow));
      packet.length = (size ?? (packet.get("eth_type") === ARP ? ARP_SIZE : DEFAULT_SIZE)) + ETHERNET;
      return { chassis, packet };
    } catch (error) {
      throw new BadTrace("flow", `is no packet in ovs-ofctl's syntax: ${(error as Error).message.slice(0, 200)}`);
    }
  }

  private *way(parts: WayParts): Asking<Way> {
    const { chassis, packet, start, request, connections, open, deadline } = parts;
    const before = connections.fork();
    const goal = start?.goal ?? "anywhere";
    // Where a port is at a physical network that nobody else answers for, its host it is.
    const takers = (frame: Packet): readonly string[] => [...takersOf(this.parts, frame), ...(typeof goal === "object" && start?.onward === undefined ? [goal.chassis] : [])];
    // What is known of tunnels is of today.
    const tunnel = (from: string, to: string, type: string): TunnelKnown | undefined => (request.at === undefined ? tunnelKnown(this.parts, from, to, type) : undefined);
    const walkParts = { view: this.parts.view, open, deadline, desired: request.state === "desired", connections, tunnel, takers, copies: (table: number) => this.parts.layout.tableById(table)?.copies === true, behind: (host: string, ofport: number, vlan: number) => behindOf(this.parts, host, ofport, vlan) };
    const follow = (of: WalkParts): Asking<Walk> => this.followed(of, { chassis, packet }, parts);
    const walked = yield* follow(walkParts);
    const arrived = reached(walked, goal);
    const hops: TracedHop[] = [];
    for (const hop of walked.hops) hops.push(yield* this.shown(hop, yield* open(hop.switch)));
    const delivered = walked.delivered.map(({ switch: id, port, iface }) => ({ switch: id, port, ...(iface !== undefined && { id: iface }) }));
    const punted = walked.ended.filter((e) => e.did === "punted");
    const notes = [...walked.notes];
    const arrives = (over: readonly string[], to = delivered): Way => ({ shown: { verdict: over.length === 0 ? "delivered" : "unknown", delivered: to, hops, cause: over.length === 0 ? null : this.named(notConnected(over)), notes }, walked });
    if (arrived !== undefined) {
      // Nobody else had it in hand: it was turned back where it came from.
      const [back, ...others] = walked.delivered;
      if (others.length === 0 && back!.switch === chassis && BigInt(back!.ofport) === packet.get("in_port")) notes.push(`answered by the switch: what leaves by ${back!.port} is the answer`);
      return arrives(arrived.unconnected);
    }
    const other = otherwise(walked, start, (id) => this.macOf(id));
    const behind = goal === "none" && start?.to !== undefined && other !== undefined && forwardsTo(this.parts, other.iface!, start.to, start.address) ? other.iface! : undefined;
    if (behind !== undefined) {
      notes.push(`port ${start!.to!}, which has ${start!.address}, is plugged nowhere: it is taken to be behind port ${behind}, where it arrives, and which may send as that address; what the machine there does with it is not known here`);
      return { ...arrives(other!.unconnected), behind };
    }
    let cause: PacketCause | undefined;
    if (request.state === "installed") {
      const wanted = yield* follow({ ...walkParts, desired: true, connections: before });
      cause = yield* differenceOn(this.parts, walked, reached(wanted, goal) !== undefined, open);
    }
    const end = deciding(walked.ended);
    const has = (port: string, address: string): boolean => this.hasAddress(port, address);
    if (end === undefined) cause ??= elsewhere(other?.iface, start, has);
    else if (end.turned?.iface !== undefined) cause ??= ledBack(end.turned.iface, start, has);
    cause ??= causeOf(this.parts, { end, question: parts.question, start, left: walked.delivered.find((d) => d.to === "outside") });
    // What the controller answers is delivered to it.
    const taken = goal === "anywhere" && cause.reason === "unexplained" ? punted.at(-1) : undefined;
    if (taken !== undefined) {
      const app = taken.hop === undefined ? "" : (this.parts.layout.tableById(taken.hop.table)?.app ?? "");
      notes.push(`answered by the controller${app === "" ? "" : `, for ${app}`}: what it answers is not followed`);
      return arrives(taken.unconnected ?? [], [...delivered, { switch: taken.switch, port: "CONTROLLER" }]);
    }
    return { shown: { verdict: "dropped", delivered, hops, cause: this.named(cause), notes }, walked };
  }

  /** The packet's way; where a router of the physical network sends it on to a port, also from where it comes in again. */
  private *followed(of: WalkParts, first: { readonly chassis: string; readonly packet: Packet }, { start, question }: Pick<WayParts, "start" | "question">): Asking<Walk> {
    const there = yield* walk(of, first);
    const left = start?.onward === undefined ? undefined : there.delivered.find(({ to }) => to === "outside");
    if (start === undefined || question === undefined || left === undefined) return there;
    const out = `${left.switch} sends it by ${left.port} to ${start.onward!}, which is on the physical network`;
    const entrance = start.to === undefined ? undefined : entranceOf(this.parts, start.to);
    const ttl = (question.ttl ?? DEFAULT_TTL) - 1;
    if (entrance === undefined || ttl === 0) return { ...there, notes: [...there.notes, `${out}: what that does with it is not known here`] };
    const came = packetOf({ ofport: entrance.ofport, fields: { ...start.fields, vlan_vid: entrance.vlan === null ? VLAN_NONE : VLAN_PRESENT | entrance.vlan, eth_src: start.fields.eth_dst!, eth_dst: entrance.mac, ip_ttl: ttl } }, question);
    const on = yield* walk(of, { chassis: entrance.chassis, packet: came, unconnected: left.unconnected });
    return {
      hops: [...there.hops, ...on.hops], delivered: [...there.delivered.filter((d) => d !== left), ...on.delivered], ended: [...there.ended, ...on.ended],
      notes: [...there.notes, `${out}, and is taken to send it on: it comes in again at ${entrance.chassis}`, ...on.notes],
    };
  }

  private isPort(id: string): boolean {
    const table = this.byResource.get("port");
    return table !== undefined && this.parts.view.get(table as Table, id) !== undefined;
  }

  private macOf(port: string): string | undefined {
    const table = this.byResource.get("port");
    const mac = table === undefined ? undefined : (this.parts.view.get(table as Table, port) as { readonly mac_address?: unknown } | undefined)?.mac_address;
    return typeof mac === "string" ? mac : undefined;
  }

  /** Addresses are of a family, or of none that is known here. */
  private hasAddress(port: string, address: string): boolean {
    const begun = beginning(this.parts, { from: port, to: address, protocol: 1 });
    return begun !== undefined && !isCause(begun) && begun.to === port;
  }

  private stillborn(cause: PacketCause): OneWay {
    return { verdict: "dropped", delivered: [], hops: [], cause: this.named(cause), notes: [] };
  }

  private named(cause: PacketCause): TraceCause {
    return { ...cause, resources: cause.resources.map((r) => this.resource(r.type, r.id)) };
  }

  private resource(type: string, id: string): TracedResource {
    const table = this.byResource.get(type);
    const row = table === undefined ? undefined : (this.parts.view.get(table as Table, id) as { readonly name?: unknown } | undefined);
    return { type, id, ...(typeof row?.name === "string" && row.name !== "" && { name: row.name }) };
  }

  private *shown({ switch: id, hop: { table, flow, packet }, begins }: Walked, view: SwitchView): Asking<TracedHop> {
    const { layout, engine } = this.parts;
    const declared = layout.tableById(table);
    const common = { switch: id, table_id: table, table: declared?.name ?? String(table) };
    const came = begins ? { packet: packetText(packet) } : {};
    if (flow === undefined) return { ...common, priority: null, match: "", actions: "drop", cookie: "0x0", app: declared?.app ?? "", rule: "", resources: [], installed: false, state: "miss", ...came };
    const desired = flow.ref.state === "desired" ? flow.ref.flow : undefined;
    const why = desired === undefined ? undefined : engine.provenance(desired);
    return {
      ...common, priority: flow.priority, match: formatMatch(flow.match), actions: formatInstructions(flow.instructions) || "drop", cookie: `0x${flow.cookie.toString(16)}`,
      app: why?.app ?? (flow.ref.state === "learned" ? (declared?.app ?? "") : ""), rule: why?.rule ?? "", resources: (why?.resources ?? []).map((r) => this.resource(r.type, r.id)),
      installed: yield* view.has(flow), state: flow.ref.state, ...came,
    };
  }
}

interface WayParts {
  readonly chassis: string;
  readonly packet: Packet;
  readonly question: PacketQuestion | undefined;
  readonly start: PacketStart | undefined;
  readonly request: TraceRequest;
  readonly connections: Connections;
  readonly open: (chassis: string) => Asking<SwitchView>;
  readonly deadline: Deadline;
}

/** As ofproto/trace takes it, which knows ports of UDP and SCTP, and types of ICMPv6, by their own names alone. */
function packetText(packet: Packet): string {
  const text = formatMatch(packet.fields());
  const protocol = /(?:^|,)(udp|sctp|icmp6)6?(?:,|$)/.exec(text)?.[1];
  if (protocol === undefined) return text;
  return protocol === "icmp6" ? text.replace(/\bicmp_(type|code)=/g, "icmpv6_$1=") : text.replace(/\btp_(src|dst)=/g, `${protocol}_$1=`);
}

function packetOf({ fields, ofport }: Pick<PacketStart, "fields" | "ofport">, { size = DEFAULT_SIZE }: PacketQuestion): Packet {
  const packet = Packet.of({ ...fields, in_port: ofport });
  packet.length = size + ETHERNET;
  return packet;
}
const ETHERNET = 14;
/** Of one trace, in all; a switch may take half of it to show a table. */
const TIME_MS = 20_000;
/** How often a trace begins, where switches go while they are asked. */
const TRIES = 3;
const ARP = 0x806n;
const ARP_SIZE = 28;
/** An echo request as ping sends it. */
const DEFAULT_SIZE = 84;
const DEFAULT_TTL = 64;

/** The copy that is where the packet is to go; of several the one of whose way most is known. */
function reached({ delivered }: Walk, goal: PacketStart["goal"]): Delivered | undefined {
  if (goal === "none") return undefined;
  const there = goal === "anywhere" ? delivered : delivered.filter((d) => (goal === "outside" ? d.to === "outside" : isAt(d, goal)));
  return there.find(({ unconnected }) => unconnected.length === 0) ?? there[0];
}
const isAt = ({ switch: chassis, ofport, vlan }: Delivered, goal: PacketGoal): boolean => chassis === goal.chassis && ofport === goal.ofport && vlan === goal.vlan;
/** With which a port behind another's interface sends. */
const tagOf = ({ vlan_vid: vid }: PacketStart["fields"]): number | null => (typeof vid === "number" && vid !== VLAN_NONE ? vid & ~VLAN_PRESENT : null);

/** Of all that ended, what the packet itself came to. Where it goes to the controller nothing follows; looking up what is not there ends nothing before that. */
export function deciding(ended: readonly Ended[]): Ended | undefined {
  return ended.findLast((e) => e.did === "lost" || e.port !== undefined) ?? ended.findLast((e) => e.did === "punted") ?? ended.at(-1);
}
