// What a switch says that it has.
import type { Clock } from "../../lib/clock.ts";
import type { InstalledItem, Session } from "./channel.ts";

/** A dump takes no longer, even if it trickles in: others wait for its slot. */
const DUMP_MS = 120_000;

export interface Installed {
  /** OFPMP_FLOW replies. */
  readonly flows: readonly Buffer[];
  readonly items: readonly InstalledItem[];
}

/** Asks for flows, meters and groups, and has the switch show ports of fragments unless it may not be `changed`. @throws OpenFlowError; after a time-out the session is closed */
export async function readInstalled(session: Session, clock: Clock, changed = true): Promise<Installed> {
  const cancel = clock.setTimeout(() => session.close(), DUMP_MS);
  try {
    if (changed) session.showPorts();
    return { flows: await session.flows(), items: await session.items() };
  } finally {
    cancel();
  }
}
