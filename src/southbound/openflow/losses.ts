// How much of what a switch has would go if it were made what is desired. Told by what flows are for, which their cookies say, and not
// by the flows: with other apps, or in another version, the same is said in other tables and registers.
import { decodeMatch, eachFlowStats, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import { isOfRule } from "../../lib/cookies.ts";
import { FLOWS_A_STEP, type YieldTurn } from "./turns.ts";
import { GOING_HI } from "./withdrawal.ts";

export interface Losses {
  /** Flows of a controller on the switch, but for those that every switch has; and those of them that are for nothing that is desired. */
  readonly flows: number;
  readonly going: number;
  /** Of the plugged ports: those that the switch lets send, and those of them that it would let no more. */
  readonly ports: number;
  readonly cutOff: number;
}

/** Fewer flows are no measure: plugged ports are. */
const FEW_FLOWS = 50;

/**
 * More than may go without somebody saying so: over half of the flows, or all plugged ports. Where it is not known which ports are plugged, any one
 * that is cut off may be all of them.
 */
export const tooMuch = ({ flows, going, ports, cutOff }: Losses, known: boolean): boolean =>
  (flows >= FEW_FLOWS && going * 2 > flows) || (cutOff > 0 && (!known || cutOff === ports));

export interface LossesOptions {
  /** OpenFlow ports of interfaces; undefined: not known, and all that flows let in are taken for such. */
  readonly plugged: ReadonlySet<number> | undefined;
  /** Whether a high cookie is of what every switch has. */
  readonly isStatic: (cookieHi: number) => boolean;
  readonly yieldTurn: YieldTurn;
}

/** `parts`: OFPMP_FLOW replies. undefined: a turn of others ended it. */
export async function lossesOf(parts: readonly Buffer[], desired: Iterable<Flow>, { plugged, isStatic, yieldTurn }: LossesOptions): Promise<Losses | undefined> {
  const wanted = new Set<number>();
  const letIn = new Set<number>();
  const portOf = (buf: Buffer, matchOff: number): number | undefined => {
    const port = decodeMatch(buf, matchOff).in_port;
    return typeof port === "number" && plugged?.has(port) !== false ? port : undefined;
  };
  let n = 0;
  // All of one moment.
  for (const flow of Array.from(desired)) {
    wanted.add(flow.cookieLo);
    const port = flow.table === 0 ? portOf(flow.slab, flow.off + FLOW_MOD_MATCH_OFFSET) : undefined;
    if (port !== undefined) letIn.add(port);
    if (++n % FLOWS_A_STEP === 0 && !(await yieldTurn())) return undefined;
  }
  let flows = 0;
  let going = 0;
  const sending = new Set<number>();
  for (const part of parts) {
    eachFlowStats(part, ({ table_id, cookie_hi, cookie_lo, buf, match_off }) => {
      if (!isOfRule(cookie_hi) || cookie_hi === GOING_HI || isStatic(cookie_hi)) return;
      flows++;
      if (!wanted.has(cookie_lo)) going++;
      const port = table_id === 0 ? portOf(buf, match_off) : undefined;
      if (port !== undefined) sending.add(port);
    });
    if (!(await yieldTurn())) return undefined;
  }
  return { flows, going, ports: sending.size, cutOff: [...sending].filter((port) => !letIn.has(port)).length };
}
