// What switches send up of logged ports becomes lines in the controller's log, and entries that are kept for a while.
import { defineCounter, learned, timestampOf, type PacketIn, type ReadView, type ServiceDecl, type ServiceHost } from "#app";
import { PacketError, parsePacket } from "packet-codec";
import { portTable, type Port } from "../l2/model.ts";
import { allowing, type Allowing } from "./allowing.ts";
import { isOf, logEntries, logsOf, type Event, type Log, type LoggedPacket } from "./model.ts";
import type { LogTable } from "./tables.ts";

const TABLES: Readonly<Record<LogTable, { readonly event: Event; readonly direction: "ingress" | "egress" }>> = {
  log_out_accepted: { event: "ACCEPT", direction: "egress" }, log_out_dropped: { event: "DROP", direction: "egress" },
  log_in_accepted: { event: "ACCEPT", direction: "ingress" }, log_in_dropped: { event: "DROP", direction: "ingress" },
};
/** Lines a second, of a project and of all. What is beyond them is counted. */
const LINES = { project: 100, all: 500 };
const SECOND_MS = 1000;
export const lostCounter = defineCounter({ name: "axion_security_log_lost_total", about: "entries of logs that were beyond what is written in a second", label: "event", values: ["ACCEPT", "DROP"] });

type Seen = Omit<LoggedPacket, "rules">;

/** Undefined: it is no IP packet that can be read. */
function seenOf(packet: PacketIn, port_id: string, at: string): Seen | undefined {
  const { event, direction } = TABLES[packet.table as LogTable];
  try {
    const { ipv4, ipv6, tcp, udp, icmpv4, icmpv6 } = parsePacket(packet.data);
    const ip = ipv4 ?? ipv6;
    if (ip === undefined) return undefined;
    const ports = tcp ?? udp;
    const icmp = icmpv4 ?? icmpv6;
    return {
      at, event, direction, port_id, ethertype: ipv4 === undefined ? "IPv6" : "IPv4", protocol: ipv4?.protocol ?? ipv6!.next_header, source: ip.src, destination: ip.dst,
      source_port: ports?.src_port ?? null, destination_port: ports?.dst_port ?? null, icmp_type: icmp?.type ?? null, icmp_code: icmp?.code ?? null,
    };
  } catch (error) {
    if (error instanceof PacketError) return undefined;
    throw error;
  }
}

class Logs {
  private readonly host: ServiceHost;
  private n = 0;
  private secondMs = -Infinity;
  private readonly lines = new Map<string, number>();
  private total = 0;

  constructor(host: ServiceHost) {
    this.host = host;
  }

  take(packet: PacketIn): void {
    const { view } = this.host;
    const port = portOf(view, packet);
    const seen = port === undefined ? undefined : seenOf(packet, port.id, timestampOf(this.host.clock.now()));
    if (port === undefined || seen === undefined) return;
    let found: Allowing | undefined;
    for (const log of logsOf(view, port)) {
      if (!isOf(log.event, seen.event)) continue;
      // Before rules are looked at: a flood shall cost no more than it may write.
      if (!this.mayWrite(log.project_id)) {
        this.host.count(lostCounter, seen.event);
        continue;
      }
      if (seen.event === "ACCEPT") found ??= allowing(view, seen);
      // What another group of the port allows is not this one's.
      if (found !== undefined && log.resource_id !== null && !found.groups.has(log.resource_id)) continue;
      this.write(log, packet.chassis, { ...seen, rules: found?.rules ?? [] });
    }
  }

  private write({ id: log_id, project_id, resource_id }: Log, chassis: string, packet: LoggedPacket): void {
    this.lines.set(project_id, (this.lines.get(project_id) ?? 0) + 1);
    this.total++;
    this.host.log.info({ log: log_id, project: project_id, group: resource_id, switch: chassis, ...packet }, "security group event");
    this.host.learn([learned(logEntries, project_id, { id: `${this.host.clock.now()}-${++this.n}`, log_id, project_id, switch: chassis, packet })]);
  }

  private mayWrite(project: string): boolean {
    const now = this.host.clock.monotonic();
    if (now - this.secondMs >= SECOND_MS) {
      this.secondMs = now;
      this.lines.clear();
      this.total = 0;
    }
    return (this.lines.get(project) ?? 0) < LINES.project && this.total < LINES.all;
  }
}

/** Which register has the port that is logged. */
const keyOf = (table: LogTable) => (TABLES[table].direction === "egress" ? "in_port_key" : "out_port_key");
const portOf = (view: ReadView, packet: PacketIn): Readonly<Port> | undefined => view.by(portTable, "key", String(packet.register(keyOf(packet.table as LogTable))))[0];

export const securityLog: ServiceDecl = {
  name: "security-log",
  about: "writes what security groups accept and drop of logged ports",
  start(host) {
    const logs = new Logs(host);
    for (const table of Object.keys(TABLES) as LogTable[]) host.onPacket(table, (packet) => logs.take(packet), { perPort: 64, owner: (packet) => portOf(host.view, packet)?.project_id, port: keyOf(table) });
    return undefined;
  },
};
