// Sends probes from host to host by the tunnels that there are, and keeps what comes of them as facts. A probe is a frame that the controller has one switch put into
// a tunnel and that the other sends up: who tells of it is known by its session, and its number nobody has who has not seen it. Nothing of it is stored, and no flow
// depends on it; a controller that starts knows nothing of any tunnel, and asks.
import { chassisTable, learned, timestampOf, type Chassis, type EncapType, type PacketIn, type ServiceDecl, type ServiceHost, type StageOut } from "#app";
import { attachmentTable, fromScope, hostScope, networkHostTable, networkTable, portTable, segmentTable } from "../l2/model.ts";
import { byEncapScope, notOut, outerHeaders, overlaySettings, profileTable, sharedEncap, toTunnel } from "../overlay/model.ts";
import { LEAST, nonceOf, probeFrame } from "./frames.ts";
import { forgedTable, PEERS_MAX, TUNNELS_MAX, tunnelId, tunnelSettings, tunnelTable } from "./model.ts";
import { Tunnel, watched, type TunnelEnds } from "./tunnel.ts";
import { Turns } from "./turns.ts";

/** Seconds between looks while there are tunnels, and while there are none. */
const LOOK_S = 0.2;
const IDLE_S = 1;
/** A look that comes so much later than it should has not heard what came meanwhile. */
const LATE_MS = 400;
/** A probe that has not come by then is lost; one that comes after all counts until it is forgotten. */
const LOST_MS = 1000;
const FORGOTTEN_MS = 5000;
/** Milliseconds between questions to a host how long the way to it and back takes, and between looks at which hosts have tunnels. */
const ROUND_MS = 10_000;
const SWEEP_MS = 1000;
/** Pairs of hosts that one look goes through for tunnels, facts that it writes, and hosts that it asks; and milliseconds that each of the first two may take. */
const PAIRS_AT_ONCE = 2000;
const FACTS_AT_ONCE = 2000;
const AT_ONCE_MS = 4;
/** Facts that are written before the time is looked at. */
const FACTS_A_PIECE = 100;
const ASKED_AT_ONCE = 20;
/** Looks in which each host is looked at once, whether it is connected: a second. */
const LOOKS = 5;
/** Fastest of so many ways to a host and back. */
const ROUNDS = 8;
/**
 * Probes to one host that nobody sent, in so many milliseconds, by which what is lost there says nothing. Every controller hears those of all, and knows its own: of the
 * others each has a mark in its numbers, and sends fewer (turns.ts).
 */
const FORGED = 100;
const FORGED_MS = 5000;
/** Hexadecimal digits of the mark; marks that there may be. */
const MARK = 8;
const MARKS_MAX = 64;
/** More than comes at the rates that meters let through of hosts that tell the truth. */
const WAITING_MAX = 4096;
/** Bytes of the largest frame that a packet-out has room for. */
const FRAME_MAX = 64_000;

interface Underway {
  /** undefined: to the host and back. */
  readonly tunnel: Tunnel | undefined;
  readonly host: string;
  readonly size: number;
  readonly sentMs: number;
  /** What the controller had been late by in all. */
  readonly lateMs: number;
  missed: boolean;
}

/** A host that some tunnel is from or to. */
interface Host {
  /** How many are, and those that are from it. */
  ends: number;
  readonly tunnels: Map<string, Tunnel>;
  /** Milliseconds to it and back, the last few. */
  rounds: number[];
  askedMs: number;
  connected: boolean;
  /** By the mark of who seems to have sent them, probes that this controller did not send, or not now. */
  readonly strange: Map<string, number>;
  forgedMs: number;
}

const byAny: readonly EncapType[] = ["geneve", "vxlan", "gre"];
const sharedBy = new Map<string, EncapType | undefined>();
/** The one that two hosts share: there are few lists, and many pairs. */
function sharedOf(a: readonly EncapType[], b: readonly EncapType[]): EncapType | undefined {
  if (a.length === 1 && b.length === 1) return a[0] === b[0] ? a[0] : undefined;
  const key = `${a.join()} ${b.join()}`;
  if (!sharedBy.has(key)) sharedBy.set(key, sharedEncap(a, b));
  return sharedBy.get(key);
}
const profileOf = (c: Readonly<Chassis>): string => `${c.encap_types.join(",")}/${familyOf(c)}`;
const familyOf = (c: Readonly<Chassis>): 4 | 6 => (c.encap_ip.includes(":") ? 6 : 4);

class Watch {
  private readonly host: ServiceHost;
  private readonly turns: Turns;
  private readonly hosts = new Map<string, Host>();
  private readonly underway = new Map<string, Underway>();
  private readonly mark: Buffer;
  private readonly dirty = new Set<Tunnel>();
  /** Hosts that are yet to be looked at in this sweep. */
  private sweep: Iterator<string> | undefined;
  private sweptMs = -Infinity;
  private chassis = 0;
  private tunnels = 0;
  private lookedMs: number;
  private looks = 0;
  private lateMs = 0;

  constructor(host: ServiceHost) {
    this.host = host;
    this.lookedMs = host.clock.monotonic();
    this.mark = host.random.bytes(MARK / 2);
    this.turns = new Turns(host.view.settings(tunnelSettings)["tunnel-probes"], this.lookedMs);
  }

  start(): void {
    const { host } = this;
    host.onPacket("tunnel_probe", (packet) => this.take(packet), { perPort: WAITING_MAX, total: 16 * WAITING_MAX });
    // Where tunnels end elsewhere they are others.
    host.onCommit([chassisTable], (changes) => {
      for (const { id, before, after } of changes) if (!isSameEnd(before as Chassis | undefined, after as Chassis | undefined)) this.drop(id);
    });
    host.onCommit([attachmentTable, networkHostTable, profileTable, portTable, networkTable, segmentTable], () => void (this.sweptMs = -Infinity));
    this.again();
  }

  private again(): void {
    this.host.after(this.tunnels > 0 ? LOOK_S : IDLE_S, () => {
      this.again();
      this.look();
    });
  }

  private look(): void {
    const now = this.host.clock.monotonic();
    const late = now - this.lookedMs - (this.tunnels > 0 ? LOOK_S : IDLE_S) * 1000;
    this.lookedMs = now;
    if (late > LATE_MS) this.lateMs += late;
    this.findTunnels(now);
    this.lookAtHosts();
    this.judge(now);
    this.askHosts(now);
    this.probe(now);
    this.write();
  }

  // --- which tunnels there are --------------------------------------------------------------------------------------

  /** Some hosts at a time. What a change of the model brings about is looked for at once, what else may have within a second. */
  private findTunnels(now: number): void {
    const { view } = this.host;
    if (this.sweep === undefined) {
      if (now - this.sweptMs < SWEEP_MS) return;
      this.sweptMs = now;
      const all = new Set([...Array.from(view.all(chassisTable), ({ id }) => id), ...this.hosts.keys()]);
      this.chassis = all.size;
      this.sweep = all.values();
    }
    for (let pairs = 0; pairs < PAIRS_AT_ONCE && this.host.clock.monotonic() - now < AT_ONCE_MS;) {
      const next = this.sweep.next();
      if (next.done === true) {
        this.sweep = undefined;
        return;
      }
      pairs += 1 + this.findTunnelsOf(next.value);
    }
  }

  /** How many hosts were looked at for it. */
  private findTunnelsOf(id: string): number {
    const { view } = this.host;
    const from = view.get(chassisTable, id);
    const peers = from === undefined ? [] : [...this.host.having(fromScope(id))].flatMap((to) => (to === id ? [] : (view.get(chassisTable, to) ?? [])));
    const known = this.hosts.get(id);
    const wanted = new Map(from === undefined ? [] : this.wantedOf(from, peers).map((ends) => [tunnelId(ends.from, ends.to, ends.type), ends]));
    if (wanted.size === (known?.tunnels.size ?? 0) && [...wanted.keys()].every((tunnel) => known!.tunnels.has(tunnel))) return peers.length;
    for (const tunnel of known?.tunnels.keys() ?? []) if (!wanted.has(tunnel)) this.end(known!, tunnel);
    for (const [tunnel, ends] of wanted) {
      if (known?.tunnels.has(tunnel) === true || this.tunnels >= TUNNELS_MAX) continue;
      const made = new Tunnel(ends, this.host.clock.now());
      this.hostOf(id).tunnels.set(tunnel, made);
      for (const end of [id, ends.to]) this.hostOf(end).ends++;
      this.tunnels++;
      this.dirty.add(made);
    }
    this.order(id, wanted);
    return peers.length;
  }

  private order(id: string, wanted: ReadonlyMap<string, unknown>): void {
    const host = this.hosts.get(id);
    this.turns.set(id, [...wanted.keys()].flatMap((tunnel) => host?.tunnels.get(tunnel) ?? []));
  }

  /** Those that a host has, the hosts nearest by key of as many as are watched. */
  private wantedOf(from: Readonly<Chassis>, peers: readonly Readonly<Chassis>[]): TunnelEnds[] {
    const most = Math.max(2, Math.min(PEERS_MAX, Math.floor(TUNNELS_MAX / this.chassis)));
    const { mtu } = this.host.view.settings(overlaySettings);
    const reached = peers.filter((to) => byAny.some((type) => this.isTunnel(from, to, type)));
    return watched(from.key, reached, most).flatMap((to) => byAny.filter((type) => this.isTunnel(from, to, type)).map((type) => {
      const headers = outerHeaders(type, familyOf(to));
      return { from: from.id, to: to.id, fromKey: from.key, toKey: to.key, type, shared: type === sharedOf(from.encap_types, to.encap_types), least: LEAST + headers, most: Math.min(mtu, FRAME_MAX) };
    }));
  }

  /** Whether a host sends to another by an encapsulation, and that takes what it sends. */
  private isTunnel(from: Readonly<Chassis>, to: Readonly<Chassis>, type: EncapType): boolean {
    const { host } = this;
    if (from.encap_ip === "" || to.encap_ip === "" || familyOf(from) !== familyOf(to) || !from.encap_types.includes(type) || !to.encap_types.includes(type)) return false;
    return host.has(to.id, fromScope(from.id)) && host.has(from.id, type === sharedOf(from.encap_types, to.encap_types) ? hostScope(to.key, profileOf(from)) : byEncapScope(to.key, type));
  }

  private hostOf(id: string): Host {
    let host = this.hosts.get(id);
    if (host === undefined) this.hosts.set(id, (host = { ends: 0, tunnels: new Map(), rounds: [], askedMs: -Infinity, connected: true, strange: new Map(), forgedMs: 0 }));
    return host;
  }

  private end(host: Host, id: string): void {
    const tunnel = host.tunnels.get(id)!;
    tunnel.gone = true;
    host.tunnels.delete(id);
    this.tunnels--;
    for (const at of [tunnel.ends.from, tunnel.ends.to]) if (--this.hostOf(at).ends === 0) this.hosts.delete(at);
    this.dirty.delete(tunnel);
    this.host.forget(tunnelTable, [id]);
  }

  /** All that a host has to do with; what there is then is found anew. */
  private drop(id: string): void {
    for (const [from, host] of this.hosts) {
      const before = host.tunnels.size;
      for (const [tunnel, { ends }] of host.tunnels) if (from === id || ends.to === id) this.end(host, tunnel);
      if (host.tunnels.size !== before) this.order(from, new Map(host.tunnels));
    }
    this.sweptMs = -Infinity;
  }

  // --- hosts --------------------------------------------------------------------------------------------------------

  /** Of a host that is not connected nobody can tell how its tunnels are. */
  private lookAtHosts(): void {
    const changed = new Set<string>();
    const turn = this.looks++ % LOOKS;
    let n = 0;
    for (const [id, host] of this.hosts) {
      if (n++ % LOOKS !== turn) continue;
      const connected = this.host.synced(id) !== undefined;
      if (connected !== host.connected) changed.add(id);
      host.connected = connected;
      if (!connected) host.rounds = [];
    }
    if (changed.size === 0) return;
    for (const [id, { tunnels }] of this.hosts) for (const tunnel of tunnels.values()) if (changed.has(id) || changed.has(tunnel.ends.to)) this.forget(tunnel);
  }

  private forget(tunnel: Tunnel): void {
    tunnel.forget(this.host.clock.now());
    this.dirty.add(tunnel);
  }

  private distrust(tunnel: Tunnel): void {
    tunnel.distrust(this.host.clock.now());
    this.dirty.add(tunnel);
  }

  /** How long the way to a host and back takes: what of a probe's time is not the tunnel's. */
  private askHosts(now: number): void {
    let left = Math.min(ASKED_AT_ONCE, this.turns.allowance(now));
    for (const [id, host] of this.hosts) {
      if (left <= 0) break;
      if (now - host.askedMs < (host.rounds.length < 2 ? LOST_MS : ROUND_MS) || this.host.synced(id) !== true || !this.host.masters(id)) continue;
      host.askedMs = now;
      left--;
      this.turns.spend(1);
      this.send(undefined, id, LEAST, { chassis: id, stage: "locate", registers: notOut }, LEAST);
    }
  }

  private aroundOf({ ends: { from, to } }: Tunnel): number | undefined {
    const [a, b] = [from, to].map((id) => this.hosts.get(id)?.rounds ?? []) as [number[], number[]];
    return a.length === 0 || b.length === 0 ? undefined : (Math.min(...a) + Math.min(...b)) / 2;
  }

  // --- probes -------------------------------------------------------------------------------------------------------

  /** One at a time, so that its time begins when it goes. */
  private send(tunnel: Tunnel | undefined, host: string, size: number, out: Omit<StageOut, "data">, length: number): void {
    const nonce = Buffer.concat([this.mark, this.host.random.bytes(16 - this.mark.length)]);
    const data = probeFrame(nonce, length);
    this.underway.set(nonce.toString("hex"), { tunnel, host, size, sentMs: this.host.clock.monotonic(), lateMs: this.lateMs, missed: false });
    this.host.send([{ ...out, data }]);
  }

  private probe(now: number): void {
    for (const tunnel of this.turns.take(now, (t) => this.may(t))) {
      const { from, to, toKey, type, shared, least } = tunnel.ends;
      const size = tunnel.next();
      this.send(tunnel, to, size, { chassis: from, stage: "locate", registers: toTunnel({ key: toKey }, shared ? undefined : type) }, LEAST + size - least);
    }
  }

  /** Whether a probe that does not arrive would say something: the switches have what they should have, and that is this tunnel. */
  private may({ ends: { from, to, type } }: Tunnel): boolean {
    const [a, b] = [from, to].map((id) => this.host.view.get(chassisTable, id));
    return a !== undefined && b !== undefined && this.host.synced(from) === true && this.host.synced(to) === true && this.host.masters(from) && !this.isFlooded(to) && this.isTunnel(a, b, type);
  }

  private take(packet: PacketIn): void {
    const now = this.host.clock.monotonic();
    const nonce = nonceOf(packet.data);
    const probe = nonce === undefined ? undefined : this.underway.get(nonce);
    if (probe?.host !== packet.chassis) {
      this.strange(packet.chassis, (nonce ?? "").slice(0, MARK), now);
      return;
    }
    this.underway.delete(nonce!);
    const { tunnel, size, sentMs } = probe;
    if (tunnel === undefined) {
      const rounds = this.hosts.get(probe.host)?.rounds;
      if (rounds !== undefined && rounds.push(now - sentMs) > ROUNDS) rounds.shift();
      return;
    }
    if (tunnel.gone) return;
    const before = tunnel.state;
    tunnel.heard(size, now - sentMs, this.host.clock.now());
    this.told(tunnel, before);
    // What comes late was given up already, and the next is under way.
    if (!probe.missed) this.turns.done(tunnel, now);
  }

  /** What is over its time is lost; time in which the controller itself was held up does not count. */
  private judge(now: number): void {
    for (const [nonce, probe] of this.underway) {
      const waitedMs = now - probe.sentMs - (this.lateMs - probe.lateMs);
      if (waitedMs < LOST_MS) break;
      if (waitedMs >= FORGOTTEN_MS) this.underway.delete(nonce);
      if (probe.missed) continue;
      probe.missed = true;
      const { tunnel } = probe;
      if (tunnel === undefined || tunnel.gone) continue;
      const before = tunnel.state;
      // A host that went away meanwhile, or whose meter is full of what nobody sent, loses it whatever the tunnel is.
      if (this.host.synced(tunnel.ends.from) !== undefined && this.host.synced(tunnel.ends.to) !== undefined && !this.isFlooded(tunnel.ends.to)) tunnel.missed(probe.size, this.host.clock.now());
      this.told(tunnel, before);
      this.turns.done(tunnel, now);
    }
  }

  private told(tunnel: Tunnel, before: Tunnel["state"]): void {
    this.dirty.add(tunnel);
    if (tunnel.state === before || before === "unknown") return;
    const { from, to, type } = tunnel.ends;
    if (tunnel.state === "down") this.host.log.warn({ from, to, type }, "tunnel is down");
    else this.host.log.info({ from, to, type }, "tunnel is up");
  }

  // --- who lies -----------------------------------------------------------------------------------------------------

  private strange(chassis: string, mark: string, now: number): void {
    const host = this.hosts.get(chassis);
    if (host === undefined) return;
    if (now - host.forgedMs > FORGED_MS) {
      host.strange.clear();
      host.forgedMs = now;
    }
    const count = (host.strange.get(mark) ?? 0) + 1;
    if (host.strange.size < MARKS_MAX || host.strange.has(mark)) host.strange.set(mark, count);
    const isForged = host.strange.size >= MARKS_MAX || count % FORGED === 0;
    if (!isForged) return;
    if (!this.isFlooded(chassis)) for (const { tunnels } of this.hosts.values()) for (const tunnel of tunnels.values()) if (tunnel.ends.to === chassis) this.distrust(tunnel);
    const since = this.host.view.fact(forgedTable, chassis)?.since ?? timestampOf(this.host.clock.now());
    this.host.learn([learned(forgedTable, chassis, { id: chassis, since })]);
  }

  private isFlooded(chassis: string): boolean {
    return this.host.view.fact(forgedTable, chassis) !== undefined;
  }

  private write(): void {
    const { clock } = this.host;
    const begun = clock.monotonic();
    for (let n = 0; n < FACTS_AT_ONCE && this.dirty.size > 0 && clock.monotonic() - begun < AT_ONCE_MS; n += FACTS_A_PIECE) {
      const facts = [];
      for (const tunnel of this.dirty) {
        this.dirty.delete(tunnel);
        if (facts.push(learned(tunnelTable, tunnel.ends.from, tunnel.seen(this.aroundOf(tunnel)))) >= FACTS_A_PIECE) break;
      }
      this.host.learn(facts);
    }
  }
}

const isSameEnd = (a: Chassis | undefined, b: Chassis | undefined): boolean => a?.key === b?.key && a?.encap_ip === b?.encap_ip && a?.encap_types.join() === b?.encap_types.join();

export const tunnelWatch: ServiceDecl = {
  name: "tunnel-watch",
  about: "probes the tunnels between hosts, one by one in turns, and tells which do not carry what they should",
  start(host) {
    new Watch(host).start();
    return undefined;
  },
};
