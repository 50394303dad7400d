// How much of what a switch has would go if it were made what is desired. Told by what flows are for, which their cookies say, and not
// by the flows: with other apps, or in another version, the same is said in other tables and registers.
import { decodeMatch, eachFlowStats, FLOW_MOD_MATCH_OFFSET } from "node-openflow";
import type { Flow } from "../../compiler/desired.ts";
import { isOfRule } from "../../lib/cookies.ts";
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

/** More than may go without somebody saying so: over half of the flows, or all plugged ports. */
export const tooMuch = ({ flows, going, ports, cutOff }: Losses): boolean => (flows >= FEW_FLOWS && going * 2 > flows) || (ports > 0 && cutOff === ports);

/** `parts`: OFPMP_FLOW replies. `plugged`: OpenFlow ports of interfaces. `isStatic`: whether a high cookie is of what every switch has. */
export function lossesOf(parts: readonly Buffer[], desired: Iterable<Flow>, plugged: ReadonlySet<number>, isStatic: (cookieHi: number) => boolean): Losses {
  const wanted = new Set<number>();
  const letIn = new Set<number>();
  const portOf = (buf: Buffer, matchOff: number): number | undefined => {
    const port = decodeMatch(buf, matchOff).in_port;
    return typeof port === "number" && plugged.has(port) ? port : undefined;
  };
  for (const flow of desired) {
    wanted.add(flow.cookieLo);
    const port = flow.table === 0 ? portOf(flow.slab, flow.off + FLOW_MOD_MATCH_OFFSET) : undefined;
    if (port !== undefined) letIn.add(port);
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
  }
  return { flows, going, ports: sending.size, cutOff: [...sending].filter((port) => !letIn.has(port)).length };
}
