// The inventory: every Open vSwitch database that connected, and which of them is which chassis. What a host reports becomes
// Chassis and Vif rows of the model (host.ts); how far its interfaces are is kept beyond its sessions (progress.ts).
import { chassisTable, type Vif } from "#app";
import type { OvsdbSession } from "ovsdb-client";
import type { Delta } from "../../compiler/desired.ts";
import { Host, type HostOptions, type HostOwner } from "./host.ts";
import { cause, InterfaceProgress } from "./progress.ts";
import { writeVifs } from "./vifs.ts";

const PROBE_TIMEOUT_MS = 3000;

export class Inventory implements HostOwner {
  readonly options: HostOptions;
  private readonly byChassis = new Map<string, Host>();
  private readonly all = new Set<Host>();
  readonly progress: InterfaceProgress;
  private readonly conflicts = new Set<string>();

  constructor(options: HostOptions) {
    this.options = options;
    this.progress = new InterfaceProgress({ ...options, kick: (chassis) => this.byChassis.get(chassis)?.kick() });
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

  /** What an interface is for may have changed: looks whether its mark has to. */
  remark(vif: Vif): void {
    if (this.progress.markDiffers(vif)) this.byChassis.get(vif.chassis)?.kick();
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

  /** Nothing is left of the chassis. */
  async remove(chassis: string, why: string): Promise<void> {
    const { model, apps, log, guard } = this.options;
    await model.transact(cause(`host ${chassis} ${why}`), (tx) => {
      writeVifs(tx, apps, chassis, [], new Set(), log, guard);
      tx.delete(chassisTable, chassis);
    });
    this.progress.forget(chassis);
  }

  /** Ends what is under way, then the sessions. */
  async stop(): Promise<void> {
    await Promise.all([this.progress.stop(), ...[...this.all].map((host) => host.stop())]);
  }
}

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
