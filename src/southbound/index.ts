// Over 400 lines: the wiring of everything in this folder, event by event; each job has a file of its own beside it.
// The southbound layer: adopts Open vSwitch hosts over OVSDB and keeps their flow tables as the compiler wants them.
//
//   OVSDB port ──> inventory ──> Chassis, Vif rows ──> model ──> compiler ──deltas──> switches ──bundles──> OpenFlow port
//                      ^──────────────── generations confirmed ─────────────────────────┘
//
// A switch and its database connect separately; they belong together by the bridge's datapath id. Nothing here is truth:
// after a restart the rows are in the store and the flows on the switches, and only differences are written to either.
import { chassisTable, hostSessionsTable, poolNumberTable, vifTable, zonePool, type Chassis, type HostSessions, type PacketOut, type PoolNumber, type Vif } from "#app";
import { listen as listenOvsdb, type Listener as OvsdbListener } from "ovsdb-client";
import type { Logger } from "pino";
import type { TlsOptions } from "node:tls";
import type { Cancel } from "../lib/clock.ts";
import { isLoopbackName, listening } from "../lib/listening.ts";
import { cookieOf, staticRule } from "../lib/cookies.ts";
import type { Problem } from "../lib/problem.ts";
import type { Lineage } from "../model/lineage.ts";
import type { Delta } from "../compiler/desired.ts";
import type { Commit } from "../model/model.ts";
import { Inventory } from "./ovsdb/inventory.ts";
import { observedColumns } from "./ovsdb/observer.ts";
import { concernedVifs } from "./ovsdb/vifs.ts";
import { southboundMetrics, type SouthboundMetrics } from "./metrics.ts";
import { IS_SECONDARY, listenOpenFlow, sameInstructions, type OpenFlowListener, type SwitchSession } from "./openflow/session.ts";
import { Announcements } from "./packets/announcements.ts";
import { announcement } from "./openflow/withdrawal.ts";
import { PacketQueue } from "./packets/queue.ts";
import { bracketed } from "./peer.ts";
import { SyncSlots } from "./openflow/sync-slots.ts";
import { Address } from "./cluster/address.ts";
import { Standing } from "./cluster/standing.ts";
import { Zones } from "./zones.ts";
import { Switch, type AuditResult, type Refused } from "./openflow/switch.ts";
import { Admission } from "./admission.ts";
import { AuditSchedule } from "./audit.ts";
import { endOfCertificate } from "./identity.ts";
import { RefusedClaims } from "./claims.ts";
import { Questions } from "./questions.ts";
import { switchInfo, switchMetrics, type SwitchInfo } from "./info.ts";
import type { SwitchPacketOut } from "./openflow/channel.ts";
import type { SouthboundOptions, SwitchPacketIn } from "./options.ts";
import { southboundProblems } from "./problems/southbound.ts";
import { InterfaceProblems } from "./problems/interfaces.ts";
import { Connections } from "./bounds/connections.ts";
import { limits } from "./bounds/limits.ts";
import { Lines } from "./bounds/lines.ts";
import { shown, Troubles } from "./bounds/troubles.ts";
import { ByteBudget } from "./bounds/byte-budget.ts";
import { shareOvsdb } from "./bounds/shared.ts";
import { Marks } from "./openflow/marks.ts";

export type { Questions } from "./questions.ts";
export type { SwitchInfo } from "./info.ts";
export type { SwitchPacketOut, SwitchPort } from "./openflow/channel.ts";
export type { HostPort, SouthboundConfig, SouthboundOptions, SwitchPacketIn } from "./options.ts";
export type { AuditResult, Refused } from "./openflow/switch.ts";

const DRAIN_MS = 3000;
const MAX_CONNECTIONS = 4096;
const PROBE_TIMEOUT_MS = 5000;
const SYNC_LIMIT = 16;
const ERROR_LOG_PAUSE_MS = 10_000;

export class Southbound {
  private readonly options: SouthboundOptions;
  private readonly log: Logger;
  private readonly metrics: SouthboundMetrics;
  private readonly inventory: Inventory;
  private readonly byChassis = new Map<string, Switch>();
  private readonly refusals: RefusedClaims;
  private readonly interfaceProblems: InterfaceProblems;
  private readonly slots: SyncSlots;
  private readonly dumps = new ByteBudget(limits.dumpBytesInAll);
  private readonly troubles: Troubles;
  private readonly connections: { readonly openflow: Connections; readonly ovsdb: Connections };
  private readonly admission: Admission;
  private readonly audits: AuditSchedule;
  private readonly packets: PacketQueue<SwitchPacketIn>;
  private readonly announcements: Announcements;
  private readonly senders = new Set<(chassis: string, generation: number) => void>();
  private readonly listeners = new Set<(chassis: string, generation: number) => void>();
  private readonly undo: (() => void)[] = [];
  private readonly counts = new Map<string, number>();
  private readonly ofSession = new Map<SwitchSession, Switch>();
  private ovsdb: OvsdbListener | undefined;
  private openflow: OpenFlowListener | undefined;
  private reached = 0;
  private readonly startedAt: Date;
  private certificateUntil: Date | undefined;
  private readonly zones: Zones;
  private readonly marks: Marks | undefined;
  /** What this controller is at each switch. */
  private readonly standing: Standing;
  /** Chassis of which zones were given up in commits that are not compiled yet. */
  private readonly leaving = new Set<string>();
  private stopping = false;
  private readonly address: Address;
  readonly questions: Questions;

  constructor(options: SouthboundOptions) {
    const { model, desired, apps, config, clock, random } = options;
    this.startedAt = new Date(clock.now());
    this.certificateUntil = config.tls && endOfCertificate(config.tls.cert);
    this.options = options;
    this.log = options.log;
    this.slots = new SyncSlots(config.syncLimit ?? SYNC_LIMIT, { clock, ms: limits.syncSlotMs });
    this.questions = new Questions({ switchOf: (chassis) => this.byChassis.get(chassis), slots: this.slots, desired, clock });
    this.troubles = new Troubles(options.log, clock);
    const connections = (port: string): Connections => new Connections({
      port, perAddress: config.unprovedPerAddress ?? limits.unprovedPerAddress, perPrefix: limits.unprovedPerPrefix, total: Math.min(limits.unproved, config.maxConnections ?? MAX_CONNECTIONS), troubles: this.troubles,
    });
    this.connections = { openflow: connections("OpenFlow"), ovsdb: connections("OVSDB") };
    this.refusals = new RefusedClaims(options.log, () => clock.now());
    this.metrics = southboundMetrics(options.metrics, () => [...this.byChassis.values()].filter((s) => s.reader !== undefined).length, () => this.slots);
    switchMetrics(options.metrics, () => this.switches());
    this.marks = options.lineage && this.makeMarks(options.lineage);
    this.standing = new Standing({
      cluster: options.cluster, reached: () => this.reached, clock, log: options.log, counted: this.metrics,
      masterOnHost: (chassis) => this.inventory.masterOnHost(chassis),
      takeOver: (chassis, session) => this.takeOver(chassis, session), standBy: (chassis, session) => this.standBy(chassis, session),
    });
    this.address = new Address({ config, openflowPort: () => this.openflowPort, ovsdbPort: () => this.ovsdbPort, known: (target) => options.cluster?.reached(target) });
    this.inventory = new Inventory({
      marks: this.marks,
      shadow: config.shadow === true,
      model,
      desired,
      apps,
      log: options.log,
      guard: options.guard,
      controllerId: config.controllerId ?? options.cluster?.name ?? "axion",
      cluster: options.cluster,
      lostLock: () => this.metrics.fenced.inc({ what: "rows" }),
      known: (chassis) => this.standing.known(chassis),
      address: this.address,
      confirmed: (chassis) => this.confirmed(chassis),
      unconfirmed: (vif) => this.byChassis.get(vif.chassis)?.flushZone(vif.slot),
      handshakeTimeoutMs: config.handshakeTimeoutMs ?? 10_000,
      probeTimeoutMs: config.probeTimeoutMs ?? PROBE_TIMEOUT_MS,
      unnamedMs: config.unnamedMs ?? limits.unnamedMs,
      refusals: this.refusals,
      troubles: this.troubles,
      hostLines: new Lines({ log: options.log, clock, ...limits.noteLines, summary: "lines about hosts that are not as they should be were left out in the last minute" }),
      occupied: (chassis, address) => this.occupied(chassis, address),
      clock,
      random,
      observing: options.facts && { columns: observedColumns(apps), facts: options.facts },
      claimed: (chassis) => {
        const row = model.view.get(chassisTable, chassis);
        if (row !== undefined) this.admission.retry(row.dpid);
        const peer = this.inventory.host(chassis)?.peer;
        if (peer !== undefined) this.connections.ovsdb.proved(peer);
        this.byChassis.get(chassis)?.review();
        this.noteSessions(chassis);
      },
      left: (chassis) => this.noteSessions(chassis),
      rowsThere: (chassis) => {
        if (options.cluster !== undefined) this.notify(chassis);
      },
    });
    this.interfaceProblems = new InterfaceProblems({ model, apps, guard: options.guard, clock });
    this.admission = new Admission({
      limit: config.maxConnections ?? MAX_CONNECTIONS,
      timeoutMs: config.unknownSwitchTimeoutMs ?? 60_000,
      clock,
      probeTimeoutMs: config.probeTimeoutMs ?? PROBE_TIMEOUT_MS,
      log: this.log,
      refusals: this.refusals,
      rows: (dpid) => model.view.by(chassisTable, "dpid", dpid),
      addressOf: (chassis) => this.inventory.host(chassis)?.identity.address,
      sessionOf: (chassis) => this.byChassis.get(chassis)?.reader,
      admitted: (row, session) => this.admitted(row, session),
    });
    this.audits = new AuditSchedule({ intervalMs: config.auditIntervalMs ?? 60_000, switches: () => this.byChassis.values(), clock, random, log: this.log });
    this.zones = new Zones({ model, desired, log: options.log, random, switchOf: (chassis) => this.byChassis.get(chassis), cluster: options.cluster });
    this.announcements = new Announcements({
      clock,
      connected: (chassis) => this.byChassis.get(chassis)?.session !== undefined,
      tell: (chassis, flow) => this.sendPackets(announcement(options.effects!, chassis, flow)),
      dropped: (chassis, flows) => this.metrics.announcementsDropped.inc({ switch: chassis }, flows),
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
    const { cluster } = this.options;
    if (cluster !== undefined) {
      this.undo.push(cluster.onChange((moved) => this.inventory.kickAll(moved)), cluster.onConfirmed((master) => this.confirmedElsewhere(master)));
    }
    const tls: TlsOptions | undefined = config.tls && { ...config.tls, requestCert: true, rejectUnauthorized: true };
    const maxConnections = config.maxConnections ?? MAX_CONNECTIONS;
    try {
      // OpenFlow first: its port is written to each database that connects.
      this.openflow = await listening("openflow", listenOpenFlow({
        ...config.openflow,
        tls,
        maxConnections,
        handshakeTimeoutMs: config.handshakeTimeoutMs ?? 10_000,
        clock: this.options.clock,
        connections: this.connections.openflow,
        troubles: this.troubles,
        onSession: (session) => this.onSession(session),
      }));
      this.ovsdb = await listening("ovsdb", listenOvsdb(
        {
          ...config.ovsdb, tls: tls && { handshakeTimeout: config.handshakeTimeoutMs ?? 10_000, ...tls }, maxConnections,
          maxMessageBytes: limits.ovsdbMessageBytes, maxQueuedBytes: limits.ovsdbQueuedBytes, rate: limits.ovsdbRate,
          maxElements: limits.ovsdbElements, maxValues: limits.ovsdbValues, maxSchemaBytes: limits.ovsdbSchemaBytes,
          ...shareOvsdb(this.connections.ovsdb, this.options.clock),
          admit: (socket) => this.connections.ovsdb.admit(socket),
          onError: (error, peer) => this.troubles.line("ovsdb", peer ?? "", { peer, reason: shown(error.message) }, "connection to the OVSDB port failed"),
        },
        (session) => this.inventory.accept(session),
      ));
    } catch (error) {
      await this.stop();
      throw error;
    }
    if (this.plain.length > 0) this.log.warn({ listeners: this.plain }, "switches are spoken to without TLS: who they are is proved by their address alone");
    this.audits.start();
  }

  /** Certificate, key and authority of connections to come; those that are open go on. Without effect on listeners without TLS. */
  renewTls(tls: { readonly cert: Buffer; readonly key: Buffer; readonly ca: Buffer }): void {
    for (const listener of [this.openflow, this.ovsdb]) listener?.setTls(tls);
    this.certificateUntil = endOfCertificate(tls.cert);
  }

  /** Sends what is pending, then closes everything. What is on the switches stays there. */
  async stop(): Promise<void> {
    this.stopping = true;
    this.audits.stop();
    this.packets.stop();
    this.announcements.stop();
    this.marks?.stop();
    this.standing.stop();
    await this.inventory.stop();
    let cancel: Cancel | undefined;
    const patience = new Promise<void>((resolve) => (cancel = this.options.clock.setTimeout(resolve, DRAIN_MS)));
    await Promise.race([patience, Promise.all([...this.byChassis.values()].map((s) => s.whenIdle()))]);
    cancel?.();
    for (const undo of this.undo.splice(0)) undo();
    this.admission.clear();
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

  /** What is wrong with hosts and switches now. */
  problems(): Problem[] {
    return [
      ...southboundProblems({
        startedAt: this.startedAt, now: new Date(this.options.clock.now()), certificateUntil: this.certificateUntil, tableName: this.options.tableName, shadow: this.shadow,
        plain: this.plain,
        chassis: this.options.model.view.all(chassisTable),
        switchOf: (chassis) => this.byChassis.get(chassis),
        hostOf: (chassis) => this.inventory.host(chassis),
        lostAt: (chassis) => this.inventory.lostAt(chassis), refusing: (chassis) => this.standing.refusing(chassis), term: this.options.cluster?.term,
        hosts: this.inventory.hosts,
        refused: this.refusals.all(), takeovers: this.refusals.takeovers(), resourcesOf: this.options.resourcesOf,
      }),
      ...this.interfaceProblems.problems(),
      ...this.troubles.problems(),
    ];
  }

  /** The last generation whose changes of this chassis are all on its switch; 0 = none since its controller started. */
  confirmed(chassis: string): number {
    return this.standing.toldOf(chassis) ?? this.byChassis.get(chassis)?.confirmed ?? 0;
  }

  /** Of several controllers: switches of which this one is the master. */
  get mastered(): number {
    return this.standing.mastered ?? [...this.byChassis.values()].filter((s) => s.session !== undefined).length;
  }

  /** Whether a switch has all that it should have; undefined: it is not connected. */
  synced(chassis: string): boolean | undefined {
    const target = this.byChassis.get(chassis);
    const told = this.standing.toldOf(chassis);
    if (told === undefined) return target?.synced;
    return target?.reader === undefined ? undefined : told >= this.reached;
  }

  /** The last generation of which the database of a host of this controller has all rows, and what the host reported because of them is compiled; 0: of none. */
  rows(chassis: string): number {
    return this.inventory.host(chassis)?.rowsUpTo(this.reached) ?? 0;
  }
  /** Of a host of another controller, as that one has told; undefined: it is this controller's. */
  rowsTold(chassis: string): number | undefined {
    return this.standing.rowsToldOf(chassis);
  }

  /** Until the database of a host has its rows; false: it has not, or is not connected. */
  async rowsWritten(chassis: string): Promise<boolean> {
    const host = this.inventory.host(chassis);
    while (host?.working !== undefined) await host.working;
    return host !== undefined && !host.dirty && !host.holdsRows && host.session.open;
  }

  /** Called when a switch has confirmed more, or of several controllers the database of a host has more. */
  onConfirmed(listener: (chassis: string, generation: number) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Called when changes up to a generation are on their way to a switch. */
  onSent(listener: (chassis: string, generation: number) => void): () => void {
    this.senders.add(listener);
    return () => this.senders.delete(listener);
  }

  /** Flows that the switch refused, with its error. */
  quarantined(chassis: string): readonly Refused[] {
    return [...(this.byChassis.get(chassis)?.quarantine.values() ?? [])];
  }

  sendPackets(packets: Iterable<PacketOut | SwitchPacketOut>): void {
    if (this.shadow) return;
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
   * is connected, or another controller is its master, which knows. Should it come back after all, it is a new one.
   */
  async remove(chassis: string): Promise<boolean> {
    const connected = (): boolean => this.inventory.host(chassis) !== undefined || this.byChassis.get(chassis)?.reader !== undefined;
    if (connected() || this.otherMaster(chassis) !== undefined) return false;
    await this.inventory.remove(chassis, "removed by an operator");
    this.log.warn({ chassis }, "host removed by an operator");
    return true;
  }

  /** Name of another controller that is the master of a chassis. */
  otherMaster(chassis: string): string | undefined {
    return this.standing.isMaster(chassis) ? undefined : (this.standing.shown(chassis).master ?? undefined);
  }

  /** Switches that keep what they have and get nothing, by id. */
  held(): string[] {
    return [...this.byChassis.values()].filter((s) => s.state === "held").map((s) => s.chassis).sort();
  }

  /** Lets switches that are held be changed, whatever they lose: one, or all. Those that it was said of. */
  accept(chassis?: string): string[] {
    if (this.shadow) return [];
    const accepted = this.held().filter((id) => chassis === undefined || id === chassis);
    for (const id of accepted) {
      this.log.warn({ chassis: id }, "what is stored is accepted by an operator: the switch is brought in order");
      this.marks?.accept(id);
      this.byChassis.get(id)?.review();
    }
    return accepted;
  }

  /** Of a shadow: what would be written to the database of a host, as operations of RFC 7047; [] also when it is not connected. */
  unwritten(chassis: string): readonly string[] {
    return this.inventory.host(chassis)?.unwritten ?? [];
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
    const { model, apps, guard } = this.options;
    // Several rows of a port have its id: apps are asked about each once.
    const concerned = new Map<string, readonly Vif[]>();
    for (const { id } of commit.changes) if (!concerned.has(id)) concerned.set(id, concernedVifs(model.view, apps, id, guard));
    this.interfaceProblems.onCommit(commit, concerned);
    for (const vifs of concerned.values()) {
      for (const vif of vifs) {
        this.inventory.progress.recheck(vif, commit.generation);
        this.inventory.remark(vif);
      }
    }
    for (const { table, before, after } of commit.changes) {
      if (table === chassisTable) this.chassisChanged(before as Chassis | undefined, after as Chassis | undefined);
      else if (table === vifTable) {
        const old = before as Vif | undefined;
        const now = after as Vif | undefined;
        if (old?.slot === now?.slot) continue;
        if (now !== undefined && this.standing.isMaster(now.chassis)) this.byChassis.get(now.chassis)?.flushZone(now.slot);
      } else if (table === poolNumberTable && (after as PoolNumber | undefined)?.releasing === true && (after as PoolNumber).pool === zonePool.name) {
        this.leaving.add((after as PoolNumber).part);
      }
    }
  }

  private chassisChanged(before: Chassis | undefined, after: Chassis | undefined): void {
    if (before !== undefined && before.dpid !== after?.dpid) this.byChassis.get(before.id)?.reader?.close();
    if (before !== undefined && after === undefined) {
      this.byChassis.delete(before.id);
      this.options.facts?.forget(hostSessionsTable, before.id);
      this.counts.delete(before.id);
      this.inventory.forget(before.id);
      this.audits.forget(before.id);
      this.refusals.forget(before.id);
      this.marks?.forget(before.id);
      this.announcements.forget(before.id);
    }
    if (after === undefined) return;
    this.admission.retry(after.dpid);
  }

  private onDelta(delta: Delta): void {
    for (const [chassis, change] of delta.chassis) {
      this.counts.delete(chassis);
      this.byChassis.get(chassis)?.apply(delta.generation, change);
    }
    this.reached = delta.generation;
    this.standing.moved();
    this.inventory.onDelta(delta);
    for (const chassis of this.leaving) void this.zones.free(chassis);
    this.leaving.clear();
    for (const chassis of this.inventory.progress.awaiting) void this.inventory.progress.confirmUpTo(chassis);
    if (this.listeners.size > 0) {
      for (const target of this.byChassis.values()) if (target.confirmed >= delta.generation) this.notify(target.chassis);
    }
  }

  private notify(chassis: string): void {
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
      this.admission.leave(session);
      const target = this.ofSession.get(session);
      this.ofSession.delete(session);
      if (target !== undefined) this.standing.leave(target.chassis, session);
      if (target?.detach(session, reason) === true && !this.stopping) {
        this.log.info({ chassis: target.chassis, address: session.address, reason }, "switch disconnected");
        this.noteSessions(target.chassis);
      }
    };
    session.onLimit = (limit, text) => {
      const chassis = this.ofSession.get(session)?.chassis;
      this.troubles.over({ who: chassis ?? session.identity.address, chassis, limit, text, cure: `see what speaks OpenFlow from ${session.address}: its flows (ovs-ofctl dump-flows), and what sends packets to the controller` });
    };
    this.admission.enter(session);
  }

  private admitted(row: Readonly<Chassis>, session: SwitchSession): void {
    const target = this.switchOf(row);
    session.onPacketIn = (packet) => {
      const heard = target.session !== session;
      // What was on its way when another controller took over is that one's.
      if (heard && !(target.standby === session && this.options.hearing?.tables.has(packet.tableId) === true)) return;
      if (!heard) this.metrics.packetIns.inc({ table: packet.tableId });
      this.packets.push(row.id, { ...packet, chassis: row.id, heard });
    };
    const { clock } = this.options;
    let loggedAt = -Infinity;
    session.onError = (error) => {
      if (error === IS_SECONDARY && this.standing.deposed(row.id, session)) return;
      target.reportError(error);
      if (clock.monotonic() - loggedAt < ERROR_LOG_PAUSE_MS) return;
      loggedAt = clock.monotonic();
      this.log.warn({ chassis: row.id, error }, "switch reported an error");
    };
    this.ofSession.set(session, target);
    this.connections.openflow.proved(session.address);
    const { cluster, hearing } = this.options;
    if (cluster !== undefined && hearing !== undefined && !this.shadow) session.hear();
    this.standing.enter(row.id, session);
    this.noteSessions(row.id);
  }

  /** The switch is brought in order by this session, and kept so. */
  private takeOver(chassis: string, session: SwitchSession): void {
    // Zones of interfaces that were never confirmed may have been another port's. Which these are only the database knows:
    // if it comes after its switch, they are flushed then, and the connections of all others live on.
    const fresh = this.options.model.view.by(vifTable, "chassis", chassis).filter((vif) => this.inventory.progress.unconfirmed(vif.id, chassis));
    this.byChassis.get(chassis)?.attach(session, fresh.map((vif) => vif.slot));
  }

  /** Another controller is, or may be, the master of the switch. */
  private standBy(chassis: string, session: SwitchSession): void {
    this.byChassis.get(chassis)?.standBy(session);
    this.marks?.forget(chassis);
    this.announcements.forget(chassis);
  }

  /** A controller has told what the switches have confirmed of which it is the master. */
  private confirmedElsewhere(master: string): void {
    if (this.listeners.size === 0) return;
    const { cluster, model } = this.options;
    for (const { id } of model.view.all(chassisTable)) if (cluster!.masterOf(id) === master) this.notify(id);
  }

  /** What apps see of the sessions of a host. */
  private noteSessions(chassis: string): void {
    const { facts, clock, model } = this.options;
    if (facts === undefined || model.view.get(chassisTable, chassis) === undefined) return;
    const before = facts.fact(hostSessionsTable, chassis);
    const had = before?.openflow === true && before.ovsdb;
    const openflow = this.byChassis.get(chassis)?.reader !== undefined;
    const ovsdb = this.inventory.host(chassis) !== undefined;
    const has = openflow && ovsdb;
    const now = new Date(clock.now()).toISOString();
    const row: HostSessions = { id: chassis, openflow, ovsdb, startedAt: has && !had ? now : before?.startedAt, lostAt: has ? undefined : had ? now : before?.lostAt };
    facts.learn({ fact: hostSessionsTable, owner: chassis, row });
  }

  /** Whether the switch of the chassis is connected from another address, and answers there. */
  private async occupied(chassis: string, address: string): Promise<boolean> {
    const session = this.byChassis.get(chassis)?.reader;
    if (session === undefined || session.identity.address === address) return false;
    if (await session.alive(this.options.config.probeTimeoutMs ?? PROBE_TIMEOUT_MS)) return true;
    session.close();
    return false;
  }

  private switchOf(row: Readonly<Chassis>): Switch {
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
        slots: this.slots,
        dumps: this.dumps,
        clock: this.options.clock,
        random: this.options.random,
        effects: this.options.effects,
        counting: this.options.counting,
        arrived: (came, went) => {
          this.announcements.withdraw(row.id, went);
          this.announcements.add(row.id, came);
        },
        shadow: this.shadow,
        judge: (parts, current) => this.judge(row.id, parts, current),
        onSent: (generation) => {
          for (const sent of this.senders) sent(row.id, generation);
        },
        deposed: () => this.standing.deposed(row.id),
        onConfirmed: (chassis) => {
          const told = this.byChassis.get(chassis);
          if (told !== undefined) this.marks?.confirmed(chassis, told.confirmed, told.told);
          void this.zones.free(chassis);
          if (this.inventory.progress.awaiting.has(chassis)) void this.inventory.progress.confirmUpTo(chassis);
          this.announcements.resume(chassis);
          this.notify(chassis);
        },
      });
      this.byChassis.set(row.id, target);
    }
    return target;
  }

  private get shadow(): boolean {
    return this.options.config.shadow === true;
  }

  private async judge(chassis: string, parts: readonly Buffer[], current: () => boolean): Promise<string | undefined> {
    const hold = await this.marks?.judge(chassis, parts, current);
    if (!this.shadow) return hold;
    if (current()) this.options.looked?.(chassis, hold);
    return "this controller is a shadow: it changes nothing";
  }

  private makeMarks(lineage: Pick<Lineage, "mark" | "has">): Marks {
    const { desired, apps, clock } = this.options;
    const statics = new Set(apps.map((app) => cookieOf(staticRule(app.name))));
    return new Marks({
      lineage, clock,
      hostOf: (chassis) => this.inventory.host(chassis),
      flowsOf: (chassis) => desired.flowsOf(chassis),
      isStatic: (cookieHi) => statics.has(cookieHi),
    });
  }

  private handlePacket(packet: SwitchPacketIn): void {
    const { guard, onPacketIn } = this.options;
    const about = { chassis: packet.chassis, table: packet.tableId };
    if (packet.heard === true) {
      guard({ app: "", hook: "packetIn" }, about, () => this.options.hearing?.hear(packet), undefined);
      return;
    }
    const answers = guard({ app: "", hook: "packetIn" }, about, () => onPacketIn(packet), []);
    guard({ app: "", hook: "packetIn" }, about, () => this.sendPackets(answers), undefined);
  }

  /** Listeners without TLS that others than this machine reach. */
  private get plain(): string[] {
    const { openflow, ovsdb, tls } = this.options.config;
    return tls === undefined ? [openflow, ovsdb].filter(({ host }) => !isLoopbackName(host)).map(({ host, port }) => `${bracketed(host)}:${port}`) : [];
  }

  // --- info ---------------------------------------------------------------------------------------------------------

  private info(row: Readonly<Chassis>): SwitchInfo {
    return switchInfo(row, { target: this.byChassis.get(row.id), host: this.inventory.host(row.id), desired: this.desiredCount(row.id), refused: this.refusals.of(row.id), tableName: this.options.tableName, ...this.standing.shown(row.id), confirmed: this.confirmed(row.id) });
  }

  /** Counted once after each change. */
  private desiredCount(chassis: string): number {
    let count = this.counts.get(chassis);
    if (count === undefined) {
      count = Array.from(this.options.desired.flowsOf(chassis)).length;
      this.counts.set(chassis, count);
    }
    return count;
  }

  /** What hosts connect to for OVSDB here; "" while that is not known. */
  get managerTarget(): string {
    return this.address.ovsdb;
  }
}
