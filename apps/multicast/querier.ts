// Asks ports which groups they want, each network at a second of its own, and tells switches when to filter: once all ports of the network were asked, and had time to answer, while the switch
// was there to hear it. Nothing is kept of what they say. A controller that takes over from another asks at once and tells later: switches filter long enough for that.
import { hostSessionsTable, Shares, type Cancel, type LiveView, type PacketIn, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { attachmentTable, senderOf, toPort, type Attachment } from "../l2/model.ts";
import { queries } from "./messages.ts";
import { answerS, snoopedHostTable, snoopedTable, signal, type Snooped } from "./model.ts";
import { leaving, left } from "./packet-in.ts";

/** Ports that came within a second and are asked apart; those above are when all are. */
const NEWCOMERS_MAX = 10_000;
/** Seconds until a port has left that says so: Last Member Query Time, RFC 2236 section 8.8, twice that interval. A switch looks at what it counted each half of a second. */
const PARTING_S = 2;
/** Since when a chassis is asked, in a session: a switch that was away meanwhile may have lost what it knew. */
interface Asked {
  readonly at: number;
  readonly session: string | undefined;
}
/** So many at a time, shared among projects; those above are forgotten when they are not heard any more. */
const PARTING_MAX = 10_000;

export const querier: ServiceDecl = {
  name: "multicast-querier",
  about: "asks ports which multicast groups they want, and tells switches when to filter",
  start(host) {
    const asking = new Querier(host);
    host.onCommit([snoopedTable, attachmentTable], (changes) => {
      for (const { table, id, before, after } of changes) {
        if (table === snoopedTable) asking.look(id);
        else if (after !== undefined) asking.came(before as Attachment | undefined, after as Attachment);
      }
    });
    for (const { id } of host.view.all(snoopedTable)) asking.look(id);
    host.onPacket("multicast_punted", (packet) => asking.leaves(packet));
    return undefined;
  },
};

class Querier {
  private readonly host: ServiceHost;
  private readonly view: LiveView;
  /** Networks by the second, of the interval, in which they are asked. */
  private readonly bySecond = new Map<number, Set<string>>();
  private readonly second = new Map<string, number>();
  /** Since when the ports of a network are asked at a chassis that was there all the time, by network and chassis. */
  private readonly since = new Map<string, Map<string, Asked>>();
  /** Ports that came since the last turn, and before it: these have their flows. */
  private newcomers = new Set<string>();
  private ready = new Set<string>();
  /** Groups that ports are about to have left, with what takes that back. */
  private readonly parting = new Shares<Cancel>(PARTING_MAX);
  private turns = 0;
  /** Stops the turns: there are none where no network is filtered. */
  private stop: Cancel | undefined;

  constructor(host: ServiceHost) {
    this.host = host;
    this.view = host.view;
  }

  look(id: string): void {
    const network = this.view.get(snoopedTable, id);
    const before = this.second.get(id);
    if (network === undefined) {
      if (before !== undefined) this.bySecond.get(before)?.delete(id);
      this.second.delete(id);
      this.since.delete(id);
      if (this.second.size > 0) return;
      this.stop?.();
      this.stop = undefined;
      return;
    }
    if (before !== undefined) return;
    this.stop ??= this.host.every(1, () => this.turn());
    const second = network.key % network.queryS;
    this.second.set(id, second);
    this.bySecond.set(second, (this.bySecond.get(second) ?? new Set()).add(id));
  }

  came(before: Attachment | undefined, after: Attachment): void {
    if (before !== undefined && before.chassis === after.chassis && before.ofport === after.ofport) return;
    if (this.newcomers.size < NEWCOMERS_MAX && this.view.get(snoopedTable, after.network_id) !== undefined) this.newcomers.add(after.id);
  }

  /** A while later: what a switch counts of a report before, it may learn again until then. */
  leaves(packet: PacketIn): void {
    const owner = senderOf(this.view, packet)?.project_id ?? "";
    for (const group of leaving(packet, this.view)) {
      const id = `${packet.register("in_port_key")}|${group}`;
      if (this.parting.has(id) || !this.parting.admits(owner)) continue;
      // Not the packet itself, which may be long, waits.
      const { chassis } = packet;
      const said = left(packet, group);
      const cancel = this.host.after(PARTING_S, () => {
        this.parting.delete(id);
        if (this.host.masters(chassis)) this.host.send(said);
      });
      this.parting.put(id, owner, cancel)?.[1]();
    }
  }

  private turn(): void {
    const came = this.ready;
    this.ready = this.newcomers;
    this.newcomers = new Set();
    this.turns++;
    for (const id of came) this.askPort(id);
    const queryS = this.view.get(snoopedTable, this.second.keys().next().value!)?.queryS;
    for (const id of queryS === undefined ? [] : (this.bySecond.get(this.turns % queryS) ?? [])) {
      const network = this.view.get(snoopedTable, id);
      if (network !== undefined) this.ask(network);
    }
  }

  private ask({ id, key, queryS }: Snooped): void {
    const now = this.host.clock.monotonic();
    const before = this.since.get(id);
    const since = new Map<string, Asked>();
    const out: StageOut[] = [];
    const frames = queries(answerS(queryS));
    for (const { chassis } of this.view.by(snoopedHostTable, "network", id)) {
      if (!this.host.masters(chassis) || this.host.synced(chassis) === undefined) continue;
      const session = this.view.fact(hostSessionsTable, chassis)?.startedAt;
      const asked = before?.get(chassis);
      const first = asked?.session === session && asked !== undefined ? asked : { at: now, session };
      since.set(chassis, first);
      // The others' masters have asked theirs meanwhile too, each once in an interval.
      const answered = now - first.at >= (queryS + answerS(queryS)) * 1000;
      out.push(...frames.map((data, i): StageOut => ({ chassis, stage: "forward", registers: { net: key, from_tunnel: 1, from_network: 1, ...(answered && i === 0 && { router: signal.filter }) }, data })));
    }
    this.since.set(id, since);
    this.host.send(out);
  }

  /** What a machine that moved here wants nobody here knows. */
  private askPort(id: string): void {
    const at = this.view.get(attachmentTable, id);
    const network = at === undefined ? undefined : this.view.get(snoopedTable, at.network_id);
    if (at === undefined || network === undefined || !this.host.masters(at.chassis)) return;
    this.host.send(queries(answerS(Math.min(network.queryS, 2))).map((data) => toPort(at.chassis, at.net_key, at.port_key, data)));
  }
}
