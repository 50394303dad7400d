// Conntrack zones that were given up (a pool number that is going): flushed on their switch once the flows that used them are gone, then
// free. Until then the number stays in the store, so that whatever ends in between, somebody flushes it.
import { poolNumberTable, zonePool, type PoolNumber } from "#app";
import type { Logger } from "pino";
import type { Desired } from "../compiler/desired.ts";
import type { Random } from "../lib/random.ts";
import type { ClusterPort } from "./cluster/port.ts";
import type { Switch } from "./openflow/switch.ts";
import { cause, type ModelPort } from "./ovsdb/progress.ts";

export interface ZonesOptions {
  readonly model: ModelPort;
  readonly desired: Desired;
  readonly log: Logger;
  readonly random: Random;
  readonly switchOf: (chassis: string) => Switch | undefined;
  /** Of several controllers: whether this one acts for a chassis. */
  readonly cluster?: Pick<ClusterPort, "masters"> | undefined;
}

export class Zones {
  private readonly options: ZonesOptions;
  private readonly freeing = new Set<string>();
  /** Chassis of which more went meanwhile. */
  private readonly again = new Set<string>();

  constructor(options: ZonesOptions) {
    this.options = options;
  }

  /** Frees the numbers that are released on a chassis, if its switch is there and has all that it should. */
  async free(chassis: string): Promise<void> {
    const { model, desired, log, switchOf } = this.options;
    const target = switchOf(chassis);
    const session = target?.session;
    const releasing = (): readonly Readonly<PoolNumber>[] => model.view.by(poolNumberTable, "part", `${zonePool.name}/${chassis}`).filter((n) => n.releasing);
    // The flows that are desired now may still use it, while the compiler has not seen that it goes.
    if (this.freeing.has(chassis)) {
      this.again.add(chassis);
      return;
    }
    const ours = (): boolean => this.options.cluster?.masters(chassis) !== false;
    if (target === undefined || session === undefined || !ours() || releasing().length === 0 || desired.generation < model.generation) return;
    this.freeing.add(chassis);
    try {
      await target.whenIdle();
      if (target.state !== "connected") return;
      const numbers = releasing();
      for (const { n } of numbers) target.flushZone(n);
      await target.whenIdle();
      // What another session was sent, or who is not the master any more, may not have been done.
      if (target.state !== "connected" || target.session !== session || !ours()) return;
      await model.transact(cause(`zones flushed on ${chassis}`, this.options.random), (tx) => {
        for (const { id } of numbers) if (tx.get(poolNumberTable, id)?.releasing === true) tx.delete(poolNumberTable, id);
      });
    } catch (error) {
      log.error({ err: error, chassis }, "zones that were given up could not be freed");
    } finally {
      this.freeing.delete(chassis);
      if (this.again.delete(chassis)) void this.free(chassis);
    }
  }
}
