// The inventory: every Open vSwitch database that connected, adopted and followed. Each host has one loop that compares what
// is with what should be (its database with the plan of adoption.ts, the stored rows with what it reported) and writes
// differences only; events merely make the loop run. What a host reports becomes Chassis and Vif rows of the model.
import { chassisTable, vifTable, type App, type Chassis, type Tx, type Vif } from "#app";
import { comment, OvsdbProtocolError, Replica, type OvsdbSession } from "ovsdb-client";
import type { Logger } from "pino";
import type { Delta, Desired, OvsPort } from "../../compiler/desired.ts";
import type { Cause, Model } from "../../model/model.ts";
import { HostRows, INSTALLED, monitoredColumns, plan, type BridgeRow, type Note } from "./adoption.ts";
import { peerOf } from "../peer.ts";
import { readSettings, type HostSettings } from "./settings.ts";
import { runHook, seeVifs, vifId, vifsDiffer, writeVifs, type VifChanges } from "./vifs.ts";

export type ModelPort = Pick<Model, "transact" | "view" | "generation" | "onCommit">;

export interface InventoryOptions {
  readonly model: ModelPort;
  readonly desired: Desired;
  readonly apps: readonly App[];
  readonly log: Logger;
  /** Marks our Controller rows, so that several controllers can tell theirs apart. */
  readonly controllerId: string;
  /** OpenFlow target for a host, from the local address of its database session. */
  readonly target: (localAddress: string) => string;
  /** The generation that a chassis' switch has confirmed, 0 = none. */
  readonly confirmed: (chassis: string) => number;
  /** A stored interface turned out to be one that its switch never confirmed. */
  readonly unconfirmed: (vif: Vif) => void;
  readonly handshakeTimeoutMs: number;
}

/** A slot is not given out again for this long, if others are free. */
const SLOT_REST_MS = 60_000;
const PROBE_TIMEOUT_MS = 3000;
const RETRY_MIN_MS = 1000;
const RETRY_MAX_MS = 30_000;

/** How far the interfaces of a chassis are; outlives its sessions. */
interface Progress {
  readonly awaiting: Map<string, { readonly vif: Vif; readonly generation: number }>;
  readonly installed: Set<string>;
  /** Those of them that are marked so in the database, as of the last comparison. */
  readonly marked: Set<string>;
  readonly restingSlots: Map<number, number>;
  confirming: boolean;
}

export class Inventory {
  readonly options: InventoryOptions;
  private readonly byChassis = new Map<string, Host>();
  private readonly all = new Set<Host>();
  private readonly progress = new Map<string, Progress>();
  private readonly waiting = new Set<string>();
  private readonly conflicts = new Set<string>();
  private readonly confirmations = new Set<Promise<void>>();
  private stopping = false;

  constructor(options: InventoryOptions) {
    this.options = options;
  }

  accept(session: OvsdbSession): void {
    const host = new Host(this, session);
    this.all.add(host);
    session.once("close", () => {
      this.all.delete(host);
      if (host.chassis !== undefined && this.byChassis.get(host.chassis) === host) this.byChassis.delete(host.chassis);
    });
    void host.run();
  }

  /** The live database session of a chassis. */
  host(chassis: string): Host | undefined {
    return this.byChassis.get(chassis);
  }

  get hosts(): Iterable<Host> {
    return this.byChassis.values();
  }

  onDelta(delta: Delta): void {
    for (const [chassis, d] of delta.chassis) if (d.portsChanged) this.byChassis.get(chassis)?.kick();
    for (const host of this.all) if (host.awaitsDesired !== undefined && delta.generation >= host.awaitsDesired) host.kick();
  }

  /** Chassis whose interfaces wait for their switch to confirm flows. */
  get awaiting(): ReadonlySet<string> {
    return this.waiting;
  }

  /** Whether the interface is known to wait for its switch's first confirmation. Until its database has been here, nothing is. */
  unconfirmed(vif: string, chassis: string): boolean {
    const progress = this.progress.get(chassis);
    return progress !== undefined && progress.awaiting.has(vif) && !progress.installed.has(vif);
  }

  /**
   * Something about the port behind an installed interface changed in `generation`: once the switch has that as well, the
   * apps are told again. So a port that was down and is up again becomes active with no new plug.
   */
  recheck(vif: Vif, generation: number): void {
    const progress = this.progress.get(vif.chassis);
    if (progress === undefined || !progress.installed.has(vif.id) || progress.awaiting.has(vif.id)) return;
    progress.awaiting.set(vif.id, { vif, generation });
    this.waiting.add(vif.chassis);
  }

  /** Whether an interface gets the mark axion-installed: its flows are confirmed, and something is reached by it. */
  marks(vif: Vif): boolean {
    const { apps, model } = this.options;
    if (this.progress.get(vif.chassis)?.installed.has(vif.id) !== true) return false;
    const asked = apps.filter((app) => app.vif?.serves !== undefined);
    return asked.length === 0 || asked.some((app) => app.vif?.serves?.(model.view, vif) === true);
  }

  /** What an interface is for may have changed: looks whether its mark has to. */
  remark(vif: Vif): void {
    if (this.progress.get(vif.chassis)?.marked.has(vif.id) !== this.marks(vif)) this.byChassis.get(vif.chassis)?.kick();
  }

  /** The switch of `chassis` confirmed more: tells the apps of interfaces that became ready, in one transaction. */
  async confirmUpTo(chassis: string): Promise<void> {
    const progress = this.progress.get(chassis);
    if (progress === undefined || progress.confirming || this.stopping) return;
    if (progress.awaiting.size === 0) {
      this.waiting.delete(chassis);
      return;
    }
    this.waiting.add(chassis);
    progress.confirming = true;
    const { model, apps, log, confirmed } = this.options;
    let done = (): void => undefined;
    const work = new Promise<void>((resolve) => (done = resolve));
    this.confirmations.add(work);
    try {
      while (!this.stopping) {
        const generation = confirmed(chassis);
        const ready = generation === 0 ? [] : [...progress.awaiting.values()].filter((a) => a.generation <= generation);
        if (ready.length === 0) return;
        await model.transact(cause(`flows confirmed by ${chassis}`), (tx) => {
          for (const { vif } of ready) if (sameVif(tx.get(vifTable, vif.id), vif)) runHook(tx, apps, "installed", vif, log);
        });
        for (const entry of ready) {
          if (progress.awaiting.get(entry.vif.id) !== entry) continue;
          progress.awaiting.delete(entry.vif.id);
          progress.installed.add(entry.vif.id);
        }
        this.byChassis.get(chassis)?.kick();
      }
    } catch (error) {
      log.error({ err: error, chassis }, "interfaces could not be marked as installed");
    } finally {
      progress.confirming = false;
      this.confirmations.delete(work);
      done();
      if (progress.awaiting.size === 0) this.waiting.delete(chassis);
    }
  }

  /**
   * Makes `host` the one session of the chassis. False if another live host has the name: then this one has to go.
   */
  async claim(host: Host, chassis: string): Promise<boolean> {
    for (;;) {
      const other = this.byChassis.get(chassis);
      if (other === undefined || other === host || !other.session.open) break;
      if (await isAlive(other.session)) {
        const key = `${chassis} ${host.address}`;
        if (!this.conflicts.has(key)) {
          if (this.conflicts.size > 10_000) this.conflicts.clear();
          this.conflicts.add(key);
          this.options.log.error({ chassis, peer: host.peer, owner: other.peer }, "two hosts have the same system-id; the second one is refused");
        }
        return false;
      }
      await other.session.close();
    }
    if (!host.session.open) return false;
    if (host.chassis !== undefined && host.chassis !== chassis && this.byChassis.get(host.chassis) === host) this.byChassis.delete(host.chassis);
    this.byChassis.set(chassis, host);
    return true;
  }

  progressOf(chassis: string): Progress {
    let progress = this.progress.get(chassis);
    if (progress === undefined) this.progress.set(chassis, (progress = { awaiting: new Map(), installed: new Set(), marked: new Set(), restingSlots: new Map(), confirming: false }));
    return progress;
  }

  /** Nothing is left of the chassis. */
  async remove(chassis: string, why: string): Promise<void> {
    const { model, apps, log } = this.options;
    await model.transact(cause(`host ${chassis} ${why}`), (tx) => {
      writeVifs(tx, apps, chassis, [], new Set(), log);
      tx.delete(chassisTable, chassis);
    });
    this.waiting.delete(chassis);
    this.progress.delete(chassis);
  }

  /** Ends what is under way, then the sessions. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all([...this.confirmations, ...[...this.all].map((host) => host.stop())]);
  }
}

/** One OVSDB session: a host, from its first byte to its last. */
export class Host {
  readonly session: OvsdbSession;
  readonly peer: string;
  /** Remote address without its port. */
  readonly address: string;
  readonly since = new Date();
  /** Once it has said its name and got it. */
  chassis: string | undefined;
  settings: HostSettings | undefined;
  lastError: string | undefined;
  /** Generation that the desired state must have reached before this host's ports can be compared with it. */
  awaitsDesired: number | undefined;
  private readonly inventory: Inventory;
  private readonly replica = new Replica("Open_vSwitch", monitoredColumns);
  private readonly rows = new HostRows(this.replica);
  private log: Logger;
  private dirty = false;
  private working: Promise<void> | undefined;
  private stopping = false;
  private timer: NodeJS.Timeout | undefined;
  private retryMs = RETRY_MIN_MS;
  /** Complaints that were logged and still hold. */
  private said = new Set<string>();
  /** The last transaction, to notice one that has no effect. */
  private last = { text: "", at: 0 };
  /** Interfaces were compared with the stored ones at least once in this session. */
  private vifsKnown = false;

  constructor(inventory: Inventory, session: OvsdbSession) {
    this.inventory = inventory;
    this.session = session;
    this.peer = peerOf(session.socket).text;
    this.address = peerOf(session.socket).host;
    this.log = inventory.options.log.child({ peer: this.peer });
    session.on("close", (reason) => this.closed(reason));
  }

  async run(): Promise<void> {
    const timer = setTimeout(() => {
      this.log.warn({ timeout_ms: this.inventory.options.handshakeTimeoutMs }, "peer on the OVSDB port did not answer in time");
      void this.session.close();
    }, this.inventory.options.handshakeTimeoutMs);
    try {
      await this.replica.attach(this.session);
    } catch (error) {
      if (this.session.open) {
        this.log.warn({ err: error }, "peer on the OVSDB port is no Open vSwitch database");
        void this.session.close();
      }
      return;
    } finally {
      clearTimeout(timer);
    }
    this.replica.on("change", () => this.kick());
    this.replica.on("lost", () => {
      // The server dropped the monitor (its schema changed): it has to be followed anew, by a new session.
      if (this.session.open) void this.session.close();
    });
    this.kick();
  }

  /** Something may have changed: compares everything again, now or after the comparison under way. */
  kick(): void {
    this.dirty = true;
    if (this.working !== undefined || this.stopping || !this.replica.synced) return;
    clearTimeout(this.timer);
    this.working = this.work().finally(() => {
      this.working = undefined;
      if (this.dirty && this.timer === undefined) this.kick();
    });
  }

  async stop(): Promise<void> {
    this.stopping = true;
    clearTimeout(this.timer);
    await this.working;
    await this.session.close();
  }

  private async work(): Promise<void> {
    this.timer = undefined;
    try {
      while (this.dirty && !this.stopping && this.session.open) {
        this.dirty = false;
        await this.reconcile();
      }
      this.retryMs = RETRY_MIN_MS;
    } catch (error) {
      if (!this.session.open || this.stopping) return;
      this.lastError = error instanceof Error ? error.message : String(error);
      this.log.error({ err: error, retry_ms: this.retryMs }, "host could not be brought in order");
      this.again(this.retryMs);
      this.retryMs = Math.min(this.retryMs * 2, RETRY_MAX_MS);
    }
  }

  private again(ms: number): void {
    this.timer = setTimeout(() => {
      this.timer = undefined;
      this.kick();
    }, ms);
    this.timer.unref();
  }

  private async reconcile(): Promise<void> {
    const { options } = this.inventory;
    const root = this.rows.root;
    if (root === undefined) return;
    const { settings, problems } = readSettings(root.external_ids);
    const notes: Note[] = problems.map((p) => ({ about: `external_ids:${p.key}=${p.value}`, problem: p.problem }));
    if (settings === undefined) {
      this.say(notes);
      return;
    }
    if (!(await this.name(settings))) return;
    const chassis = settings.id;

    const { operations, notes: planned } = plan(this.rows, {
      settings,
      target: options.target(peerOf(this.session.socket).local),
      controllerId: options.controllerId,
      ports: this.desiredPorts(chassis),
      installed: (name) => (this.vifsKnown ? this.mark(chassis, name) : undefined),
    });
    if (operations.length > 0) {
      const text = JSON.stringify(operations);
      if (text === this.last.text && Date.now() - this.last.at < RETRY_MIN_MS) {
        // Somebody undoes it at once, or the switch does not keep it.
        throw new Error("the database does not stay as it was set");
      }
      this.last = { text, at: Date.now() };
      await this.replica.transact([...operations, comment(`axion: ${chassis} brought in order`)]);
      this.dirty = true; // the switch may have answered; at worst one more comparison
    }

    const bridge = this.rows.bridge(settings.bridge);
    if (bridge !== undefined) notes.push(...(await this.report(settings, bridge, root.ovs_version ?? "")));
    this.say([...notes, ...planned]);
  }

  private mark(chassis: string, name: string): boolean {
    const { marked } = this.inventory.progressOf(chassis);
    const vif = this.inventory.options.model.view.get(vifTable, vifId(chassis, name));
    const marks = vif !== undefined && this.inventory.marks(vif);
    if (marks) marked.add(vif.id);
    else marked.delete(vifId(chassis, name));
    return marks;
  }

  /** Settles what the host is called. False: it may not have that name. */
  private async name(settings: HostSettings): Promise<boolean> {
    const before = this.chassis;
    if (before !== settings.id) {
      if (!(await this.inventory.claim(this, settings.id))) {
        await this.session.close();
        return false;
      }
      this.log = this.inventory.options.log.child({ chassis: settings.id, peer: this.peer });
      this.chassis = settings.id;
      this.vifsKnown = false;
      if (before !== undefined) await this.renamed(before, settings.id);
      this.log.info({ bridge: settings.bridge, encap_ip: settings.encapIp, encap_types: settings.encapTypes }, "host connected");
      if (settings.encapIp === "") this.log.warn("host has no external_ids:axion-encap-ip: it is adopted without tunnels");
    } else if (settings.encapIp === "" && this.settings?.encapIp !== "") {
      this.log.warn("host has no external_ids:axion-encap-ip any more: it loses its tunnels");
    }
    this.settings = settings;
    return true;
  }

  /** Its interfaces are now another chassis': nothing is left under the old name. */
  private async renamed(before: string, now: string): Promise<void> {
    this.log.warn({ before }, "host has another system-id now");
    await this.inventory.remove(before, `is now ${now}`);
  }

  /** undefined: the compiler has not seen the host as it is now. */
  private desiredPorts(chassis: string): readonly OvsPort[] | undefined {
    const { model, desired } = this.inventory.options;
    if (this.awaitsDesired !== undefined && desired.generation < this.awaitsDesired) return undefined;
    this.awaitsDesired = undefined;
    if (model.view.get(chassisTable, chassis) === undefined) return undefined;
    return Array.from(desired.portsOf(chassis));
  }

  /** Writes what the host reports into the model, if it differs from what is stored. */
  private async report(settings: HostSettings, bridge: BridgeRow, ovsVersion: string): Promise<Note[]> {
    const { model, apps, log } = this.inventory.options;
    const id = settings.id;
    const storedChassis = model.view.get(chassisTable, id);
    const dpid = bridge.datapath_id ?? storedChassis?.dpid;
    if (dpid === undefined) return []; // the switch itself has not come up yet
    const fresh = (key: number): Chassis => ({
      id,
      hostname: settings.hostname,
      key,
      bridge: settings.bridge,
      dpid,
      datapath_type: bridge.datapath_type === "" ? "system" : bridge.datapath_type,
      encap_ip: settings.encapIp,
      encap_types: settings.encapTypes,
      bridge_mappings: settings.bridgeMappings,
      gateway: settings.gateway,
      ovs_version: ovsVersion,
    });
    const stored = model.view.by(vifTable, "chassis", id);
    const seen = seeVifs(this.rows, bridge, (name) => model.view.get(vifTable, vifId(id, name)));
    const progress = this.inventory.progressOf(id);
    const chassisDiffers = storedChassis === undefined || !sameChassis(storedChassis, fresh(storedChassis.key));
    if (chassisDiffers || vifsDiffer(stored, seen.plugged)) {
      const avoid = restingSlots(progress);
      const { result, generation } = await model.transact(cause(this.describe(stored, seen.plugged)), (tx): VifChanges => {
        const current = tx.get(chassisTable, id);
        const row = fresh(current?.key ?? newChassisKey(tx));
        if (current === undefined || !sameChassis(current, row)) tx.put(chassisTable, row);
        return writeVifs(tx, apps, id, seen.plugged, avoid, log);
      });
      if (chassisDiffers) this.awaitsDesired = generation;
      for (const vif of result.removed) {
        progress.awaiting.delete(vif.id);
        progress.installed.delete(vif.id);
        progress.restingSlots.set(vif.slot, Date.now() + SLOT_REST_MS);
      }
      for (const vif of result.unconfirmed) {
        progress.installed.delete(vif.id);
        progress.awaiting.set(vif.id, { vif, generation });
      }
      if (chassisDiffers || result.removed.length > 0 || result.unconfirmed.length > 0) this.dirty = true;
    }
    if (!this.vifsKnown) this.recognise(id, progress);
    if (progress.awaiting.size > 0) void this.inventory.confirmUpTo(id);
    return seen.duplicates.map((d) => ({ about: `interface ${d.name}`, problem: `interface ${d.first} has the same iface-id ${d.ifaceId}; this one is ignored` }));
  }

  /** First look at this session's interfaces: those that the database says are installed, and are as stored, need nothing. */
  private recognise(chassis: string, progress: Progress): void {
    const { model } = this.inventory.options;
    const marked = new Set<string>();
    for (const bridge of [this.rows.bridge(this.settings?.bridge ?? "")]) {
      if (bridge === undefined) continue;
      for (const port of this.rows.portsOf(bridge)) {
        for (const row of this.rows.interfacesOf(port)) if (row.external_ids[INSTALLED] === "true") marked.add(vifId(chassis, row.name));
      }
    }
    for (const vif of model.view.by(vifTable, "chassis", chassis)) {
      if (progress.awaiting.has(vif.id) || progress.installed.has(vif.id)) continue;
      if (marked.has(vif.id)) progress.installed.add(vif.id);
      else {
        progress.awaiting.set(vif.id, { vif, generation: model.generation });
        this.inventory.options.unconfirmed(vif);
      }
    }
    this.vifsKnown = true;
    this.dirty = true; // marks can be compared now
  }

  private describe(stored: readonly Vif[], plugged: readonly { readonly name: string; readonly ifaceId: string }[]): string {
    const before = new Map(stored.map((v) => [v.name, v.iface_id]));
    const now = new Map(plugged.map((p) => [p.name, p.ifaceId]));
    const changes = [
      ...plugged.filter((p) => before.get(p.name) !== p.ifaceId).map((p) => `${p.name} plugged`),
      ...stored.filter((v) => now.get(v.name) !== v.iface_id).map((v) => `${v.name} unplugged`),
    ];
    const text = changes.length === 0 ? "inventory changed" : changes.length > 4 ? `${changes.length} interfaces changed` : changes.join(", ");
    return `${text} on ${this.chassis ?? this.peer}`;
  }

  private say(notes: readonly Note[]): void {
    const now = new Set<string>();
    for (const note of notes) {
      const text = `${note.about}: ${note.problem}`;
      now.add(text);
      if (!this.said.has(text)) this.log.warn(note, "host is not as it should be");
    }
    this.said = now;
    this.lastError = notes.length === 0 ? undefined : [...now].join("; ");
  }

  private closed(reason: Error | undefined): void {
    clearTimeout(this.timer);
    if (this.stopping || reason === undefined) return;
    if (reason instanceof OvsdbProtocolError) this.log.warn({ reason: reason.message }, "peer on the OVSDB port does not speak OVSDB");
    else if (this.chassis !== undefined) this.log.info({ reason: reason.message }, "host disconnected");
    else this.log.warn({ reason: reason.message }, "peer on the OVSDB port left before it said its name");
  }
}

let requests = 0;
export const cause = (call: string): Cause => ({ requestId: `southbound-${++requests}`, call });

async function isAlive(session: OvsdbSession): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<false>((resolve) => (timer = setTimeout(() => resolve(false), PROBE_TIMEOUT_MS)));
  const answer = session.request("echo", []).then(
    () => true,
    () => session.open,
  );
  const alive = await Promise.race([answer, silence]);
  clearTimeout(timer);
  return alive;
}

function newChassisKey(tx: Tx): number {
  return tx.allocate("chassis-key", { min: 1, max: 65_535, used: (n) => tx.count(chassisTable, "key", String(n)) > 0 });
}

function restingSlots(progress: Progress): ReadonlySet<number> {
  const now = Date.now();
  for (const [slot, until] of progress.restingSlots) if (until < now) progress.restingSlots.delete(slot);
  return new Set(progress.restingSlots.keys());
}

const sameVif = (a: Readonly<Vif> | undefined, b: Vif): boolean =>
  a !== undefined && a.iface_id === b.iface_id && a.ofport === b.ofport && a.slot === b.slot;

function sameChassis(a: Chassis, b: Chassis): boolean {
  const mappings = Object.entries(b.bridge_mappings);
  return (
    a.hostname === b.hostname && a.key === b.key && a.bridge === b.bridge && a.dpid === b.dpid && a.datapath_type === b.datapath_type &&
    a.encap_ip === b.encap_ip && a.gateway === b.gateway && a.ovs_version === b.ovs_version &&
    a.encap_types.length === b.encap_types.length && a.encap_types.every((t, i) => t === b.encap_types[i]) &&
    mappings.length === Object.keys(a.bridge_mappings).length && mappings.every(([physnet, bridge]) => a.bridge_mappings[physnet] === bridge)
  );
}
