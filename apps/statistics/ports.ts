// What ports count. An OpenFlow port counts by itself, so a switch is asked once for all that it has; a sub-port of a trunk has none, and is counted by its flows.
// What a port has counted is gone with its interface, of which nobody is told before: switches are asked often, so that little is lost.
import { chassisTable, observed, timestampOf, vifTable, type FlowCount, type FlowCounts, type PortCount, type ServiceHost, type Vif } from "#app";
import { attachmentTable, portTable, type Attachment } from "../l2/model.ts";
import type { COUNTERS } from "./model.ts";

/** Milliseconds for which an answer of a switch is good for whoever asks next. */
const FRESH_MS = 1000;
/** Switches that are asked in a second though nobody looks, each once a second at most. */
const ASKED_A_SECOND = 50;
/** Ports that are no more and of which it is known what they had, until that is asked for. */
const ENDED = 10_000;
/** Network devices that are told from those that come in their place. */
const DEVICES = 100_000;

type Counts = Pick<FlowCount, "packets" | "bytes">;
type ByCounter = Readonly<Record<string, Counts>>;

interface Port {
  /** Another plugged later under the number has another, and so has the same one plugged anew. */
  readonly life: number;
  readonly durationS: number;
  /** By counter; undefined: its switch does not know now. */
  readonly counts: ByCounter | undefined;
  /** What it said last. */
  readonly last: ByCounter | undefined;
  /** It was looked at for somebody: what it had in the end is wanted. */
  looked: boolean;
}
/** What a switch said of its ports, by OpenFlow port. */
type Ports = ReadonlyMap<number, Port>;

/** As the machine sees it. */
function countsOf({ rx_packets, rx_bytes, tx_packets, tx_bytes }: PortCount): Port["counts"] {
  if (rx_packets === null || rx_bytes === null || tx_packets === null || tx_bytes === null) return undefined;
  return { sent: { packets: rx_packets, bytes: rx_bytes }, received: { packets: tx_packets, bytes: tx_bytes } } satisfies Record<(typeof COUNTERS.port)[number], Counts>;
}

interface Answer {
  /** Monotonic milliseconds, when it was asked for. */
  readonly at: number;
  readonly ports: Promise<Ports | undefined>;
}

/** Where a counter of a port was found. */
interface Place {
  readonly chassis: string;
  readonly ofport: number;
  readonly life: number;
  /** The network device: its counters are the host's, and go on whatever Open vSwitch does. */
  readonly key: string;
  /** How often that had begun anew. */
  readonly times: number;
  readonly ifindex: number | undefined;
}

interface Device {
  readonly life: number;
  /** As its host last said; undefined: not yet. */
  readonly ifindex: number | undefined;
  readonly counts: ByCounter;
  /** That it began anew. */
  readonly times: number;
}

export class PortCounts {
  private readonly host: ServiceHost;
  /** By chassis, of which there are as many as have ports that are counted. */
  private readonly answers = new Map<string, Answer>();
  /** What each said last; one that is silent for a while still has the ports that it had. */
  private readonly known = new Map<string, Ports>();
  /** By life of a port that is no more. */
  private readonly ended = new Map<number, ByCounter>();
  /** By counter and port, where it was the last time. */
  private readonly places = new Map<string, readonly Place[]>();
  private readonly devices = new Map<string, Device>();
  private born = 0;

  constructor(host: ServiceHost) {
    this.host = host;
    host.every(1, () => this.poll());
  }

  /** What a port has counted where it is, of packets that were received or sent by the machine behind it. */
  async of(id: string, counter: string, payer: string): Promise<FlowCounts> {
    const { view, clock } = this.host;
    const subPorts = await this.host.countsOf("port", id, counter, payer);
    if (subPorts.refused === true) return subPorts;
    const flows: FlowCount[] = [...subPorts.flows];
    const silent = [...subPorts.silent];
    const before = this.places.get(placed(counter, id)) ?? [];
    const here: Place[] = [];
    for (const at of view.by(attachmentTable, "port", id)) {
      if (at.role !== "active" || at.vlan !== null) continue;
      const ports = await this.at(at.chassis);
      const port = ports?.get(at.ofport);
      const counts = port?.counts?.[counter];
      if (counts !== undefined) {
        const place = { chassis: at.chassis, ofport: at.ofport, life: port!.life, ...this.deviceOf(id, at, port!) };
        port!.looked = true;
        flows.push(said(place, counts));
        here.push(place);
      } else if (ports === undefined || port !== undefined) {
        silent.push(at.chassis);
        here.push(...before.filter(({ chassis }) => chassis === at.chassis));
      }
    }
    const ended: FlowCount[] = [...(subPorts.ended ?? [])];
    for (const place of before) {
      if (here.some(({ chassis, key, times }) => chassis === place.chassis && key === place.key && times === place.times)) continue;
      const last = await this.last(place, counter);
      if (last !== undefined) ended.push(said(place, last));
    }
    // It may be gone by now.
    if (here.length > 0 && view.get(portTable, id) !== undefined) this.places.set(placed(counter, id), here);
    else this.places.delete(placed(counter, id));
    return { at: timestampOf(clock.now()), flows, ended, silent };
  }

  /**
   * One that is plugged anew goes on from what it had; with another ifindex, or where it has less of something, it is another one, or has begun anew itself. What a
   * host says of it, it may say later, and does not while its database is away: that alone makes it no other.
   */
  private deviceOf(portId: string, { chassis, ofport }: Attachment, { life, counts }: Port): Pick<Place, "key" | "times" | "ifindex"> {
    const { view } = this.host;
    const isIt = (vif: Vif): boolean => vif.chassis === chassis && vif.ofport === ofport;
    const vif = view.by(vifTable, "iface_id", portId).find(isIt) ?? view.by(vifTable, "chassis", chassis).find(isIt);
    const key = vif?.name ?? `port ${ofport}`;
    const id = `${chassis}/${key}`;
    const before = this.devices.get(id);
    const ifindex = observed(view, chassis, "Interface", key)?.ifindex ?? before?.ifindex;
    const had = before === undefined || before.life === life ? undefined : (this.ended.get(before.life) ?? before.counts);
    const anew = had !== undefined && ((before!.ifindex !== undefined && ifindex !== before!.ifindex) || Object.entries(had).some(([counter, { packets, bytes }]) => counts![counter]!.packets < packets || counts![counter]!.bytes < bytes));
    const times = (before?.times ?? 0) + (anew ? 1 : 0);
    keep(this.devices, DEVICES, id, { life, ifindex, counts: counts!, times });
    return { key, times, ifindex };
  }

  /** What a place had in the end: as it is now where the interface is there still, else as its switch said last. */
  private async last({ chassis, ofport, life }: Place, counter: string): Promise<Counts | undefined> {
    const port = ((await this.at(chassis)) ?? this.known.get(chassis))?.get(ofport);
    return (port?.life === life ? port.last : this.ended.get(life))?.[counter];
  }

  /** A port has left a host: what is known of it there from now on is asked for from now on. */
  leaves(chassis: string): void {
    const last = this.answers.get(chassis);
    if (last !== undefined) this.answers.set(chassis, { ...last, at: -Infinity });
  }

  private at(chassis: string, freshMs = FRESH_MS): Promise<Ports | undefined> {
    const now = this.host.clock.monotonic();
    const last = this.answers.get(chassis);
    if (last !== undefined && now - last.at < freshMs) return last.ports;
    const ports = this.ask(chassis);
    // The last is the one that was asked last.
    this.answers.delete(chassis);
    this.answers.set(chassis, { at: now, ports });
    return ports;
  }

  private poll(): void {
    for (const chassis of [...this.answers.keys()].slice(0, ASKED_A_SECOND)) {
      if (this.host.view.count(attachmentTable, "chassis", chassis) > 0) void this.at(chassis, FRESH_MS / 2);
      else this.answers.delete(chassis);
    }
  }

  private async ask(chassis: string): Promise<Ports | undefined> {
    const counts = await this.host.portCounts(chassis);
    if (counts === undefined) return undefined;
    const before = this.known.get(chassis);
    const ports = new Map(counts.map((count): [number, Port] => {
      const old = before?.get(count.port);
      // One that is younger than it was is another port, with a number that was free again.
      const same = old !== undefined && count.durationS >= old.durationS;
      const now = countsOf(count);
      return [count.port, { life: same ? old.life : ++this.born, durationS: count.durationS, counts: now, last: now ?? (same ? old.last : undefined), looked: same && old.looked }];
    }));
    for (const [number, port] of before ?? []) if (ports.get(number)?.life !== port.life) this.end(port);
    if (this.host.view.get(chassisTable, chassis) !== undefined) this.known.set(chassis, ports);
    return ports;
  }

  private end({ life, last, looked }: Port): void {
    if (looked && last !== undefined) keep(this.ended, ENDED, life, last);
  }

  forget(id: string, counter: string): void {
    this.places.delete(placed(counter, id));
  }

  forgetChassis(chassis: string): void {
    this.answers.delete(chassis);
    for (const port of this.known.get(chassis)?.values() ?? []) this.end(port);
    this.known.delete(chassis);
    for (const device of this.devices.keys()) if (device.startsWith(`${chassis}/`)) this.devices.delete(device);
  }
}

/** As the last; of more than so many the first go. */
function keep<K, V>(map: Map<K, V>, most: number, key: K, value: V): void {
  map.delete(key);
  map.set(key, value);
  for (const oldest of map.keys()) {
    if (map.size <= most) break;
    map.delete(oldest);
  }
}
const placed = (counter: string, id: string): string => `${counter}/${id}`;
const said = ({ chassis, key, times, ifindex }: Place, { packets, bytes }: Counts): FlowCount => ({ chassis, key, packets, bytes, lasting: times, ...(ifindex !== undefined && { device: ifindex }) });
