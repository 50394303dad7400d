// What ports count. An OpenFlow port counts by itself, so a switch is asked once for all that it has; a sub-port of a trunk has none, and is counted by its flows.
import { timestampOf, type FlowCount, type FlowCounts, type PortCount, type ServiceHost } from "#app";
import { attachmentTable } from "../l2/model.ts";
import type { COUNTERS } from "./model.ts";

/** Milliseconds for which an answer of a switch is good for whoever asks next. */
const FRESH_MS = 1000;

type Counts = Pick<FlowCount, "packets" | "bytes">;
interface Port {
  /** Another plugged later under the number has another. */
  readonly key: string;
  readonly durationS: number;
  /** By counter; undefined: its switch does not know. */
  readonly counts: Readonly<Record<string, Counts>> | undefined;
}
/** What a switch said of its ports, by OpenFlow port. */
type Ports = ReadonlyMap<number, Port>;

/** As the machine sees it. */
function countsOf({ rx_packets, rx_bytes, tx_packets, tx_bytes }: PortCount): Port["counts"] {
  if (rx_packets === null || rx_bytes === null || tx_packets === null || tx_bytes === null) return undefined;
  return { sent: { packets: rx_packets, bytes: rx_bytes }, received: { packets: tx_packets, bytes: tx_bytes } } satisfies Record<(typeof COUNTERS.port)[number], Counts>;
}

interface Answer {
  /** Monotonic milliseconds. */
  readonly at: number;
  readonly ports: Promise<Ports | undefined>;
}

export class PortCounts {
  private readonly host: ServiceHost;
  /** By chassis, of which there are as many as have ports that are counted. */
  private readonly answers = new Map<string, Answer>();
  /** What each said last; one that is silent for a while still has the ports that it had. */
  private readonly known = new Map<string, Ports>();
  private born = 0;

  constructor(host: ServiceHost) {
    this.host = host;
  }

  /** What a port has counted where it is, of packets that were received or sent by the machine behind it. */
  async of(id: string, counter: string, payer: string): Promise<FlowCounts> {
    const { view, clock } = this.host;
    const subPorts = await this.host.countsOf("port", id, counter, payer);
    const flows: FlowCount[] = [...subPorts.flows];
    const silent = [...subPorts.silent];
    if (subPorts.refused === true) return subPorts;
    for (const at of view.by(attachmentTable, "port", id)) {
      if (at.role !== "active" || at.vlan !== null) continue;
      const ports = await this.at(at.chassis);
      const port = ports?.get(at.ofport);
      const counts = port?.counts?.[counter];
      if (counts !== undefined) flows.push({ chassis: at.chassis, key: port!.key, ...counts });
      else if (ports === undefined || port !== undefined) silent.push(at.chassis);
    }
    return { at: timestampOf(clock.now()), flows, silent };
  }

  private at(chassis: string): Promise<Ports | undefined> {
    const now = this.host.clock.monotonic();
    const last = this.answers.get(chassis);
    if (last !== undefined && now - last.at < FRESH_MS) return last.ports;
    const ports = this.ask(chassis);
    this.answers.set(chassis, { at: now, ports });
    return ports;
  }

  private async ask(chassis: string): Promise<Ports | undefined> {
    const counts = await this.host.portCounts(chassis);
    if (counts === undefined) return undefined;
    const before = this.known.get(chassis);
    const ports = new Map(counts.map((count): [number, Port] => {
      const old = before?.get(count.port);
      // One that is younger than it was is another port, with a number that was free again.
      const key = old !== undefined && count.durationS >= old.durationS ? old.key : `port ${++this.born}`;
      return [count.port, { key, durationS: count.durationS, counts: countsOf(count) }];
    }));
    this.known.set(chassis, ports);
    return ports;
  }

  forget(chassis: string): void {
    this.answers.delete(chassis);
    this.known.delete(chassis);
  }
}
