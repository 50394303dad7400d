// What switches are asked because somebody wants to know: their flows, ports and counters, and how what is installed differs from what is desired.
import type { PortCount } from "#app";
import { OpenFlowError } from "node-openflow";
import type { Desired, Flow } from "../compiler/desired.ts";
import type { Clock } from "../lib/clock.ts";
import { limits } from "./bounds/limits.ts";
import type { CookieOptions, MeterCounts, SwitchPort } from "./openflow/channel.ts";
import { compareDump, type Seen } from "./openflow/comparison.ts";
import { sameInstructions } from "./openflow/session.ts";
import type { Switch } from "./openflow/switch.ts";
import type { SyncSlots } from "./openflow/sync-slots.ts";

export interface QuestionsOptions {
  /** undefined: it never connected. */
  readonly switchOf: (chassis: string) => Switch | undefined;
  /** Of those that are compared at a time. */
  readonly slots: SyncSlots;
  readonly desired: Desired;
  readonly clock: Clock;
}

export class Questions {
  private readonly options: QuestionsOptions;

  constructor(options: QuestionsOptions) {
    this.options = options;
  }

  /** OFPMP_FLOW replies of the flows with a cookie; undefined when it is not connected. */
  flowsWith(chassis: string, cookie: bigint, options?: CookieOptions): Promise<Buffer[]> | undefined {
    return this.options.switchOf(chassis)?.flowsWith(cookie, options);
  }

  /** What the ports of a switch have counted; undefined: it is not connected, or does not say. */
  async portCounts(chassis: string): Promise<readonly PortCount[] | undefined> {
    try {
      return await this.options.switchOf(chassis)?.portCounts();
    } catch {
      return undefined;
    }
  }

  /** What the meters of a switch have counted; [] when it is not connected. */
  meterCounts(chassis: string): Promise<MeterCounts[]> {
    return this.options.switchOf(chassis)?.meterCounts() ?? Promise.resolve([]);
  }

  /**
   * Asks the switch for its flows and compares; `seen` is called for each. Desired flows it lacks are in the answer.
   * @throws OpenFlowError when it does not show them in limits.askedDumpMs, or too much
   */
  async compareInstalled(chassis: string, seen: Seen): Promise<readonly Flow[]> {
    const { slots, desired, clock } = this.options;
    const ticket = slots.take();
    const cancel = clock.setTimeout(() => ticket.end(), limits.askedDumpMs);
    try {
      if (!(await ticket.granted)) throw new OpenFlowError("OF_TIMEOUT", "other switches are compared, and take long");
      cancel();
      const target = this.options.switchOf(chassis);
      const compare = async (parts: readonly Buffer[]): Promise<readonly Flow[]> => {
        const comparison = await compareDump(desired.flowsOf(chassis), parts, sameInstructions, desired.learnedTables, () => true, clock, undefined, seen);
        return comparison!.finish().missing;
      };
      return await (target === undefined ? compare([]) : target.withFlows(limits.askedDumpMs, compare));
    } finally {
      cancel();
      ticket.end();
    }
  }

  /** Likewise of one table, of which `wanted` are the desired flows. undefined: it is not connected. @throws OpenFlowError */
  compareTable(chassis: string, table: number, wanted: readonly Flow[], seen: Seen): Promise<void> | undefined {
    const { desired, clock } = this.options;
    return this.options.switchOf(chassis)?.tableFlows(table, wanted, limits.askedDumpMs, async (parts) => {
      await compareDump(wanted, parts, sameInstructions, desired.learnedTables, () => true, clock, undefined, seen);
    });
  }

  /** Ports of a switch; undefined when it is not connected. */
  ports(chassis: string): Promise<SwitchPort[]> | undefined {
    return this.options.switchOf(chassis)?.ports();
  }
}
