// Over 400 lines: one session, event by event, whose parts share its replica and its loop.
// One host: an OVSDB session from its first byte to its last. A single loop compares what is with what should be (the
// database with the plan of adoption.ts, the stored rows with what the host reports) and writes differences only; events
// merely make the loop run.
import { chassisKeys, chassisTable, draw, vifTable, type App, type Chassis, type Vif } from "#app";
import { OvsdbConnectionError, OvsdbProtocolError, Replica, type OvsdbSession } from "ovsdb-client";
import type { Logger } from "pino";
import type { Desired } from "../../compiler/desired.ts";
import type { Cancel, Clock } from "../../lib/clock.ts";
import type { HookGuard } from "../../lib/hook-guard.ts";
import type { Random } from "../../lib/random.ts";
import type { Address } from "../cluster/address.ts";
import { managerColumns, planManagers, planSlave } from "../cluster/controller-rows.ts";
import type { ClusterPort } from "../cluster/port.ts";
import { Writing } from "../cluster/writing.ts";
import type { Marks } from "../openflow/marks.ts";
import { Backoff } from "../backoff.ts";
import type { RefusedClaims } from "../claims.ts";
import { certificateNames, certificateUntil, type Identity } from "../identity.ts";
import type { Holding } from "../bounds/byte-budget.ts";
import { limits } from "../bounds/limits.ts";
import type { Lines } from "../bounds/lines.ts";
import { peerOf } from "../peer.ts";
import { shown, type Troubles } from "../bounds/troubles.ts";
import { CONFIRMED, INSTALLED, monitoredColumns, plan, textOf, type Wanted } from "./adoption.ts";
import { Observer, type ObserverOptions } from "./observer.ts";
import { HostRows, type BridgeRow, type Note } from "./host-rows.ts";
import { interfaceNotes, mappingNotes, sameChassis, type Reported } from "./notes.ts";
import { cause, type ChassisProgress, type InterfaceProgress, type ModelPort } from "./progress.ts";
import { RefusedWishes } from "./refused-wishes.ts";
import { readSettings, type HostSettings } from "./settings.ts";
import { differenceText, seeVifs, vifId, vifsDiffer, writeVifs, type VifChanges } from "./vifs.ts";

export interface HostOptions {
  readonly model: ModelPort;
  readonly desired: Desired;
  readonly apps: readonly App[];
  readonly log: Logger;
  readonly guard: HookGuard;
  /** Marks our Controller rows, so that several controllers can tell theirs apart. */
  readonly controllerId: string;
  /** By which hosts reach this controller. */
  readonly address: Pick<Address, "openflow" | "ovsdb">;
  /** The generation that a chassis' switch has confirmed, 0 = none. */
  readonly confirmed: (chassis: string) => number;
  /** The switch never confirmed this stored interface. */
  readonly unconfirmed: (vif: Vif) => void;
  readonly handshakeTimeoutMs: number;
  /** How long a session that is asked whether it is alive may take. */
  readonly probeTimeoutMs: number;
  /** How long a database may take to name its host. */
  readonly unnamedMs: number;
  readonly refusals: RefusedClaims;
  readonly troubles: Troubles;
  /** For what is wrong with hosts that have a name. */
  readonly hostLines: Lines;
  readonly clock: Clock;
  readonly random: Random;
  /** What apps observe; undefined: nothing is. */
  readonly observing: Pick<ObserverOptions, "columns" | "facts"> | undefined;
  /** Whether the chassis has a live OpenFlow session from another address than this one. */
  readonly occupied: (chassis: string, address: string) => Promise<boolean>;
  /** A database session was accepted as the chassis'. */
  readonly claimed: (chassis: string) => void;
  readonly left: (chassis: string) => void;
  /** The database of the chassis has its rows again. */
  readonly rowsThere: (chassis: string) => void;
  /** Nothing is written to databases. */
  readonly shadow: boolean;
  /** Keeps on the bridge what its switch was told; undefined: nobody does. */
  readonly marks: Pick<Marks, "holdsRows" | "markFor"> | undefined;
  /** Of several controllers: which of them writes. undefined: there is no other. */
  readonly cluster: ClusterPort | undefined;
  /** Another controller has the lock of a database that this one wrote to. */
  readonly lostLock?: () => void;
  /** Until what others have committed by now is desired here. */
  readonly known: (chassis: string) => Promise<void> | undefined;
}

/** What a host needs of the inventory that it is in. */
export interface HostOwner {
  readonly options: HostOptions;
  readonly progress: InterfaceProgress;
  /** Makes `host` the one session of the chassis. False: it may not have that name, and has to go. */
  claim(host: Host, chassis: string): Promise<boolean>;
  /** Room for its rows; `giveUp` is called when others need it. */
  roomFor(host: Pick<Host, "chassis" | "identity">, giveUp: () => void): Holding;
  remove(chassis: string, why: string): Promise<void>;
}

/** A comparison that took longer is followed by a pause, a multiple of its time. */
const LONG_MS = 20;
const SHARE = 4;
const LONGEST_PAUSE_MS = 1000;
/** Rows of a database from which on its comparison is made in steps. */
const MANY_ROWS = 1000;
/** How often a host whose answer is being read has as long again. */
const PATIENCE = 5;
const DPID = /^[0-9a-f]{16}$/;
/** Characters of a host's own words that are kept of it. */
const WORD = 64;

/** Another controller became the master of a host while something was written for it. */
class NotMaster extends Error {
  constructor(chassis: string) {
    super(`another controller is the master of ${chassis}`);
  }
}

/** One OVSDB session: a host, from its first byte to its last. */
export class Host {
  readonly session: OvsdbSession;
  readonly peer: string;
  readonly identity: Identity;
  readonly since: Date;
  /** Its system-id, once it was given to this session. */
  chassis: string | undefined;
  settings: HostSettings | undefined;
  lastError: string | undefined;
  /** Of a shadow: what it would write. */
  unwritten: readonly string[] = [];
  /** Why its database cannot be brought in order, since when. */
  failure: { readonly text: string; readonly since: Date } | undefined;
  /** Generation that the desired state must have reached before this host's ports can be compared with it. */
  awaitsDesired: number | undefined;
  private readonly inventory: HostOwner;
  private readonly replica: Replica;
  private readonly rows: HostRows;
  private log: Logger;
  dirty = false;
  working: Promise<void> | undefined;
  private stopping = false;
  /** While it waits to try again. */
  private cancelRetry: Cancel | undefined;
  /** Until it has a name. */
  private cancelUnnamed: Cancel | undefined;
  private readonly backoff: Backoff;
  /** Wishes of rules that the database refused: they wait, all else goes on. */
  private readonly refused: RefusedWishes;
  /** Notes that were logged and still hold, since when. */
  reported: ReadonlyMap<string, Reported> = new Map();
  /** It names no address for tunnels at all; as of the notes. */
  withoutTunnels = false;
  /** Since when the integration bridge is in the database and the switch has not made it. */
  bridgeMissing: { readonly since: Date; readonly type: string } | undefined;
  private observer: Observer | undefined;
  private room: Holding;
  /** The first answer was read. */
  private attached = false;
  /** Interfaces were compared with the stored ones at least once in this session, or since this controller is the master. */
  private vifsKnown = false;
  private readonly writing: Writing;
  /** The last generation that changed rows; that of the last comparison which found nothing to write; what was committed by then. */
  private rowsAt = { wanted: 0, compared: -1, reported: 0 };
  private rowsThere = 0;

  constructor(inventory: HostOwner, session: OvsdbSession) {
    this.inventory = inventory;
    this.session = session;
    const alone = inventory.options.cluster === undefined;
    this.replica = new Replica("Open_vSwitch", alone ? monitoredColumns : { ...monitoredColumns, Open_vSwitch: [...monitoredColumns.Open_vSwitch, "manager_options"], ...managerColumns });
    this.rows = new HostRows(this.replica);
    const { clock, cluster, shadow, known, lostLock } = inventory.options;
    this.writing = new Writing({
      session, replica: this.replica, clock, cluster, shadow, known, lostLock,
      stolen: () => this.kick(),
      turned: (chassis) => {
        this.vifsKnown = false;
        this.rowsAt.compared = -1;
        this.rowsThere = 0;
        inventory.progress.forget(chassis);
      },
      unanswered: () => {
        this.overLimit("transaction", `has not answered a transaction for ${limits.transactMs / 1000} s and is disconnected`);
        void session.close();
      },
    });
    this.peer = peerOf(session.socket).text;
    this.identity = { address: peerOf(session.socket).host, names: certificateNames(session.socket), until: certificateUntil(session.socket) };
    this.since = this.now();
    this.log = inventory.options.log.child({ peer: this.peer });
    this.backoff = new Backoff(inventory.options.clock, inventory.options.random);
    this.refused = new RefusedWishes(inventory.options.clock, () => this.kick());
    this.room = this.openRoom();
    session.on("close", (reason) => this.closed(reason));
    session.on("throttled", () => this.overLimit("messages", `sends more than ${limits.ovsdbRate.messages} OVSDB messages or ${limits.ovsdbRate.bytes} bytes a second; it is read no faster`));
  }

  /** What its switch is told to connect to. */
  get openflowTarget(): string {
    return this.inventory.options.address.openflow(peerOf(this.session.socket).local);
  }

  /** What the bridge says that its switch was told. */
  get mark(): string | undefined {
    return this.rows.bridge(this.settings?.bridge ?? "")?.external_ids[CONFIRMED];
  }

  /** Controller rows of the bridge, whosever they are. */
  get controllers(): readonly string[] {
    return this.rows.bridge(this.settings?.bridge ?? "")?.controller ?? [];
  }

  /** Whether an interface of the bridge is marked as in use. */
  get served(): boolean {
    return this.rows.interfacesOn(this.settings?.bridge).some((row) => row.external_ids[INSTALLED] === "true");
  }

  /** OpenFlow ports of interfaces that are plugged. */
  get plugged(): ReadonlySet<number> {
    return new Set(this.rows.interfacesOn(this.settings?.bridge).flatMap(({ external_ids, ofport }) => (external_ids["iface-id"] === undefined || ofport === undefined ? [] : [ofport])));
  }

  /** Whether what is ours in the database stays as it is. */
  get holdsRows(): boolean {
    return this.chassis !== undefined && this.inventory.options.marks?.holdsRows(this.chassis, this) === true;
  }

  private now(): Date {
    return new Date(this.inventory.options.clock.now());
  }

  async run(): Promise<void> {
    const { clock, handshakeTimeoutMs, unnamedMs } = this.inventory.options;
    let cancel: Cancel;
    let patience = PATIENCE;
    const wait = (): void => {
      cancel = clock.setTimeout(() => {
        // Its answer is here, but others had their turn before it.
        if (this.session.reading && patience-- > 0) {
          wait();
          return;
        }
        this.line({ peer: this.peer, timeout_ms: handshakeTimeoutMs }, "peer on the OVSDB port did not answer in time");
        void this.session.close();
      }, handshakeTimeoutMs);
    };
    wait();
    try {
      await this.replica.attach(this.session);
    } catch (error) {
      if (this.session.open) {
        this.line({ peer: this.peer, reason: shown((error as Error).message) }, "peer on the OVSDB port is no Open vSwitch database");
        void this.session.close();
      }
      return;
    } finally {
      cancel!();
    }
    this.attached = true;
    this.changed();
    if (!this.session.open) return;
    this.cancelUnnamed = clock.setTimeout(() => this.unnamed(), unnamedMs);
    this.replica.on("change", () => this.changed());
    this.replica.on("lost", () => {
      // The server dropped the monitor (its schema changed): it has to be followed anew, by a new session.
      if (this.session.open) void this.session.close();
    });
  }

  /** What is no host's has no place here for long. A host that is about to be set up comes again within seconds. */
  private unnamed(): void {
    this.overLimit("unnamed", `has been connected for ${this.inventory.options.unnamedMs / 1000} s with a database that names no host, and is disconnected`,
      `if ${this.peer} is a host: ovs-vsctl set Open_vSwitch . external_ids:system-id=NAME there; otherwise see what speaks OVSDB from it`);
    void this.session.close();
  }

  private get rowCount(): number {
    return this.replica.tables.reduce((sum, table) => sum + this.replica.table(table).size, 0);
  }

  private changed(): void {
    const rows = this.rowCount;
    if (rows <= limits.rows) {
      if (this.room.set(rows)) this.kick();
      return;
    }
    this.tooLarge(`it has ${rows} rows`);
    void this.session.close();
  }

  /** One limit, whichever of its numbers was passed first: which that is depends on how long the rows are. */
  private tooLarge(why: string): void {
    this.overLimit("database", `has a database that is larger than is followed (${limits.rows} rows, at first in ${limits.ovsdbMessageBytes} bytes with ${limits.ovsdbValues} values), and is disconnected: ${why}`);
  }

  private openRoom(): Holding {
    return this.inventory.roomFor(this, () => {
      this.overLimit("rows_in_all", `has ${this.rowCount} rows in its database, most of all ${this.chassis === undefined ? "that are no host's yet" : "hosts"}, and is disconnected: others need the room`);
      void this.session.close();
    });
  }

  /** A generation wants other rows. */
  rowsChanged(generation: number): void {
    this.rowsAt.wanted = generation;
    this.kick();
  }

  /** The last generation up to `reached` of which its database has all rows, and what the host reported because of them is compiled; 0: of none. */
  rowsUpTo(reached: number): number {
    const { wanted, compared, reported } = this.rowsAt;
    if (compared >= wanted && reached >= reported) this.rowsThere = reached;
    return this.rowsThere;
  }

  /** Something may have changed: compares everything again, now or after the comparison under way. */
  kick(): void {
    this.dirty = true;
    // After a failure it is done after the pause, whatever happens meanwhile.
    if (this.working !== undefined || this.cancelRetry !== undefined || this.stopping || !this.replica.synced) return;
    this.working = this.work().finally(() => {
      this.working = undefined;
      if (this.dirty) this.kick();
    });
  }

  async stop(): Promise<void> {
    this.stopping = true;
    this.cancelRetry?.();
    this.refused.stop();
    await this.working;
    await this.session.close();
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.inventory.options.clock.setTimeout(resolve, ms));
  }

  private async work(): Promise<void> {
    const { clock } = this.inventory.options;
    try {
      while (this.dirty && !this.stopping && this.session.open) {
        this.dirty = false;
        const begun = clock.monotonic();
        await this.reconcile();
        this.failure = undefined;
        // A host of which there is much to compare, again and again, has a share of the controller's time and no more.
        const ms = clock.monotonic() - begun;
        if (this.dirty && ms > LONG_MS) await this.pause(Math.min(ms * SHARE, LONGEST_PAUSE_MS));
      }
    } catch (error) {
      if (!this.session.open || this.stopping) return;
      if (error instanceof NotMaster) {
        this.dirty = true;
        return;
      }
      this.lastError = error instanceof Error ? error.message : String(error);
      this.failure = { text: this.lastError, since: this.failure?.since ?? this.now() };
      const ms = this.backoff.next();
      this.log.error({ err: error, retry_ms: Math.round(ms) }, "host could not be brought in order");
      this.cancelRetry = this.inventory.options.clock.setTimeout(() => {
        this.cancelRetry = undefined;
        this.kick();
      }, ms);
    }
  }

  private async reconcile(): Promise<void> {
    const { options } = this.inventory;
    const root = this.rows.root;
    if (root === undefined) return;
    const { settings, problems } = readSettings(root.external_ids, root.other_config);
    const notes: Note[] = problems.map((p) => ({ about: p.value === "" ? `external_ids:${p.key} is not set` : `external_ids:${p.key}=${p.value}`, problem: p.problem }));
    if (settings === undefined) {
      this.reportNotes(notes);
      return;
    }
    if (!(await this.identify(settings))) return;
    const chassis = settings.id;
    await this.tellOthers();
    if (!(await this.writing.mayAct(chassis))) {
      await this.followAlong(settings);
      return;
    }

    const { generation } = options.desired;
    const rows = this.desiredRows(chassis);
    const { operations, notes: planned, wishes } = plan(this.rows, {
      settings,
      target: this.openflowTarget,
      controllerId: options.controllerId,
      rows,
      installed: (name) => (this.vifsKnown && !this.holdsRows ? this.marked(chassis, name) : undefined),
      confirmed: options.marks?.markFor(chassis),
    });
    await this.breathe();
    this.unwritten = options.shadow ? operations.map((operation) => textOf([operation]).slice(1, -1)) : [];
    if (operations.length > 0 && !options.shadow) {
      if (this.writing.isInVain(textOf(operations))) {
        this.refused.undone(wishes, new Error("the database does not stay as it was set"));
        this.dirty = true;
        return;
      }
      try {
        await this.writing.write(operations, `axion: ${chassis} brought in order`);
      } catch (error) {
        this.dirty = true;
        if (!(await this.writing.lost(error))) this.refused.failed(wishes, error, this.writing.fenced(operations));
        return;
      }
      this.dirty = true; // the switch may have answered; at worst one more comparison
    }

    await this.breathe();
    notes.push(...mappingNotes(this.rows, settings));
    const bridge = this.rows.bridge(settings.bridge);
    this.bridgeMissing = bridge === undefined || bridge.datapath_id !== undefined ? undefined : { since: this.bridgeMissing?.since ?? this.now(), type: bridge.datapath_type };
    if (bridge !== undefined) notes.push(...(await this.report(settings, bridge, root.ovs_version ?? "")));
    this.reportNotes([...notes, ...planned]);
    if (rows !== undefined && operations.length === 0 && !this.dirty) this.compared(chassis, generation);
  }

  /** As a generation wants them, the rows are there, and what the host says is in the store. */
  private compared(chassis: string, generation: number): void {
    const before = this.rowsAt;
    this.rowsAt = { ...before, compared: generation, reported: this.inventory.options.model.generation };
    if (before.compared < before.wanted) this.inventory.options.rowsThere(chassis);
  }

  /** Others have their turn where a host has so much that each step of its comparison takes milliseconds. */
  private breathe(): Promise<void> | undefined {
    return this.rowCount < MANY_ROWS ? undefined : new Promise((resolve) => setImmediate(resolve));
  }

  // --- one of several controllers -----------------------------------------------------------------------------------

  /** Whether it was looked at since who writes changed. */
  get isAsItActs(): boolean {
    return this.chassis === undefined || this.writing.isAsItActs(this.chassis);
  }

  /** Tells the host of the other controllers; each of them does it, and who comes first has done it for all. */
  private async tellOthers(): Promise<void> {
    const { cluster, shadow, address } = this.inventory.options;
    if (cluster === undefined || shadow) return;
    const operations = planManagers(this.rows, cluster.managers, { name: cluster.name, own: address.ovsdb });
    if (operations.length === 0) return;
    try {
      await this.writing.transact(operations, "axion: told of other controllers");
    } catch (error) {
      if (!this.session.open) throw error;
      // Another one was first: targets are unique. What it wrote makes this one look again.
      this.log.info({ reason: (error as Error).message }, "host could not be told of other controllers");
    }
  }

  /** What is done for a host of which another controller is the master: its switch is told of this one too. */
  private async followAlong(settings: HostSettings): Promise<void> {
    const { controllerId, shadow } = this.inventory.options;
    const operations = shadow ? [] : planSlave(this.rows, { settings, target: this.openflowTarget, controllerId });
    if (operations.length > 0) {
      if (this.writing.isInVain(textOf(operations))) throw new Error("the database does not stay as it was set");
      await this.writing.transact(operations, `axion: ${settings.id} is told of another controller`);
    }
    const bridge = this.rows.bridge(settings.bridge);
    this.bridgeMissing = undefined;
    this.reportNotes([...mappingNotes(this.rows, settings), ...(bridge === undefined ? [] : interfaceNotes(this.rows, bridge))]);
  }

  private marked(chassis: string, name: string): boolean {
    const { marked } = this.inventory.progress.of(chassis);
    const vif = this.inventory.options.model.view.get(vifTable, vifId(chassis, name));
    const marks = vif !== undefined && this.inventory.progress.marks(vif);
    if (marks) marked.add(vif.id);
    else marked.delete(vifId(chassis, name));
    return marks;
  }

  /** Gives the host the name it asks for. False: it may not have that name. */
  private async identify(settings: HostSettings): Promise<boolean> {
    const before = this.chassis;
    if (before !== settings.id) {
      if (!(await this.inventory.claim(this, settings.id))) {
        await this.session.close();
        return false;
      }
      this.log = this.inventory.options.log.child({ chassis: settings.id, peer: this.peer });
      this.chassis = settings.id;
      this.cancelUnnamed?.();
      this.room.end();
      this.room = this.openRoom();
      if (!this.room.set(this.rowCount)) return false;
      this.vifsKnown = false;
      this.observe(settings.id);
      if (before !== undefined) await this.renamed(before, settings.id);
      this.log.info({ bridge: settings.bridge, encap_ip: settings.encapIp, encap_types: settings.encapTypes }, "host connected");
      if (settings.encapIp === "") this.log.warn("host has no external_ids:axion-encap-ip: it is adopted without tunnels");
    } else if (settings.encapIp === "" && this.settings?.encapIp !== "") {
      this.log.warn("host has no external_ids:axion-encap-ip any more: it loses its tunnels");
    }
    this.settings = settings;
    return true;
  }

  /** From now on, under this name. */
  private observe(chassis: string): void {
    const { observing, clock } = this.inventory.options;
    this.observer?.end();
    this.observer = undefined;
    if (observing === undefined || observing.columns.size === 0 || !this.session.open) return;
    this.observer = new Observer({ ...observing, chassis, clock, log: this.log });
    void this.observer.start(this.session);
  }

  /** Its interfaces are now another chassis': nothing is left under the old name. */
  private async renamed(before: string, now: string): Promise<void> {
    this.log.warn({ before }, "host has another system-id now");
    if (this.inventory.options.cluster?.masters(before) === false) return;
    await this.inventory.remove(before, `is now ${now}`);
  }

  /** undefined: the compiler has not seen the host as it is now. */
  private desiredRows(chassis: string): Wanted["rows"] {
    const { model, desired } = this.inventory.options;
    if (this.awaitsDesired !== undefined && desired.generation < this.awaitsDesired) return undefined;
    this.awaitsDesired = undefined;
    if (model.view.get(chassisTable, chassis) === undefined || this.holdsRows) return undefined;
    const rows = Array.from(desired.rowsOf(chassis));
    const patches = Array.from(desired.patchesOf(chassis));
    return { rows, patches, refused: this.refused.of(rows, patches) };
  }

  /** Writes what the host reports into the model, if it differs from what is stored. */
  private async report(settings: HostSettings, bridge: BridgeRow, ovsVersion: string): Promise<Note[]> {
    const { model, apps, log, guard } = this.inventory.options;
    const id = settings.id;
    const storedChassis = model.view.get(chassisTable, id);
    const uplink_queues = this.rows.uplinkQueues(settings.bridgeMappings);
    const dpid = DPID.test(bridge.datapath_id ?? "") ? bridge.datapath_id : storedChassis?.dpid;
    if (dpid === undefined) return []; // the switch itself has not come up yet
    const fresh = (key: number): Chassis => ({
      id,
      hostname: settings.hostname,
      key,
      bridge: settings.bridge,
      dpid,
      datapath_type: bridge.datapath_type === "" ? "system" : shown(bridge.datapath_type, WORD),
      encap_ip: settings.encapIp,
      encap_types: settings.encapTypes,
      bridge_mappings: settings.bridgeMappings,
      gateway: settings.gateway,
      ...(settings.drain && { drain: true }),
      ovs_version: shown(ovsVersion, WORD),
      ...(settings.vlanLimit === 2 && { vlan_limit: 2 }), ...(settings.zone !== undefined && { zone: settings.zone }), ...(uplink_queues.length > 0 && { uplink_queues }),
    });
    const stored = model.view.by(vifTable, "chassis", id);
    const seen = seeVifs(this.rows, bridge, (name) => model.view.get(vifTable, vifId(id, name)));
    await this.breathe();
    const progress = this.inventory.progress.of(id);
    const chassisDiffers = storedChassis === undefined || !sameChassis(storedChassis, fresh(storedChassis.key));
    if (chassisDiffers || vifsDiffer(stored, seen.plugged)) {
      const { result, generation } = await model.transact(cause(`${differenceText(stored, seen.plugged)} on ${this.chassis ?? this.peer}`, this.inventory.options.random), (tx): VifChanges => {
        // Decided once more after what others wrote.
        if (this.inventory.options.cluster?.masters(id) === false) throw new NotMaster(id);
        const current = tx.get(chassisTable, id);
        const row = fresh(current?.key ?? draw(tx, chassisKeys));
        if (current === undefined || !sameChassis(current, row)) tx.put(chassisTable, row);
        return writeVifs(tx, apps, id, seen.plugged, log, guard, limits.interfacesAPiece);
      });
      if (chassisDiffers) this.awaitsDesired = generation;
      for (const vif of result.removed) {
        progress.awaiting.delete(vif.id);
        progress.installed.delete(vif.id);
      }
      for (const vif of result.unconfirmed) {
        progress.installed.delete(vif.id);
        progress.awaiting.set(vif.id, { vif, generation });
      }
      if (chassisDiffers || result.removed.length > 0 || result.unconfirmed.length > 0) this.dirty = true;
      if (result.more) this.dirty = true;
    }
    await this.breathe();
    if (!this.vifsKnown) this.recognise(id, progress);
    if (progress.awaiting.size > 0) void this.inventory.progress.confirmUpTo(id);
    const notes: Note[] = [...interfaceNotes(this.rows, bridge)];
    for (const d of seen.duplicates) notes.push({ about: `interface ${d.name}`, problem: `interface ${d.first} has the same iface-id ${d.ifaceId}; this one is ignored` });
    if (seen.beyond > 0) notes.unshift({ about: "interfaces", problem: `more than ${limits.interfaces} have an iface-id: ${seen.beyond} are ignored` });
    for (const name of seen.tooLong) notes.push({ about: `interface ${name}`, problem: `its name or iface-id has more than ${limits.interfaceText} characters; it is ignored` });
    return notes;
  }

  /** First look at this session's interfaces: those that the database says are installed, and are as stored, need nothing. */
  private recognise(chassis: string, progress: ChassisProgress): void {
    const { model } = this.inventory.options;
    const marked = new Set<string>();
    for (const row of this.rows.interfacesOn(this.settings?.bridge)) if (row.external_ids[INSTALLED] === "true") marked.add(vifId(chassis, row.name));
    for (const vif of model.view.by(vifTable, "chassis", chassis)) {
      if (progress.awaiting.has(vif.id) || progress.installed.has(vif.id)) continue;
      if (marked.has(vif.id)) {
        progress.installed.add(vif.id);
        // Whoever was the master may have ended before all was done that follows from a confirmation.
        if (this.inventory.options.cluster !== undefined) progress.awaiting.set(vif.id, { vif, generation: model.generation });
      } else {
        progress.awaiting.set(vif.id, { vif, generation: model.generation });
        this.inventory.options.unconfirmed(vif);
      }
    }
    this.vifsKnown = true;
    this.dirty = true; // marks can be compared now
  }

  /** The first of them one by one, the rest as a number: a host may have something to say of each of its interfaces. */
  private reportNotes(all: readonly Note[]): void {
    const notes: Note[] = all.slice(0, limits.notes).map((note) => ({ ...note, about: shown(note.about), problem: shown(note.problem) }));
    if (all.length > notes.length) notes.push({ about: `${all.length - notes.length} more`, problem: "likewise not as it should be", cure: "correct what is named; then what is counted here is named in its place" });
    const now = new Map<string, Reported>();
    for (const note of notes) {
      const text = `${note.about}: ${note.problem}`;
      now.set(text, { ...note, since: this.reported.get(text)?.since ?? this.now() });
      if (!this.reported.has(text)) this.noteLine(note);
    }
    this.reported = now;
    this.withoutTunnels = this.settings?.encapIp === "" && !notes.some(({ about }) => about.includes("encap-ip"));
    this.lastError = notes.length === 0 ? undefined : [...now.keys()].join("; ");
  }

  private closed(reason: Error | undefined): void {
    this.observer?.end();
    this.room.end();
    this.cancelUnnamed?.();
    this.cancelRetry?.();
    this.refused.stop();
    if (this.stopping || reason === undefined) return;
    const fields = { ...(this.chassis !== undefined && { chassis: this.chassis }), peer: this.peer, reason: shown(reason.message) };
    if (reason instanceof OvsdbProtocolError) {
      this.line(fields, "peer on the OVSDB port does not speak OVSDB");
      if (reason.code !== "message too long" && reason.code !== "too much") return;
      if (this.attached) this.overLimit("message", `is disconnected: ${shown(reason.message)}`);
      else this.tooLarge(shown(reason.message));
    } else if (reason instanceof OvsdbConnectionError && reason.code === "no room") {
      this.overLimit("bytes_in_all", "holds the most of the OVSDB messages that are being received and read, and is disconnected: others need the room");
    } else if (this.chassis !== undefined) this.log.info({ reason: fields.reason }, "host disconnected");
    else this.line(fields, "peer on the OVSDB port left before it had a name");
  }

  /** What it says of itself may change as often as it likes. */
  private noteLine(note: Note): void {
    const { troubles, hostLines } = this.inventory.options;
    const message = "host is not as it should be";
    if (this.chassis === undefined) troubles.line("notes", this.identity.address, { peer: this.peer, ...note }, message);
    else hostLines.write("notes", this.chassis, { chassis: this.chassis, peer: this.peer, ...note }, message);
  }

  private line(fields: Readonly<Record<string, unknown>>, message: string): void {
    this.inventory.options.troubles.line("ovsdb", this.identity.address, fields, message);
  }

  private overLimit(limit: string, text: string, cure = `see what speaks OVSDB from ${this.peer}, and how large its database is`): void {
    const { chassis } = this;
    this.inventory.options.troubles.over({ who: chassis ?? this.identity.address, chassis, limit, text, cure });
  }
}
