// What switches were told of neighbours that the model does not list, and may still believe. When somebody else says to have an address, or who
// has it is elsewhere, who was told is told again. A switch keeps so much of each network (l2's tables); so much is told of each port, and in all. What
// there is of both is shared out by the projects that send there: one of them does not keep the others from what they look for.
import { chassisTable, NO_MAC, Shares, type ServiceHost } from "#app";
import {
  activeAttachment, addressId, attachmentTable, heardNeighbourTable, isAnothers, learningTable, networkTable, mayClaim, NEIGHBOUR_S, portTable, tellNeighbour, type Attachment, type Network,
} from "../l2/model.ts";
import { routerInterfaceTable } from "./model.ts";

/** Neighbours that switches were told of and may still believe: in all, and of one port. */
const TOLD = 8192;
const TOLD_PER_PORT = 64;
/** Seconds between looks at what was heard; so many neighbours are looked at each time, those first that were not for longest. */
const REVIEW_S = 0.1;
const REVIEWED = 512;
/** The same of what was heard, for switches that are new to this controller, when it does not know what they were told before; and how often a switch is told something then, each time. */
const RECALL_S = 1;
const RECALLED = 1024;
const RECALLED_PACKETS = 4096;
/** Seconds between what is said of one neighbour: two that quarrel about an address keep no switch busy. */
const QUIET_S = 0.5;

export interface HeardHolder {
  readonly mac: string;
  readonly at: Pick<Attachment, "port_id" | "port_key" | "host_key">;
}
/** Nobody has it any more: a switch that is told so sends what is for it here again. */
const NOBODY: HeardHolder = { mac: NO_MAC, at: { port_id: "", port_key: 0, host_key: 0 } };

interface Told {
  readonly network: Pick<Network, "id" | "key">;
  readonly ip: string;
  /** Project because of which it was told. */
  readonly by: string;
  port: string;
  said: string;
  /** Until when nothing else is said of it. */
  quietMs: number;
  /** Chassis that was told -> until when it may believe it; and the first of these times. */
  readonly chassis: Map<string, number>;
  endsMs: number;
}

/** Who was heard to have an address, if the port may still say so and is somewhere. */
export function heardHolder(view: ServiceHost["view"], networkId: string, ip: string): HeardHolder | undefined {
  const heard = view.fact(heardNeighbourTable, addressId(networkId, ip));
  const port = heard === undefined ? undefined : view.get(portTable, heard.port_id);
  if (heard === undefined || port?.network_id !== networkId || !mayClaim(port, ip, heard.mac) || isAnothers(view, port, heard.mac)) return undefined;
  const at = activeAttachment(view, port.id);
  return at === undefined ? undefined : { mac: heard.mac, at };
}

export class Beliefs {
  private readonly entries = new Shares<Told>(TOLD);
  /** The same of each port. */
  private readonly ports = new Map<string, Shares<Told>>();
  /** In the order in which they are looked at. */
  private readonly turns = new Map<string, Told>();
  private readonly host: ServiceHost;
  private turn = 0;
  private watching = false;
  /** Chassis of which this controller is the master, and those of them that it took over: until when they may believe what they were told before. At the start that are all. */
  private mine: ReadonlySet<string>;
  private readonly taken = new Map<string, number>();
  private readonly startedMs: number;
  private recallMs = 0;

  constructor(host: ServiceHost) {
    this.host = host;
    this.startedMs = host.clock.monotonic();
    this.mine = this.mastered();
    host.onShare(() => this.takeOver());
  }

  private mastered(): ReadonlySet<string> {
    return new Set(Array.from(this.host.view.all(chassisTable), ({ id }) => id).filter((id) => this.host.masters(id)));
  }

  private takeOver(): void {
    const mine = this.mastered();
    for (const id of mine) if (!this.mine.has(id)) this.taken.set(id, this.host.clock.monotonic() + NEIGHBOUR_S * 1000);
    for (const id of this.taken.keys()) if (!mine.has(id)) this.taken.delete(id);
    this.mine = mine;
    this.watch();
  }

  /** Looks from now on, while there is anything to look at: who was told, or who may have been by another controller, or before the start. */
  watch(): void {
    if (this.watching || (this.turns.size === 0 && !(this.recalling() && hasAny(this.host.view.all(learningTable))))) return;
    this.watching = true;
    this.host.after(REVIEW_S, () => {
      this.watching = false;
      this.review();
      this.watch();
    });
  }

  private recalling(): boolean {
    const now = this.host.clock.monotonic();
    for (const [id, untilMs] of this.taken) if (untilMs <= now) this.taken.delete(id);
    return this.justStarted || this.taken.size > 0;
  }
  private get justStarted(): boolean {
    return this.host.clock.monotonic() - this.startedMs < NEIGHBOUR_S * 1000;
  }

  /** Tells chassis who has an address, because of a project. False: they are not told, since there is no room for more of this port, or in all. */
  tell(chassis: Iterable<string>, network: Told["network"], ip: string, holder: HeardHolder, by: string): boolean {
    const key = addressId(network.id, ip);
    let entry = this.entries.get(key);
    if (entry === undefined) {
      if (!this.entries.admits(by) || !this.ofPort(holder.at.port_id).admits(by)) return false;
      entry = { network, ip, by, port: holder.at.port_id, said: "", quietMs: 0, chassis: new Map(), endsMs: Infinity };
      this.countOf(key, entry);
      const gone = this.entries.put(key, by, entry);
      if (gone !== undefined) this.end(...gone);
      this.turns.set(key, entry);
      this.watch();
    }
    const untilMs = this.host.clock.monotonic() + NEIGHBOUR_S * 1000;
    const list = [...chassis];
    for (const id of list) entry.chassis.set(id, untilMs);
    entry.endsMs = Math.min(entry.endsMs, untilMs);
    if (entry.said !== said(holder)) this.say(key, entry, holder);
    else this.send(list, entry, holder);
    return true;
  }

  private ofPort(id: string): Shares<Told> {
    return this.ports.get(id) ?? new Shares<Told>(TOLD_PER_PORT);
  }
  /** Counts it as one of its port's, which admits it. */
  private countOf(key: string, entry: Told): void {
    const own = this.ofPort(entry.port);
    this.ports.set(entry.port, own);
    const gone = own.put(key, entry.by, entry);
    if (gone !== undefined) this.end(...gone);
  }
  private uncount(key: string, { port }: Told): void {
    const own = this.ports.get(port);
    own?.delete(key);
    if (own?.size === 0) this.ports.delete(port);
  }

  private forget(key: string, entry: Told): void {
    this.entries.delete(key);
    this.turns.delete(key);
    this.uncount(key, entry);
  }
  /** It is believed no longer. */
  private end(key: string, entry: Told): void {
    this.forget(key, entry);
    this.send(entry.chassis.keys(), entry, NOBODY);
  }

  private review(): void {
    const now = this.host.clock.monotonic();
    if (now >= this.recallMs && this.recalling()) {
      this.recallMs = now + RECALL_S * 1000;
      this.recall();
    }
    for (const [key, entry] of [...take(this.turns, REVIEWED)]) {
      // One that was said before may have ended it.
      if (!this.turns.delete(key)) continue;
      if (entry.endsMs <= now) this.expire(entry, now);
      if (entry.chassis.size === 0) this.forget(key, entry);
      else {
        this.turns.set(key, entry);
        this.compare(key, entry, now);
      }
    }
  }

  private expire(entry: Told, now: number): void {
    entry.endsMs = Infinity;
    for (const [chassis, untilMs] of entry.chassis) {
      if (untilMs <= now) entry.chassis.delete(chassis);
      else entry.endsMs = Math.min(entry.endsMs, untilMs);
    }
  }

  /** Somebody else says to have an address, or it is elsewhere: those who were told are told again. */
  private compare(key: string, entry: Told, now: number): void {
    if (now < entry.quietMs) return;
    const heard = this.host.view.fact(heardNeighbourTable, key) !== undefined;
    const holder = heard ? (heardHolder(this.host.view, entry.network.id, entry.ip) ?? NOBODY) : undefined;
    if (holder !== undefined && entry.said !== said(holder)) this.say(key, entry, holder);
  }

  /** What switches were told before this controller had them is not known, and they may believe it still: what was heard, the last first, is told to whoever may have asked. */
  private recall(): void {
    const { view } = this.host;
    const heard = view.facts(heardNeighbourTable);
    let packets = RECALLED_PACKETS;
    for (let n = heard.length - 1; n >= Math.max(0, heard.length - RECALLED) && packets > 0; n--) {
      const { id } = heard[n]!;
      const told = this.entries.get(id)?.chassis;
      const at = id.indexOf("/");
      const network = view.get(networkTable, id.slice(0, at));
      const holder = network === undefined ? undefined : heardHolder(view, network.id, id.slice(at + 1));
      if (network === undefined || holder === undefined || (told === undefined && !this.entries.admits(network.project_id))) continue;
      const chassis = [...routersOn(view, network.id)].filter((one) => (this.justStarted || this.taken.has(one)) && this.host.masters(one) && told?.has(one) !== true);
      packets -= chassis.length;
      if (chassis.length > 0) this.tell(chassis, network, id.slice(at + 1), holder, network.project_id);
    }
  }

  /** Says something new of an address to all who were told of it. */
  private say(key: string, entry: Told, holder: HeardHolder): void {
    const { port_id: port } = holder.at;
    if (holder !== NOBODY && port !== entry.port) {
      this.uncount(key, entry);
      if (!this.ofPort(port).admits(entry.by)) {
        this.end(key, entry);
        return;
      }
      entry.port = port;
      this.countOf(key, entry);
    }
    entry.said = said(holder);
    const now = this.host.clock.monotonic();
    entry.quietMs = now + QUIET_S * 1000;
    entry.endsMs = now + NEIGHBOUR_S * 1000;
    for (const chassis of entry.chassis.keys()) entry.chassis.set(chassis, entry.endsMs);
    this.send(entry.chassis.keys(), entry, holder);
  }

  private send(chassis: Iterable<string>, { network, ip }: Told, holder: HeardHolder): void {
    this.host.send(Array.from(chassis, (id) => tellNeighbour(id, network.key, ip, placeOf(holder), (this.turn = (this.turn + 1) >>> 0))));
  }
}

function* take<K, V>(map: ReadonlyMap<K, V>, count: number): IterableIterator<[K, V]> {
  let left = count;
  for (const entry of map) {
    if (left-- === 0) return;
    yield entry;
  }
}

const hasAny = (rows: Iterable<unknown>): boolean => {
  for (const _ of rows) return true;
  return false;
};

/** Chassis with ports of any network of a router on this one. */
function routersOn(view: ServiceHost["view"], network: string): ReadonlySet<string> {
  const routers = new Set(view.by(routerInterfaceTable, "network", network).map((i) => i.router_id));
  const networks = new Set([...routers].flatMap((router) => view.by(routerInterfaceTable, "router", router).map((i) => i.network_id)));
  return new Set([...networks].flatMap((id) => view.pairKeys(attachmentTable, "network_chassis", id)));
}
const placeOf = ({ mac, at }: HeardHolder): { readonly mac: string; readonly port: number; readonly host: number } => ({ mac, port: at.port_key, host: at.host_key });
const said = ({ mac, at }: HeardHolder): string => `${mac} ${at.port_key} ${at.host_key}`;
