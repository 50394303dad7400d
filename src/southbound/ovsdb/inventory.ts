// The inventory: every Open vSwitch database that connected, and which of them is which chassis. What a host reports becomes
// Chassis and Vif rows of the model (host.ts); how far its interfaces are is kept beyond its sessions (progress.ts).
import { chassisTable, forgetPart, poolNumberTable, zonePool, type Vif } from "#app";
import type { OvsdbSession } from "ovsdb-client";
import type { Delta } from "../../compiler/desired.ts";
import type { Cancel, Clock } from "../../lib/clock.ts";
import { ByteBudget, type Holding } from "../bounds/byte-budget.ts";
import { limits } from "../bounds/limits.ts";
import { holderOf } from "../identity.ts";
import { masterAmong } from "../cluster/controller-rows.ts";
import { Host, type HostOptions, type HostOwner } from "./host.ts";
import { cause, InterfaceProgress } from "./progress.ts";
import { writeVifs } from "./vifs.ts";

const KICKS_A_TURN = 8;

export class Inventory implements HostOwner {
  readonly options: HostOptions;
  private readonly byChassis = new Map<string, Host>();
  private readonly all = new Set<Host>();
  readonly progress: InterfaceProgress;
  /** Rows that are followed, in all and of databases that are no host's yet. */
  private readonly rows = { all: new ByteBudget(limits.rowsInAll), strangers: new ByteBudget(limits.strangersRows) };
  /** Of those, which are to be looked at anew, in turns of the event loop; whether one is to come. */
  private readonly waiting = new Set<Host>();
  private kicking = false;
  /** Chassis whose database is not connected any more, since when. */
  private readonly lost = new Map<string, Date>();

  constructor(options: HostOptions) {
    this.options = options;
    this.progress = new InterfaceProgress({ ...options, kick: (chassis) => this.byChassis.get(chassis)?.kick() });
  }

  accept(session: OvsdbSession): void {
    const host = new Host(this, session);
    this.all.add(host);
    session.once("close", () => {
      this.all.delete(host);
      this.waiting.delete(host);
      if (host.chassis === undefined || this.byChassis.get(host.chassis) !== host) return;
      this.byChassis.delete(host.chassis);
      if (this.options.model.view.get(chassisTable, host.chassis) !== undefined) this.lost.set(host.chassis, new Date(this.options.clock.now()));
      this.options.left(host.chassis);
    });
    void host.run();
  }

  /** The live database session of a chassis. */
  host(chassis: string): Host | undefined {
    return this.byChassis.get(chassis);
  }

  /** Which controller the switch of a chassis is connected to as its master, null: none, as its database says; undefined: it is not connected. */
  async masterOnHost(chassis: string): Promise<string | null | undefined> {
    const host = this.byChassis.get(chassis);
    return host && masterAmong(host.session, host.controllers);
  }

  /** Room for the rows that a database has. */
  roomFor(host: Pick<Host, "chassis" | "identity">, giveUp: () => void): Holding {
    return (host.chassis === undefined ? this.rows.strangers : this.rows.all).open(giveUp, { name: holderOf(host.identity) });
  }

  /** When the database of a chassis went; undefined: it is here, or has not been. */
  lostAt(chassis: string): Date | undefined {
    return this.lost.get(chassis);
  }

  /** All that are connected, also those without a name. */
  get hosts(): Iterable<Host> {
    return this.all;
  }

  onDelta(delta: Delta): void {
    for (const [chassis, d] of delta.chassis) if (d.rowsChanged) this.byChassis.get(chassis)?.rowsChanged(delta.generation);
    for (const host of this.all) if (host.awaitsDesired !== undefined && delta.generation >= host.awaitsDesired) host.kick();
  }

  /** Which controller writes for which host, or which others there are, is not as before. */
  kickAll(these?: readonly string[]): void {
    const hosts = these?.flatMap((id) => this.byChassis.get(id) ?? []) ?? [...this.all];
    // First those of which who writes has changed, before any that wait already.
    const next = [...hosts.filter((host) => !host.isAsItActs), ...this.waiting, ...hosts];
    this.waiting.clear();
    for (const host of next) this.waiting.add(host);
    if (!this.kicking) this.kickSome();
  }

  /** A few in a turn of the event loop: of a thousand each of which takes a part of a millisecond all together would hold it. */
  private kickSome(): void {
    let left = KICKS_A_TURN;
    for (const host of this.waiting) {
      if (left-- === 0) break;
      this.waiting.delete(host);
      host.kick();
    }
    this.kicking = this.waiting.size > 0;
    if (this.kicking) setImmediate(() => this.kickSome());
  }

  /** What an interface is for may have changed: looks whether its mark has to. */
  remark(vif: Vif): void {
    if (this.options.cluster?.masters(vif.chassis) === false) return;
    if (this.progress.markDiffers(vif)) this.byChassis.get(vif.chassis)?.kick();
  }

  /**
   * Makes `host` the one session of the chassis. False: its certificate does not have the name, or another live host has it;
   * then this one has to go.
   */
  async claim(host: Host, chassis: string): Promise<boolean> {
    const { refusals, probeTimeoutMs, occupied, claimed } = this.options;
    const { address, names } = host.identity;
    const refuse = (reason: string): false => {
      refusals.refuse(chassis, "system-id", address, reason);
      return false;
    };
    if (names?.includes(chassis) === false) return refuse(`its certificate names ${names.join(", ") || "nobody"}`);
    let before: string | undefined;
    do {
      const other = this.rival(chassis, host);
      if (other !== undefined && (await isAlive(other.session, probeTimeoutMs, this.options.clock))) {
        // Other controllers have told the host of this one, which it knew by another target.
        if (this.options.cluster !== undefined && other.identity.address === address) return false;
        return refuse(`the database of ${other.peer} has this system-id and is connected`);
      }
      // Without certificates a switch that is connected vouches for where its host is; asked before anybody has to give way.
      if (names === undefined && (await occupied(chassis, address))) return refuse("the switch of this system-id is connected from another address");
      if (!host.session.open) return false;
      if (other?.session.open === true) {
        before = other.peer;
        await other.session.close();
      }
    } while (this.rival(chassis, host) !== undefined);
    if (!host.session.open) return false;
    if (host.chassis !== undefined && host.chassis !== chassis && this.byChassis.get(host.chassis) === host) {
      this.byChassis.delete(host.chassis);
      this.options.left(host.chassis);
    }
    this.byChassis.set(chassis, host);
    this.lost.delete(chassis);
    if (before !== undefined) refusals.replaced(chassis, "system-id", host.peer, before);
    refusals.accepted(chassis, "system-id", address);
    claimed(chassis);
    return true;
  }

  /** Another live session that has the chassis. */
  private rival(chassis: string, host: Host): Host | undefined {
    const other = this.byChassis.get(chassis);
    return other === host || other?.session.open !== true ? undefined : other;
  }

  /** Nothing is left of the chassis. */
  async remove(chassis: string, why: string): Promise<void> {
    const { model, apps, log, guard, random } = this.options;
    await model.transact(cause(`host ${chassis} ${why}`, random), (tx) => {
      writeVifs(tx, apps, chassis, [], log, guard);
      for (const { id } of tx.by(poolNumberTable, "part", `${zonePool.name}/${chassis}`)) tx.delete(poolNumberTable, id);
      for (const pool of [zonePool, ...apps.flatMap((app) => app.pools ?? [])]) forgetPart(tx, pool, chassis);
      tx.delete(chassisTable, chassis);
    });
    this.forget(chassis);
  }

  /** The chassis is gone, whichever controller took it away. */
  forget(chassis: string): void {
    this.progress.forget(chassis);
    this.lost.delete(chassis);
  }

  /** Ends what is under way, then the sessions. */
  async stop(): Promise<void> {
    this.waiting.clear();
    await Promise.all([this.progress.stop(), ...[...this.all].map((host) => host.stop())]);
  }
}

async function isAlive(session: OvsdbSession, timeoutMs: number, clock: Clock): Promise<boolean> {
  let cancel: Cancel | undefined;
  const silence = new Promise<false>((resolve) => (cancel = clock.setTimeout(() => resolve(false), timeoutMs)));
  const answer = session.request("echo", []).then(
    () => true,
    () => session.open,
  );
  const alive = await Promise.race([answer, silence]);
  cancel?.();
  return alive;
}
