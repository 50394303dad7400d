// The southbound layer: adopts Open vSwitch hosts over OVSDB and keeps their flow tables as the compiler wants them.
//
//   OVSDB port ──> inventory ──> Chassis, Vif rows ──> model ──> compiler ──deltas──> switches ──bundles──> OpenFlow port
//                      ^──────────────── generations confirmed ─────────────────────────┘
//
// A switch and its database connect separately; they belong together by the bridge's datapath id. Nothing here is truth:
// after a restart the rows are in the store and the flows on the switches, and only differences are written to either.
import { chassisTable, vifTable, type App, type Chassis, type PacketOut, type Vif } from "#app";
import type { Action } from "node-openflow";
import { listen as listenOvsdb, type Listener as OvsdbListener } from "ovsdb-client";
import type { Logger } from "pino";
import type { TlsOptions } from "node:tls";
import type { Metrics } from "../lib/metrics.ts";
import type { Delta, Desired, Flow } from "../compiler/desired.ts";
import type { Commit } from "../model/model.ts";
import { Inventory, type ModelPort } from "./ovsdb/inventory.ts";
import { southboundMetrics, type SouthboundMetrics } from "./metrics.ts";
import { listenOpenFlow, sameInstructions, type OpenFlowListener, type RawPacketIn, type SwitchSession } from "./openflow/session.ts";
import { PacketQueue } from "./packets/queue.ts";
import { bracketed } from "./peer.ts";
import { Comparison, type Seen } from "./openflow/comparison.ts";
import { Switch, type AuditResult, type Refused } from "./openflow/switch.ts";

export type { AuditResult, Refused } from "./openflow/switch.ts";

export interface HostPort {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
}

export interface SouthboundConfig {
  readonly openflow: HostPort;
  readonly ovsdb: HostPort;
  /** Address that switches are told to use for OpenFlow; without it, the one their database connected to. */
  readonly advertise?: string | undefined;
  /** PEM: both ports speak TLS only, and peers must have a certificate of the CA. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer; readonly ca: string | Buffer } | undefined;
  /** How often a switch is compared with the desired state, default 60 s; 0 = never. */
  readonly auditIntervalMs?: number | undefined;
  /** Tells this controller's rows on a switch from another controller's, default "axion". */
  readonly controllerId?: string | undefined;
  /** Connections at a time on each port, default 4096. */
  readonly maxConnections?: number | undefined;
  /** Until a peer must have said what it is, default 10 s. */
  readonly handshakeTimeoutMs?: number | undefined;
  /** How long a switch may stay connected without its database, default 60 s. */
  readonly unknownSwitchTimeoutMs?: number | undefined;
  /** Changed flows that may wait for one switch, default 200 000; beyond, it is compared anew. */
  readonly pendingLimit?: number | undefined;
  /** Packets that may wait for one switch, default 1000. */
  readonly packetInLimit?: number | undefined;
}

/** A packet that a switch sent up, before anybody knows what table and registers mean. */
export interface SwitchPacketIn extends RawPacketIn {
  readonly chassis: string;
}

export interface SouthboundOptions {
  readonly model: ModelPort;
  readonly desired: Desired;
  readonly apps: readonly App[];
  readonly config: SouthboundConfig;
  readonly metrics: Metrics;
  readonly log: Logger;
  readonly onPacketIn: (packet: SwitchPacketIn) => readonly (PacketOut | SwitchPacketOut)[];
}

/** A packet and what a switch is to do with it. */
export interface SwitchPacketOut {
  readonly chassis: string;
  /** What it counts as coming from; default: the controller. */
  readonly inPort?: number | undefined;
  readonly actions: readonly Action[];
  readonly data: Uint8Array;
}

export interface SwitchInfo {
  readonly id: string;
  readonly hostname: string;
  readonly dpid: string;
  readonly bridge: string;
  /** connected: has its flows. syncing: getting them. disconnected: no OpenFlow session. */
  readonly state: "connected" | "syncing" | "disconnected";
  /** Whether its OVSDB session is up. */
  readonly database: "connected" | "disconnected";
  readonly role: "equal";
  readonly ovs_version: string;
  readonly encap_ip: string;
  readonly encap_types: readonly string[];
  readonly gateway: boolean;
  /** Of its OpenFlow session; "" without one. */
  readonly address: string;
  readonly flows: { readonly desired: number; readonly installed: number; readonly pending: number; readonly quarantined: number };
  readonly last_error: string | null;
  readonly last_sync: string | null;
  /** Generation that the switch has confirmed; 0 = none since the controller started. */
  readonly generation: number;
  /** Of its state. */
  readonly since: string | null;
}

const DRAIN_MS = 3000;
const MAX_PARKED = 1024;
/** Errors of a switch that answer no request are logged at most this often. */
const ERROR_PAUSE_MS = 10_000;
/** An audit takes at most one part in this many of the controller's time. */
const AUDIT_SHARE = 10;

interface Parked {
  readonly session: SwitchSession;
  readonly timer: NodeJS.Timeout;
}

export class Southbound {
  private readonly options: SouthboundOptions;
  private readonly log: Logger;
  private readonly metrics: SouthboundMetrics;
  private readonly inventory: Inventory;
  private readonly byChassis = new Map<string, Switch>();
  /** Handshake done, chassis not known (yet), by datapath id. */
  private readonly parked = new Map<string, Parked>();
  private readonly packets: PacketQueue<SwitchPacketIn>;
  private readonly listeners = new Set<(chassis: string, generation: number) => void>();
  private readonly undo: (() => void)[] = [];
  private readonly counts = new Map<string, number>();
  private readonly ofSession = new Map<SwitchSession, Switch>();
  private readonly nextAudit = new Map<string, number>();
  private ovsdb: OvsdbListener | undefined;
  private openflow: OpenFlowListener | undefined;
  private reached = 0;
  private auditTimer: NodeJS.Timeout | undefined;
  private stopping = false;

  constructor(options: SouthboundOptions) {
    const { model, desired, apps, config } = options;
    this.options = options;
    this.log = options.log;
    this.metrics = southboundMetrics(options.metrics, () => [...this.byChassis.values()].filter((s) => s.session !== undefined).length);
    this.inventory = new Inventory({
      model,
      desired,
      apps,
      log: options.log,
      controllerId: config.controllerId ?? "axion",
      target: (local) => this.target(local),
      confirmed: (chassis) => this.confirmed(chassis),
      unconfirmed: (vif) => this.byChassis.get(vif.chassis)?.flushZone(vif.slot),
      handshakeTimeoutMs: config.handshakeTimeoutMs ?? 10_000,
    });
    this.packets = new PacketQueue({
      limit: config.packetInLimit ?? 1000,
      handle: (packet) => this.handlePacket(packet),
      dropped: (chassis) => this.metrics.packetInsDropped.inc({ switch: chassis }),
    });
  }

  /** Opens both ports. The compiler must have compiled what is stored. Rejects when an address is taken. */
  async start(): Promise<void> {
    const { model, desired, config } = this.options;
    this.reached = desired.generation;
    this.undo.push(model.onCommit((commit) => this.onCommit(commit)), desired.onDelta((delta) => this.onDelta(delta)));
    const tls: TlsOptions | undefined = config.tls && { ...config.tls, requestCert: true, rejectUnauthorized: true };
    const maxConnections = config.maxConnections ?? 4096;
    try {
      // OpenFlow first: a database that connects is told its port.
      this.openflow = await listenOpenFlow({
        ...config.openflow,
        tls,
        maxConnections,
        handshakeTimeoutMs: config.handshakeTimeoutMs ?? 10_000,
        log: this.log,
        onSession: (session) => this.onSession(session),
      });
      this.ovsdb = await listenOvsdb(
        { ...config.ovsdb, tls, maxConnections, onError: (error, peer) => this.log.warn({ peer, reason: error.message }, "connection to the OVSDB port failed") },
        (session) => this.inventory.accept(session),
      );
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.scheduleAudit();
  }

  /** Sends what is pending, then closes everything. What is on the switches stays there. */
  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.auditTimer);
    this.packets.stop();
    await this.inventory.stop();
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => (timer = setTimeout(resolve, DRAIN_MS)));
    await Promise.race([patience, Promise.all([...this.byChassis.values()].map((s) => s.whenIdle()))]);
    clearTimeout(timer);
    for (const undo of this.undo.splice(0)) undo();
    for (const { timer: t } of this.parked.values()) clearTimeout(t);
    this.parked.clear();
    await Promise.all([this.ovsdb?.close(), this.openflow?.close()]);
  }

  get openflowPort(): number {
    return this.openflow?.port ?? 0;
  }

  get ovsdbPort(): number {
    return this.ovsdb?.port ?? 0;
  }

  /** Every known chassis, by id. */
  switches(): SwitchInfo[] {
    const rows = [...this.options.model.view.all(chassisTable)];
    return rows.sort((a, b) => (a.id < b.id ? -1 : 1)).map((row) => this.info(row));
  }

  /** The last generation whose changes of this chassis are all on its switch; 0 = none since the controller started. */
  confirmed(chassis: string): number {
    return this.byChassis.get(chassis)?.confirmed ?? 0;
  }

  /** Told when a switch has confirmed more. */
  onConfirmed(listener: (chassis: string, generation: number) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Flows that the switch refused, with its error. */
  quarantined(chassis: string): readonly Refused[] {
    return [...(this.byChassis.get(chassis)?.quarantine.values() ?? [])];
  }

  /** OFPMP_FLOW replies as the switch gives them; [] when it is not connected. */
  installedFlows(chassis: string): Promise<Buffer[]> {
    return this.byChassis.get(chassis)?.installedFlows() ?? Promise.resolve([]);
  }

  /** Asks the switch for its flows and compares; `seen` is told of each. Desired flows it lacks are in the answer. */
  async compareInstalled(chassis: string, seen: Seen): Promise<readonly Flow[]> {
    const parts = await this.installedFlows(chassis);
    const comparison = new Comparison(this.options.desired.flowsOf(chassis), sameInstructions, seen);
    for (const part of parts) comparison.part(part);
    return comparison.finish(() => false).missing;
  }

  sendPackets(packets: Iterable<PacketOut | SwitchPacketOut>): void {
    for (const packet of packets) {
      const target = this.byChassis.get(packet.chassis);
      if (target?.session === undefined) continue;
      if ("actions" in packet) target.sendPacket(packet.actions, packet.data, packet.inPort);
      else target.sendPacket([{ type: "output", port: packet.outPort }], packet.data);
      this.metrics.packetOuts.inc();
    }
  }

  /**
   * Forgets a chassis that will not come back: its row and its interfaces, hence what others have because of it. False: it
   * is connected. Should it come back after all, it is a new one.
   */
  async remove(chassis: string): Promise<boolean> {
    const connected = (): boolean => this.inventory.host(chassis) !== undefined || this.byChassis.get(chassis)?.session !== undefined;
    if (connected()) return false;
    await this.inventory.remove(chassis, "removed by an operator");
    this.log.warn({ chassis }, "host removed by an operator");
    return true;
  }

  /** Compares the switch with the desired state now, and repairs it. */
  async audit(chassis: string): Promise<AuditResult> {
    const target = this.byChassis.get(chassis);
    if (target === undefined) return { missing: 0, changed: 0, foreign: 0 };
    const result = await target.audit();
    await target.whenIdle();
    return result;
  }

  // --- events -------------------------------------------------------------------------------------------------------

  private onCommit(commit: Commit): void {
    for (const { table, id, before, after } of commit.changes) {
      for (const vif of this.options.model.view.by(vifTable, "iface_id", id)) {
        this.inventory.recheck(vif, commit.generation);
        this.inventory.remark(vif);
      }
      if (table === chassisTable) this.chassisChanged(before as Chassis | undefined, after as Chassis | undefined);
      else if (table === vifTable) {
        const old = before as Vif | undefined;
        const now = after as Vif | undefined;
        if (old?.slot === now?.slot) continue;
        for (const vif of [old, now]) if (vif !== undefined) this.byChassis.get(vif.chassis)?.flushZone(vif.slot);
      }
    }
  }

  private chassisChanged(before: Chassis | undefined, after: Chassis | undefined): void {
    if (before !== undefined && before.dpid !== after?.dpid) this.byChassis.get(before.id)?.session?.close();
    if (before !== undefined && after === undefined) {
      this.byChassis.delete(before.id);
      this.counts.delete(before.id);
      this.nextAudit.delete(before.id);
    }
    if (after === undefined) return;
    const parked = this.parked.get(after.dpid);
    if (parked !== undefined) this.place(parked.session);
  }

  private onDelta(delta: Delta): void {
    for (const [chassis, change] of delta.chassis) {
      this.counts.delete(chassis);
      this.byChassis.get(chassis)?.apply(delta.generation, change);
    }
    this.reached = delta.generation;
    this.inventory.onDelta(delta);
    for (const chassis of this.inventory.awaiting) void this.inventory.confirmUpTo(chassis);
    if (this.listeners.size > 0) {
      for (const target of this.byChassis.values()) if (target.confirmed >= delta.generation) this.tell(target.chassis);
    }
  }

  private tell(chassis: string): void {
    const generation = this.confirmed(chassis);
    for (const listener of this.listeners) {
      try {
        listener(chassis, generation);
      } catch (error) {
        this.log.error({ err: error, chassis }, "listener of confirmations failed");
      }
    }
  }

  private onSession(session: SwitchSession): void {
    session.onClose = (reason) => {
      const parked = this.parked.get(session.dpid);
      if (parked?.session === session) {
        clearTimeout(parked.timer);
        this.parked.delete(session.dpid);
      }
      const target = this.ofSession.get(session);
      this.ofSession.delete(session);
      if (target?.detach(session, reason) === true && !this.stopping) {
        this.log.info({ chassis: target.chassis, address: session.address, reason }, "switch disconnected");
      }
    };
    this.place(session);
  }

  /** Gives the session to its switch, or lets it wait until its database has said whose it is. */
  private place(session: SwitchSession): void {
    const row = this.chassisOf(session);
    const parked = this.parked.get(session.dpid);
    if (row === undefined) {
      if (parked?.session !== session) this.park(session);
      return;
    }
    if (parked !== undefined) {
      clearTimeout(parked.timer);
      this.parked.delete(session.dpid);
      if (parked.session !== session) parked.session.close();
    }
    let target = this.byChassis.get(row.id);
    if (target === undefined) {
      target = new Switch({
        chassis: row.id,
        desired: this.options.desired,
        reached: () => this.reached,
        metrics: this.metrics,
        log: this.log.child({ chassis: row.id, dpid: row.dpid }),
        sameInstructions,
        pendingLimit: this.options.config.pendingLimit ?? 200_000,
        onConfirmed: (chassis) => {
          if (this.inventory.awaiting.has(chassis)) void this.inventory.confirmUpTo(chassis);
          this.tell(chassis);
        },
      });
      this.byChassis.set(row.id, target);
    }
    session.onPacketIn = (packet) => {
      this.metrics.packetIns.inc({ table: packet.tableId });
      this.packets.push(row.id, { ...packet, chassis: row.id });
    };
    let told = 0;
    session.onError = (error) => {
      target.complain(error);
      if (Date.now() - told < ERROR_PAUSE_MS) return;
      told = Date.now();
      this.log.warn({ chassis: row.id, error }, "switch reported an error");
    };
    this.ofSession.set(session, target);
    // Zones of interfaces that were never confirmed may have been another port's. Which these are only the database knows:
    // if it comes after its switch, they are flushed then, and the connections of all others live on.
    const fresh = this.options.model.view.by(vifTable, "chassis", row.id).filter((vif) => this.inventory.unconfirmed(vif.id, row.id));
    target.attach(session, fresh.map((vif) => vif.slot));
  }

  private chassisOf(session: SwitchSession): Readonly<Chassis> | undefined {
    const rows = this.options.model.view.by(chassisTable, "dpid", session.dpid);
    if (rows.length <= 1) return rows[0];
    // Copies of one host's disk: the address tells them apart, if their databases are here.
    return rows.find((row) => this.inventory.host(row.id)?.address === session.host);
  }

  private park(session: SwitchSession): void {
    const before = this.parked.get(session.dpid);
    if (before !== undefined) {
      clearTimeout(before.timer);
      this.parked.delete(session.dpid);
      before.session.close();
    } else if (this.parked.size >= MAX_PARKED) {
      this.log.warn({ address: session.address, dpid: session.dpid }, "too many unknown switches are connected; this one is closed");
      session.close();
      return;
    }
    const timeoutMs = this.options.config.unknownSwitchTimeoutMs ?? 60_000;
    const timer = setTimeout(() => {
      this.parked.delete(session.dpid);
      this.log.warn({ address: session.address, dpid: session.dpid, timeout_ms: timeoutMs }, "switch is closed: no host's database has said that it has this datapath id");
      session.close();
    }, timeoutMs);
    timer.unref();
    this.parked.set(session.dpid, { session, timer });
  }

  private handlePacket(packet: SwitchPacketIn): void {
    try {
      this.sendPackets(this.options.onPacketIn(packet));
    } catch (error) {
      this.log.error({ err: error, chassis: packet.chassis, table: packet.tableId }, "packet could not be handled");
    }
  }

  // --- audits -------------------------------------------------------------------------------------------------------

  /** One at a time, the most overdue first; the pause after each is a multiple of what it took. */
  private scheduleAudit(pauseMs = 0): void {
    const interval = this.options.config.auditIntervalMs ?? 60_000;
    if (interval <= 0 || this.stopping) return;
    this.auditTimer = setTimeout(() => void this.auditNext(interval), Math.max(pauseMs, Math.min(1000, interval / 4)));
    this.auditTimer.unref();
  }

  private async auditNext(interval: number): Promise<void> {
    const now = performance.now();
    const jittered = (): number => now + interval * (0.8 + 0.4 * Math.random());
    let next: Switch | undefined;
    let due = now;
    for (const target of this.byChassis.values()) {
      if (target.state !== "connected") continue;
      const at = this.nextAudit.get(target.chassis);
      if (at === undefined) this.nextAudit.set(target.chassis, jittered());
      else if (at <= due) {
        due = at;
        next = target;
      }
    }
    if (next !== undefined) {
      this.nextAudit.set(next.chassis, jittered());
      try {
        await next.audit();
      } catch (error) {
        this.log.warn({ err: error, chassis: next.chassis }, "switch could not be audited");
      }
    }
    this.scheduleAudit((performance.now() - now) * AUDIT_SHARE);
  }

  // --- info ---------------------------------------------------------------------------------------------------------

  private info(row: Readonly<Chassis>): SwitchInfo {
    const target = this.byChassis.get(row.id);
    const host = this.inventory.host(row.id);
    const desired = this.desiredCount(row.id);
    const pending = target?.pendingFlows ?? 0;
    const quarantined = target?.quarantine.size ?? 0;
    return {
      id: row.id,
      hostname: row.hostname,
      dpid: row.dpid,
      bridge: row.bridge,
      state: target?.state ?? "disconnected",
      database: host === undefined ? "disconnected" : "connected",
      role: "equal",
      ovs_version: row.ovs_version === "" ? (target?.session as SwitchSession | undefined)?.softwareVersion ?? "" : row.ovs_version,
      encap_ip: row.encap_ip,
      encap_types: row.encap_types,
      gateway: row.gateway,
      address: target?.session?.address ?? "",
      flows: { desired, installed: target?.state === "connected" ? Math.max(0, desired - pending - quarantined) : 0, pending, quarantined },
      last_error: target?.lastError ?? host?.lastError ?? null,
      last_sync: target?.lastSync?.toISOString() ?? null,
      generation: target?.confirmed ?? 0,
      since: target?.since.toISOString() ?? host?.since.toISOString() ?? null,
    };
  }

  /** Counted once after each change of the chassis' flows. */
  private desiredCount(chassis: string): number {
    let count = this.counts.get(chassis);
    if (count === undefined) {
      count = Array.from(this.options.desired.flowsOf(chassis)).length;
      this.counts.set(chassis, count);
    }
    return count;
  }

  private target(local: string): string {
    const { advertise, tls } = this.options.config;
    return `${tls === undefined ? "tcp" : "ssl"}:${bracketed(advertise ?? local)}:${this.openflowPort}`;
  }
}
