// What a switch says that it has.
import { OpenFlowError } from "node-openflow";
import type { Clock } from "../../lib/clock.ts";
import type { ByteBudget, Room } from "../bounds/byte-budget.ts";
import type { Flow } from "../../compiler/desired.ts";
import { limits } from "../bounds/limits.ts";
import { holderOf } from "../identity.ts";
import type { InstalledItem, Session } from "./channel.ts";

/** A dump takes no longer, even if it trickles in: others wait for its slot. */
const DUMP_MS = 120_000;

export interface Installed {
  /** OFPMP_FLOW replies. */
  readonly flows: readonly Buffer[];
  readonly items: readonly InstalledItem[];
}

/** Where the dumps of a peer count. */
export const roomOf = (session: Pick<Session, "identity">, budget: ByteBudget): Room => budget.of({ name: holderOf(session.identity) });

/** Bytes that a dump may have where these flows should be. */
export function dumpLimit(desired: Iterable<Flow>): number {
  let bytes = 0;
  for (const flow of desired) bytes += flow.len;
  return Math.max(limits.dumpBytes, bytes * limits.dumpFactor);
}

/**
 * Asks for the flows alone, of one table if it is named; what is read counts in `budget` until `use` is done. Where others need the room, it rejects, and takes the parts from `use`.
 * @throws OpenFlowError
 */
export async function withDump<T>(session: Pick<Session, "flows">, desired: Iterable<Flow>, budget: Room, timeoutMs: number | undefined, use: (parts: Buffer[]) => Promise<T> | T, table?: number): Promise<T> {
  let giveUp = (): void => undefined;
  const holding = budget.open(() => giveUp());
  try {
    const parts = await session.flows({ holding, maxBytes: dumpLimit(desired), timeoutMs, table });
    const evicted = new Promise<never>((_, reject) => {
      giveUp = () => {
        parts.length = 0;
        reject(new OpenFlowError("OF_LIMIT", "too much is read of all switches at once"));
      };
    });
    return await Promise.race([use(parts), evicted]);
  } finally {
    holding.end();
  }
}

/**
 * Asks for flows, meters and groups, which count in `budget` until `use` is done with them; has the switch show ports of fragments unless it may not
 * be `changed`.
 * @throws OpenFlowError; after a time-out, or where others need the room, the session is closed
 */
export async function withInstalled<T>(session: Pick<Session, "flows" | "items" | "showPorts" | "close">, desired: Iterable<Flow>, clock: Clock, budget: Room, use: (installed: Installed) => Promise<T>, changed = true): Promise<T> {
  const cancel = clock.setTimeout(() => session.close(), DUMP_MS);
  const holding = budget.open(() => session.close());
  try {
    if (changed) session.showPorts();
    const flows = await session.flows({ holding, maxBytes: dumpLimit(desired) });
    const items = await session.items();
    cancel();
    return await use({ flows, items });
  } finally {
    cancel();
    holding.end();
  }
}
