// Whether a port reaches another, and hears its answer, over what the switches should have, with every tunnel up.
import { EXTERNAL, isCause, type PacketQuestion, type PacketStart } from "#app";
import { gently, spread, type Pace } from "../../lib/turns/stepwise.ts";
import { Packet } from "../../trace/index.ts";
import { beginning, behindOf, takersOf, waitsOn } from "./apps.ts";
import { Deadline, waited, type Asking } from "./asking.ts";
import { stopOf } from "./causes.ts";
import { Connections } from "./connections.ts";
import type { TracerParts } from "./parts.ts";
import { SwitchView } from "./switch-view.ts";
import { deciding } from "./tracer.ts";
import { addressText, walk, type Delivered, type Walk } from "./walk.ts";

/** No switch is asked: whoever waits for it bounds the whole. */
const TIME_MS = 600_000;
/** Bytes of an echo request as ping sends it, with its Ethernet header. */
const LENGTH = 84 + 14;

/** Of one state: what is desired may not change while it is used. */
export class Reacher {
  private readonly parts: Omit<TracerParts, "switches" | "past">;
  private readonly pace: Pace;
  private readonly deadline: Deadline;
  private readonly views = new Map<string, SwitchView>();

  constructor(parts: Omit<TracerParts, "switches" | "past">, pace = gently) {
    this.parts = parts;
    this.pace = pace;
    this.deadline = new Deadline(parts.clock, TIME_MS);
  }

  /** Whether the port is somewhere where it can send, with an address of the family. */
  starts(port: string, family: 4 | 6): boolean {
    return this.begin({ from: port, to: port, family, protocol: 1 }) !== undefined;
  }

  /** Whether the packet gets to the receiver's interface, and what is answered back; without a receiver, whether it leaves to the outside. */
  reaches(question: PacketQuestion, receiver: string | undefined): Promise<boolean> {
    return waited(this.reaching(question, receiver), this.deadline);
  }

  private *reaching(question: PacketQuestion, receiver: string | undefined): Asking<boolean> {
    const begun = this.begin(question);
    if (begun === undefined) return false;
    const connections = new Connections();
    if (receiver === undefined) return this.leaves(yield* this.walk(begun, question, connections, []), question, begun);
    const { protocol, port } = question;
    const home = this.begin({ from: receiver, to: receiver, protocol, ...(question.family !== undefined && { family: question.family }), ...(port !== undefined && { port }) });
    const arrived = home && (yield* this.arrives(begun, question, connections, home));
    if (arrived === undefined) return false;
    const { packet } = arrived;
    const six = packet.get("eth_type") === 0x86ddn;
    const text = (end: "src" | "dst"): string => addressText(packet, six ? `ipv6_${end}` : `ipv4_${end}`);
    const answer: PacketQuestion = {
      from: receiver, to: text("src"), source: text("dst"), protocol, answers: true,
      ...(port !== undefined && { port: Number(packet.get("tcp_src")), sourcePort: Number(packet.get("tcp_dst")) }),
    };
    const back = this.begin(answer);
    if (question.from === EXTERNAL) return back !== undefined && this.leaves(yield* this.walk(back, answer, connections, []), answer, back);
    return back !== undefined && (yield* this.arrives(back, answer, connections, begun)) !== undefined;
  }

  /** What of the packet arrives at a guest's interface. */
  private *arrives(begun: PacketStart, question: PacketQuestion, connections: Connections, { chassis, ofport }: Pick<PacketStart, "chassis" | "ofport">): Asking<Delivered | undefined> {
    const { delivered } = yield* this.walk(begun, question, connections, [chassis]);
    return delivered.find((d) => d.to === "guest" && d.switch === chassis && d.ofport === ofport);
  }

  private leaves(there: Walk, question: PacketQuestion, begun: PacketStart): boolean {
    if (there.delivered.some(({ to }) => to === "outside")) return true;
    const end = deciding(there.ended);
    if (end?.did !== "punted") return false;
    return waitsOn(this.parts, stopOf(this.parts, end, question, begun, undefined));
  }

  private begin(question: PacketQuestion): PacketStart | undefined {
    const found = beginning(this.parts, question);
    return found === undefined || isCause(found) ? undefined : found;
  }

  /** `hosts`: which take up a frame on a physical network that no app knows who takes. */
  private walk(begun: PacketStart, question: PacketQuestion, connections: Connections, hosts: readonly string[]): Asking<Walk> {
    const packet = Packet.of({ ...begun.fields, in_port: begun.ofport });
    packet.length = question.size ?? LENGTH;
    const takers = (frame: Packet): readonly string[] => [...takersOf(this.parts, frame), ...hosts];
    return walk({ view: this.parts.view, open: (chassis) => this.open(chassis), deadline: this.deadline, desired: true, connections, tunnel: () => undefined, takers, copies: (table) => this.parts.layout.tableById(table)?.copies === true, behind: (host, ofport, vlan) => behindOf(this.parts, host, ofport, vlan) }, { chassis: begun.chassis, packet });
  }

  private *open(chassis: string): Asking<SwitchView> {
    let view = this.views.get(chassis);
    if (view === undefined) {
      view = yield* SwitchView.open(chassis, this.parts.engine, undefined);
      yield spread(view.preparing(), this.pace);
      this.views.set(chassis, view);
    }
    return view;
  }
}
