// A trace: what was asked -> a packet, its way over the switches and the way back, what came of it, and why.
import { chassisTable, isCause, type PacketCause, type PacketQuestion, type PacketStart, type Table, type TunnelKnown, type AnyTable } from "#app";
import { formatInstructions, formatMatch, parseMatch } from "node-openflow";
import { Packet, type Hop } from "../../trace/index.ts";
import { causeOf, differenceOn } from "./causes.ts";
import { Connections, type Phase } from "./connections.ts";
import type { TracerParts } from "./parts.ts";
import { SwitchView, type Ref } from "./switch-view.ts";
import { addressText, walk, type Delivered, type Ended, type Walk } from "./walk.ts";

export interface TraceRequest {
  /** A port's packet, or one at a switch in ovs-ofctl's syntax. */
  readonly what: PacketQuestion | { readonly switch: string; readonly flow: string };
  readonly ct: Phase;
  /** Over what switches have, or what they should have. */
  readonly state: "installed" | "desired";
  readonly reverse: boolean;
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
}

export interface TraceCause extends Omit<PacketCause, "resources"> {
  readonly resources: readonly TracedResource[];
}

export interface OneWay {
  readonly verdict: "delivered" | "dropped";
  readonly delivered: readonly { readonly switch: string; readonly port: string; readonly id?: string }[];
  readonly hops: readonly TracedHop[];
  readonly cause: TraceCause | null;
  readonly notes: readonly string[];
}

/** With what the answers leave out. */
interface Way {
  readonly shown: OneWay;
  readonly walked: Walk;
}

export interface TraceAnswer extends OneWay {
  /** The way back of what was delivered to a port; null: there is none to follow. */
  readonly answer: OneWay | null;
}

/** The request is understood, and names what is not there; `parameter` as in the body. */
export class BadTrace extends Error {
  readonly parameter: string;
  readonly status: 400 | 404;
  constructor(parameter: string, message: string, status: 400 | 404 = 400) {
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
  portNamed(text: string, parameter: string): string {
    const table = this.byResource.get("port") as Table | undefined;
    if (table === undefined || this.parts.view.get(table, text) !== undefined) return text;
    const found: string[] = [];
    // Nothing finds ports by name; who asks so is an operator.
    for (const port of this.parts.view.all(table) as Iterable<{ readonly id: string; readonly name?: unknown }>) if (port.name === text && found.push(port.id) > 3) break;
    if (found.length > 1) throw new BadTrace(parameter, `several ports have the name ${text.slice(0, 64)}: ${found.join(", ")}`);
    return found[0] ?? text;
  }

  /** @throws BadTrace; SwitchSilent when a switch on the way does not show what it has */
  async trace(request: TraceRequest): Promise<TraceAnswer> {
    const { what } = request;
    const views = new Map<string, Promise<SwitchView>>();
    const open = (chassis: string): Promise<SwitchView> => {
      let made = views.get(chassis);
      if (made === undefined) views.set(chassis, (made = SwitchView.open(chassis, this.parts.engine, this.parts.switches)));
      return made;
    };
    const connections = new Connections();
    if ("switch" in what) {
      const { chassis, packet } = this.atSwitch(what);
      const { shown } = await this.way({ chassis, packet, question: undefined, start: undefined, request, connections, open });
      return { ...shown, answer: null };
    }
    const begun = this.begin(what);
    if (isCause(begun)) return { ...this.stillborn(begun), answer: null };
    const packet = packetOf(begun, what);
    const go = (phase: Phase): Promise<Way> => {
      connections.phase = phase;
      return this.way({ chassis: begun.chassis, packet, question: what, start: begun, request, connections, open });
    };
    let way = await go("new");
    if (request.ct === "established") way = await go("established");
    const { walked, shown: there } = way;
    const { goal } = begun;
    const arrived = walked.delivered.find((d) => d.to === "guest" && d.iface !== what.from && (typeof goal !== "object" || (d.switch === goal.chassis && d.ofport === goal.ofport)));
    const receiver = begun.to ?? arrived?.iface;
    if (!request.reverse || there.verdict !== "delivered" || arrived === undefined || receiver === undefined) return { ...there, answer: null };
    return { ...there, answer: await this.back(receiver, what, arrived, { request, connections, open }) };
  }

  /** What the receiver answers. */
  private async back(port: string, what: PacketQuestion, arrived: Delivered, parts: Pick<WayParts, "request" | "connections" | "open">): Promise<OneWay> {
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
    const goal = isCause(home) ? begun.goal : { chassis: home.chassis, ofport: home.ofport };
    const start = { ...begun, goal, to: what.from };
    return (await this.way({ chassis: begun.chassis, packet: packetOf(begun, question), question, start, ...parts })).shown;
  }

  private begin(question: PacketQuestion): PacketStart | PacketCause {
    let start: PacketStart | undefined;
    for (const app of this.parts.apps) {
      const { begin } = app.explains ?? {};
      const found = begin === undefined ? undefined : this.parts.guard<PacketStart | PacketCause | undefined>({ app: app.name, hook: "explains" }, {}, () => begin(this.parts.view, question), undefined);
      if (found !== undefined && isCause(found)) return found;
      start ??= found;
    }
    if (start !== undefined) return start;
    throw new BadTrace("from", `there is no port ${question.from.slice(0, 64)}`, 404);
  }

  private tunnel(from: string, to: string, type: string): TunnelKnown | undefined {
    for (const app of this.parts.apps) {
      const { tunnel } = app.explains ?? {};
      const known = tunnel === undefined ? undefined : this.parts.guard<TunnelKnown | undefined>({ app: app.name, hook: "explains" }, {}, () => tunnel(this.parts.view, from, to, type), undefined);
      if (known !== undefined) return known;
    }
    return undefined;
  }

  private atSwitch({ switch: chassis, flow }: { readonly switch: string; readonly flow: string }): { readonly chassis: string; readonly packet: Packet } {
    if (this.parts.view.get(chassisTable, chassis) === undefined) throw new BadTrace("switch", `there is no switch ${chassis.slice(0, 64)}`, 404);
    try {
      return { chassis, packet: Packet.of(parseMatch(flow)) };
    } catch (error) {
      throw new BadTrace("flow", `is no packet in ovs-ofctl's syntax: ${(error as Error).message.slice(0, 200)}`);
    }
  }

  private async way(parts: WayParts): Promise<Way> {
    const { chassis, packet, start, request, connections, open } = parts;
    const before = connections.fork();
    const goal = start?.goal ?? "anywhere";
    const toChassis = typeof goal === "object" ? goal.chassis : undefined;
    const tunnel = (from: string, to: string, type: string): TunnelKnown | undefined => this.tunnel(from, to, type);
    const walkParts = { view: this.parts.view, open, desired: request.state === "desired", connections, tunnel, toChassis };
    const walked = await walk(walkParts, { chassis, packet });
    const arrived = reached(walked, goal);
    const hops = await Promise.all(walked.hops.map(async ({ switch: id, hop }) => this.shown(id, hop, await open(id))));
    const delivered = walked.delivered.map(({ switch: id, port, iface }) => ({ switch: id, port, ...(iface !== undefined && { id: iface }) }));
    const punted = walked.ended.filter((e) => e.did === "punted");
    const done = (verdict: OneWay["verdict"], cause: PacketCause | undefined, to = delivered): Way => ({
      shown: { verdict, delivered: to, hops, cause: cause === undefined ? null : this.named(cause), notes: walked.notes }, walked,
    });
    if (arrived) return done("delivered", undefined);
    let cause: PacketCause | undefined;
    if (request.state === "installed") {
      const wanted = await walk({ ...walkParts, desired: true, connections: before }, { chassis, packet });
      cause = await differenceOn(this.parts, walked, reached(wanted, goal), open);
    }
    const end = deciding(walked.ended);
    cause ??= causeOf(this.parts, end, parts.question, start);
    // What the controller answers is delivered to it.
    const taken = goal === "anywhere" && cause.reason === "unexplained" ? punted.at(-1) : undefined;
    if (taken !== undefined) return done("delivered", undefined, [...delivered, { switch: taken.switch, port: "CONTROLLER" }]);
    return done("dropped", cause);
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

  private async shown(id: string, { table, flow }: Hop<Ref>, view: SwitchView): Promise<TracedHop> {
    const { layout, engine } = this.parts;
    const declared = layout.tableById(table);
    const common = { switch: id, table_id: table, table: declared?.name ?? String(table) };
    if (flow === undefined) return { ...common, priority: null, match: "", actions: "drop", cookie: "0x0", app: declared?.app ?? "", rule: "", resources: [], installed: false, state: "miss" };
    const desired = flow.ref.state === "desired" ? flow.ref.flow : undefined;
    const why = desired === undefined ? undefined : engine.provenance(desired);
    return {
      ...common, priority: flow.priority, match: formatMatch(flow.match), actions: formatInstructions(flow.instructions) || "drop", cookie: `0x${flow.cookie.toString(16)}`,
      app: why?.app ?? (flow.ref.state === "learned" ? (declared?.app ?? "") : ""), rule: why?.rule ?? "", resources: (why?.resources ?? []).map((r) => this.resource(r.type, r.id)),
      installed: await view.has(flow), state: flow.ref.state,
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
  readonly open: (chassis: string) => Promise<SwitchView>;
}

function packetOf({ fields, ofport }: PacketStart, { size = DEFAULT_SIZE }: PacketQuestion): Packet {
  const packet = Packet.of({ ...fields, in_port: ofport });
  packet.length = size + ETHERNET;
  return packet;
}
const ETHERNET = 14;
/** An echo request as ping sends it. */
const DEFAULT_SIZE = 84;

function reached({ delivered }: Walk, goal: PacketStart["goal"]): boolean {
  if (goal === "none") return false;
  return goal === "anywhere" ? delivered.length > 0 : delivered.some((d) => d.switch === goal.chassis && d.ofport === goal.ofport);
}

/** Of all that ended, what the packet itself came to. Where it goes to the controller nothing follows; looking up what is not there ends nothing before that. */
function deciding(ended: readonly Ended[]): Ended | undefined {
  return ended.findLast((e) => e.did === "lost" || e.port !== undefined) ?? ended.findLast((e) => e.did === "punted") ?? ended.at(-1);
}
