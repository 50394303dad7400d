// Meters of one switch: which ids it has, which have to be set or removed. They cannot be part of a bundle, so they go beside
// it: set before the flows that use them, removed after the flows that did.
import type { ChassisDelta, Meter } from "../../compiler/desired.ts";
import type { InstalledMeter, Session } from "./channel.ts";

export interface MeterChange {
  readonly set: ReadonlyMap<number, Meter>;
  readonly remove: ReadonlySet<number>;
}

export class Meters {
  private set = new Map<number, Meter>();
  private remove = new Set<number>();
  /** Ids on the switch. */
  private installed = new Set<number>();
  /** Counts changes, wanted or sent: whoever compares notices one that came in between. */
  revision = 0;

  get pending(): boolean {
    return this.set.size > 0 || this.remove.size > 0;
  }

  forget(): void {
    this.set = new Map();
    this.remove = new Set();
  }

  apply(delta: ChassisDelta): void {
    this.revision += delta.addMeters.length + delta.removeMeters.length;
    for (const meter of delta.addMeters) {
      this.remove.delete(meter.id);
      this.set.set(meter.id, meter);
    }
    for (const meter of delta.removeMeters) {
      if (delta.addMeters.some((m) => m.id === meter.id)) continue;
      this.set.delete(meter.id);
      this.remove.add(meter.id);
    }
  }

  /** What differs on the switch becomes pending. */
  compare(installed: readonly InstalledMeter[], desired: Iterable<Meter>): void {
    this.installed = new Set(installed.map((m) => m.id));
    const found = new Map(installed.map((m) => [m.id, m]));
    for (const meter of desired) {
      const now = found.get(meter.id);
      found.delete(meter.id);
      if (now?.ratePps !== meter.ratePps || now.burst !== meter.burst) this.set.set(meter.id, meter);
    }
    for (const id of found.keys()) this.remove.add(id);
  }

  /** What is pending, which is then on its way. */
  take(): MeterChange {
    const change = { set: this.set, remove: this.remove };
    this.forget();
    return change;
  }

  sendSet(session: Session, change: MeterChange): void {
    for (const meter of change.set.values()) {
      session.setMeter(meter, this.installed.has(meter.id));
      this.installed.add(meter.id);
      this.revision++;
    }
  }

  sendRemove(session: Session, change: MeterChange): void {
    for (const id of change.remove) if (this.installed.delete(id)) session.removeMeter(id);
  }
}
