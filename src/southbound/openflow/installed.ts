// What a switch says that it has.
import type { Timing } from "../timing.ts";
import type { InstalledItem, Session } from "./channel.ts";

/** A dump takes no longer, even if it trickles in: others wait for its slot. */
const DUMP_MS = 120_000;

export interface Installed {
  /** OFPMP_FLOW replies. */
  readonly flows: readonly Buffer[];
  readonly items: readonly InstalledItem[];
}

/** Asks for flows, meters and groups. @throws OpenFlowError; after a time-out the session is closed */
export async function readInstalled(session: Session, timing: Timing): Promise<Installed> {
  const cancel = timing.after(DUMP_MS, () => session.close());
  try {
    return { flows: await session.flows(), items: await session.items() };
  } finally {
    cancel();
  }
}
