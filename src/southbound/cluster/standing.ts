// What this controller is at each switch. Alone it is EQUAL, and brings every switch in order that comes; of several it is the master of some, of which it first
// finds out what others have committed, and stands by at the others.
import type { Logger } from "pino";
import type { Clock } from "../../lib/clock.ts";
import type { SwitchSession } from "../openflow/session.ts";
import { Current } from "./current.ts";
import type { ClusterPort } from "./port.ts";
import { Roles, type RoleRefused, type RolesOptions } from "./roles.ts";

export interface StandingOptions {
  /** undefined: there is no other controller. */
  readonly cluster: ClusterPort | undefined;
  /** The generation that the desired state is of. */
  readonly reached: () => number;
  readonly clock: Clock;
  readonly log: Logger;
  readonly counted: RolesOptions["counted"];
  readonly masterOnHost: RolesOptions["masterOnHost"];
  /** The switch is brought in order by this session from now on. */
  readonly takeOver: (chassis: string, session: SwitchSession) => void;
  /** Another controller is its master, or may be. */
  readonly standBy: (chassis: string, session: SwitchSession) => void;
}

export class Standing {
  private readonly options: StandingOptions;
  private readonly roles: Roles | undefined;
  private readonly current: Current | undefined;
  private stopped = false;

  constructor(options: StandingOptions) {
    this.options = options;
    const { cluster, reached, clock, log, counted, standBy, masterOnHost } = options;
    if (cluster === undefined) return;
    this.current = new Current({ cluster, reached, clock });
    this.roles = new Roles({ cluster, clock, log, counted, masterOnHost, master: (chassis, session) => void this.begin(chassis, session), slave: standBy });
  }

  /** A session of which it is known whose switch it is. */
  enter(chassis: string, session: SwitchSession): void {
    if (this.roles === undefined) this.options.takeOver(chassis, session);
    else this.roles.enter(chassis, session);
  }

  leave(chassis: string, session: SwitchSession): void {
    this.roles?.leave(chassis, session);
  }

  /** Whether it is this controller that knows what the switch has confirmed. */
  isMaster(chassis: string): boolean {
    const { cluster } = this.options;
    return cluster === undefined || cluster.masterOf(chassis) === cluster.name;
  }

  /** What the master of a switch has told that it has confirmed; undefined: that is this controller. */
  toldOf(chassis: string): number | undefined {
    return this.isMaster(chassis) ? undefined : this.options.cluster!.confirmed(chassis);
  }

  /** The last generation of which a host's database has all rows, as its master has told; undefined: that is this controller. */
  rowsToldOf(chassis: string): number | undefined {
    return this.isMaster(chassis) ? undefined : this.options.cluster!.rows(chassis);
  }

  /** The switch refuses changes, as it has another master: whether this controller took itself for it. */
  deposed(chassis: string, session?: SwitchSession): boolean {
    return this.roles?.deposed(chassis, session) === true;
  }

  /** Since when the switch refuses this controller's role; undefined: it does not. */
  refusing(chassis: string): RoleRefused | undefined {
    return this.roles?.refusing(chassis);
  }

  /** Switches of which this controller is the master; undefined: there is no other. */
  get mastered(): number | undefined {
    return this.roles?.mastered;
  }

  /** As GET /switches shows it. */
  shown(chassis: string): { readonly role: "equal" | "master" | "slave" | "none"; readonly master: string | null } {
    const { cluster } = this.options;
    return cluster === undefined ? { role: "equal", master: null } : { role: this.roles!.of(chassis) ?? "none", master: cluster.masterOf(chassis) ?? null };
  }

  /** Until what others have committed by now is desired here. */
  known(chassis: string): Promise<void> | undefined {
    return this.current?.is(chassis);
  }

  /** The desired state is of a later generation. */
  moved(): void {
    this.current?.moved();
  }

  stop(): void {
    this.stopped = true;
    this.roles?.stop();
    this.current?.stop();
  }

  /** Nobody else changes the switch any more; what others have committed by now is what it is compared with. */
  private async begin(chassis: string, session: SwitchSession): Promise<void> {
    await this.current!.is(chassis);
    if (!this.stopped && this.roles!.isBy(chassis, session)) this.options.takeOver(chassis, session);
  }
}
