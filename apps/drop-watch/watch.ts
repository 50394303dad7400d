// Asks switches what they have dropped of packets of ports, host by host in turns, and keeps what comes of it as facts. What is asked are flows that drop for one
// port each: a few for a port, found by rule and table.
import { chassisTable, learned, timestampOf, type DropCount, type Fact, type ServiceDecl, type ServiceHost } from "#app";
import { attachmentTable, portTable } from "../l2/model.ts";
import { dropId, dropTable, type DropSeen } from "./model.ts";
import { Recent } from "./recent.ts";

const TICK_S = 0.5;
/** Milliseconds between two looks at a host, at least. */
const LOOK_MS = 2000;
/** Hosts that are asked in a second, and ports of which they are, in all. */
const HOSTS_A_SECOND = 100;
const PORTS_A_SECOND = 5000;
/** Milliseconds of a tick after which no more are asked; those that wait longest are first in the next. */
const AT_ONCE_MS = 10;
/** Ports of one host of which one look is longer than LOOK_MS apart from the next by as much. */
const PORTS_A_LOOK = 1000;

interface Watched {
  /** When it is to be looked at again, and how long that is after the look before. */
  dueMs: number;
  everyMs: number;
  looking: boolean;
  connected: boolean;
  /** A first look says what was, not when. */
  looked: boolean;
  /** What has dropped anything, by id of its fact. */
  readonly recent: Map<string, Recent>;
}

interface Sum {
  readonly port: string;
  readonly reason: string;
  packets: number;
  bytes: number;
}

class Watch {
  private readonly host: ServiceHost;
  private readonly hosts = new Map<string, Watched>();
  private allowed = { hosts: 0, ports: 0 };

  constructor(host: ServiceHost) {
    this.host = host;
    host.every(TICK_S, () => this.tick());
  }

  private tick(): void {
    const { view, clock } = this.host;
    const now = clock.monotonic();
    this.allowed = { hosts: Math.min(HOSTS_A_SECOND, this.allowed.hosts + HOSTS_A_SECOND * TICK_S), ports: Math.min(PORTS_A_SECOND, this.allowed.ports + PORTS_A_SECOND * TICK_S) };
    const due: [string, Watched][] = [];
    for (const { id } of view.all(chassisTable)) {
      let of = this.hosts.get(id);
      if (of === undefined) this.hosts.set(id, (of = { dueMs: now, everyMs: LOOK_MS, looking: false, connected: true, looked: false, recent: new Map() }));
      const connected = this.host.synced(id) !== undefined;
      if (!connected && of.connected) this.lost(id, of, now);
      of.connected = connected;
      if (connected && !of.looking && of.dueMs <= now) due.push([id, of]);
    }
    for (const [id, { recent }] of this.hosts) if (view.get(chassisTable, id) === undefined) this.gone(id, recent);
    due.sort(([, a], [, b]) => a.dueMs - b.dueMs);
    for (const [id, of] of due) {
      // What is owed is paid by those that come later.
      if (this.allowed.hosts < 1 || this.allowed.ports <= 0 || this.host.clock.monotonic() - now >= AT_ONCE_MS) break;
      const ports = view.by(attachmentTable, "chassis", id).filter(({ role }) => role === "active");
      if (ports.length > 0) {
        this.allowed.hosts--;
        this.allowed.ports -= ports.length;
      }
      of.everyMs = Math.max(LOOK_MS, now - of.dueMs + LOOK_MS, (LOOK_MS * ports.length) / PORTS_A_LOOK);
      of.dueMs = now + Math.max(LOOK_MS, (LOOK_MS * ports.length) / PORTS_A_LOOK);
      void this.look(id, of, new Map(ports.map((at) => [at.id, at.port_id])));
    }
  }

  private async look(id: string, of: Watched, ports: ReadonlyMap<string, string>): Promise<void> {
    if (ports.size === 0 && of.recent.size === 0) return;
    of.looking = true;
    try {
      const counts = ports.size === 0 ? [] : await this.host.dropCounts(id, [...ports.keys()]);
      if (counts !== undefined && this.hosts.get(id) === of) this.take(id, of, ports, counts);
    } finally {
      of.looking = false;
    }
  }

  private take(id: string, of: Watched, ports: ReadonlyMap<string, string>, counts: readonly DropCount[]): void {
    const now = this.host.clock.monotonic();
    const sums = new Map<string, Sum>();
    for (const { entity, reason, packets, bytes } of counts) {
      const port = ports.get(entity)!;
      const key = dropId(port, reason);
      const sum = sums.get(key);
      if (sum === undefined) sums.set(key, { port, reason, packets, bytes });
      else [sum.packets, sum.bytes] = [sum.packets + packets, sum.bytes + bytes];
    }
    const facts: Fact[] = [];
    for (const [key, sum] of sums) {
      let recent = of.recent.get(key);
      if (recent === undefined) {
        if (sum.packets === 0) continue;
        of.recent.set(key, (recent = new Recent(of.looked ? 0 : sum.packets)));
      } else if (sum.packets === recent.packets && !recent.moves) continue;
      recent.look(sum.packets, sum.bytes, now, of.everyMs);
      facts.push(...this.factOf(id, sum.port, sum.reason, recent, now));
    }
    of.looked = true;
    this.host.learn(facts);
    this.gone(id, new Map([...of.recent].filter(([key]) => !sums.has(key))));
  }

  private factOf(at: string, portId: string, reason: string, recent: Recent, now: number): Fact[] {
    const port = this.host.view.get(portTable, portId);
    if (port === undefined) return [];
    const text = (ms: number | undefined): string | null => (ms === undefined ? null : timestampOf(this.host.clock.now() - (now - ms)));
    const persistent = reason === "no_ipv6" ? undefined : recent.persistentMs;
    const row: DropSeen = {
      id: dropId(portId, reason), port_id: portId, project_id: port.project_id, switch: at, reason, packets: recent.packets, bytes: recent.bytes,
      per_second: recent.perSecond(now), last_minute: recent.lastMinute(), last_seen: text(recent.lastSeenMs), persistent_since: text(persistent),
    };
    return [learned(dropTable, port.project_id, row)];
  }

  /** Of a host that is not connected nobody can tell what it drops. */
  private lost(id: string, { recent }: Watched, now: number): void {
    const facts: Fact[] = [];
    for (const [key, one] of recent) {
      if (!one.moves) continue;
      one.forget();
      const fact = this.host.view.fact(dropTable, key);
      if (fact?.switch === id) facts.push(...this.factOf(id, fact.port_id, fact.reason, one, now));
    }
    this.host.learn(facts);
  }

  /** Ports that are not at a host any more, or a host that is not. */
  private gone(id: string, recent: ReadonlyMap<string, unknown>): void {
    const of = this.hosts.get(id);
    if (this.host.view.get(chassisTable, id) === undefined) this.hosts.delete(id);
    const ids = [...recent.keys()];
    for (const key of ids) of?.recent.delete(key);
    // A port that moved is told of by where it is now.
    const own = ids.filter((key) => this.host.view.fact(dropTable, key)?.switch === id);
    if (own.length > 0) this.host.forget(dropTable, own);
  }
}

export const dropWatch: ServiceDecl = {
  name: "drop-watch",
  about: "asks switches what they drop of packets of ports, and tells what goes on",
  start(host) {
    new Watch(host);
    return undefined;
  },
};
