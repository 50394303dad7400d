// How far the interfaces of each chassis are: plugged, their flows confirmed by the switch, marked so in the database. It
// outlives the sessions of a host, so that one that comes back is not announced again.
import { vifTable, type App, type Vif } from "#app";
import type { Logger } from "pino";
import type { HookGuard } from "../../lib/hook-guard.ts";
import type { Random } from "../../lib/random.ts";
import type { Cause, Model } from "../../model/model.ts";
import { limits } from "../bounds/limits.ts";
import type { ClusterPort } from "../cluster/port.ts";
import { runHook, serves } from "./vifs.ts";

export type ModelPort = Pick<Model, "transact" | "view" | "generation" | "onCommit">;

export interface ChassisProgress {
  readonly awaiting: Map<string, { readonly vif: Vif; readonly generation: number }>;
  readonly installed: Set<string>;
  /** Those of them that are marked so in the database, as of the last comparison. */
  readonly marked: Set<string>;
  confirming: boolean;
}

export interface ProgressOptions {
  readonly model: ModelPort;
  readonly apps: readonly App[];
  readonly log: Logger;
  readonly guard: HookGuard;
  readonly random: Random;
  /** The generation that a chassis' switch has confirmed, 0 = none. */
  readonly confirmed: (chassis: string) => number;
  /** Something about the chassis' interfaces has to be written to its database. */
  readonly kick: (chassis: string) => void;
  /** Of several controllers: whether this one writes for a host. */
  readonly cluster?: Pick<ClusterPort, "masters"> | undefined;
}

export class InterfaceProgress {
  private readonly options: ProgressOptions;
  private readonly byChassis = new Map<string, ChassisProgress>();
  private readonly waiting = new Set<string>();
  private readonly confirmations = new Set<Promise<void>>();
  private stopping = false;

  constructor(options: ProgressOptions) {
    this.options = options;
  }

  /** Chassis whose interfaces wait for their switch to confirm flows. */
  get awaiting(): ReadonlySet<string> {
    return this.waiting;
  }

  /** Whether the interface is known to wait for its switch's first confirmation. Until its database has been here, nothing is. */
  unconfirmed(vif: string, chassis: string): boolean {
    const progress = this.byChassis.get(chassis);
    return progress !== undefined && progress.awaiting.has(vif) && !progress.installed.has(vif);
  }

  /**
   * Something about the port behind an installed interface changed in `generation`: once the switch has that as well, the
   * apps are notified again. So a port that was down and is up again becomes active with no new plug.
   */
  recheck(vif: Vif, generation: number): void {
    const progress = this.byChassis.get(vif.chassis);
    if (progress === undefined || !progress.installed.has(vif.id) || progress.awaiting.has(vif.id)) return;
    progress.awaiting.set(vif.id, { vif, generation });
    this.waiting.add(vif.chassis);
  }

  /** Whether an interface gets the mark axion-installed: its flows are confirmed, and something is reached by it. */
  marks(vif: Vif): boolean {
    const { apps, guard, model } = this.options;
    if (this.byChassis.get(vif.chassis)?.installed.has(vif.id) !== true) return false;
    return serves(model.view, apps, vif, guard);
  }

  /** Whether the mark in the database is another than marks() says, as of the last comparison. */
  markDiffers(vif: Vif): boolean {
    return this.byChassis.get(vif.chassis)?.marked.has(vif.id) !== this.marks(vif);
  }

  /** The switch of `chassis` confirmed more: notifies the apps of interfaces that became ready, in a transaction, or several if they are many. */
  async confirmUpTo(chassis: string): Promise<void> {
    const progress = this.byChassis.get(chassis);
    if (progress === undefined || progress.confirming || this.stopping) return;
    if (progress.awaiting.size === 0) {
      this.waiting.delete(chassis);
      return;
    }
    this.waiting.add(chassis);
    progress.confirming = true;
    const { model, apps, log, guard, confirmed } = this.options;
    let done = (): void => undefined;
    const work = new Promise<void>((resolve) => (done = resolve));
    this.confirmations.add(work);
    try {
      while (!this.stopping) {
        const generation = confirmed(chassis);
        const ready = generation === 0 ? [] : some(progress.awaiting.values(), (a) => a.generation <= generation, limits.interfacesAPiece);
        if (ready.length === 0 || this.isOthers(chassis)) return;
        await model.transact(cause(`flows confirmed by ${chassis}`, this.options.random), (tx) => {
          if (this.isOthers(chassis)) return;
          for (const { vif } of ready) if (sameVif(tx.get(vifTable, vif.id), vif)) runHook(tx, apps, "installed", vif, guard);
        });
        for (const entry of ready) {
          if (progress.awaiting.get(entry.vif.id) !== entry || this.isOthers(chassis)) continue;
          progress.awaiting.delete(entry.vif.id);
          progress.installed.add(entry.vif.id);
        }
        this.options.kick(chassis);
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

  private isOthers(chassis: string): boolean {
    return this.options.cluster?.masters(chassis) === false;
  }

  of(chassis: string): ChassisProgress {
    let progress = this.byChassis.get(chassis);
    if (progress === undefined) this.byChassis.set(chassis, (progress = { awaiting: new Map(), installed: new Set(), marked: new Set(), confirming: false }));
    return progress;
  }

  forget(chassis: string): void {
    this.waiting.delete(chassis);
    this.byChassis.delete(chassis);
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.stopping = true;
    await Promise.all(this.confirmations);
  }
}

const sameVif = (a: Readonly<Vif> | undefined, b: Vif): boolean =>
  a !== undefined && a.iface_id === b.iface_id && a.ofport === b.ofport && a.slot === b.slot;

/** The first for which it holds, `most` of them. */
function some<T>(all: Iterable<T>, holds: (one: T) => boolean, most: number): T[] {
  const found: T[] = [];
  for (const one of all) {
    if (found.length >= most) break;
    if (holds(one)) found.push(one);
  }
  return found;
}

/** `random`: other controllers of the cluster, and this one after a restart, write other ids. */
export const cause = (call: string, random: Random): Cause => ({ requestId: `req-${random.uuid()}`, call, own: true });
