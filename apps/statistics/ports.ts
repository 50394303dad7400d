// What ports count. An OpenFlow port counts by itself, so a switch is asked once for all that it has; a sub-port of a trunk has none, and is counted by its flows.
import type { FlowCount, FlowCounts, PortCount, ServiceHost } from "#app";
import { timestampOf } from "#app";
import { attachmentTable } from "../l2/model.ts";

/** Milliseconds for which an answer of a switch is good for whoever asks next. */
const FRESH_MS = 1000;

/** What a switch said of its ports, by OpenFlow port. */
type Ports = ReadonlyMap<number, PortCount & { readonly key: string }>;

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
    for (const at of view.by(attachmentTable, "port", id)) {
      if (at.role !== "active" || at.vlan !== null) continue;
      const ports = await this.at(at.chassis);
      const port = ports?.get(at.ofport);
      if (ports === undefined) silent.push(at.chassis);
      else if (port !== undefined) {
        const [packets, bytes] = counter === "sent" ? [port.rx_packets, port.rx_bytes] : [port.tx_packets, port.tx_bytes];
        flows.push({ chassis: at.chassis, key: port.key, packets, bytes });
      }
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
    const ports = new Map(counts.map((count) => {
      const old = before?.get(count.port);
      // One that is younger than it was is another port, with a number that was free again.
      const key = old !== undefined && count.durationS >= old.durationS ? old.key : `port ${++this.born}`;
      return [count.port, { ...count, key }];
    }));
    this.known.set(chassis, ports);
    return ports;
  }

  forget(chassis: string): void {
    this.answers.delete(chassis);
    this.known.delete(chassis);
  }
}
