// What a switch says that it has.
import { OpenFlowError } from "node-openflow";
import type { Timing } from "../timing.ts";
import type { InstalledMeter, Session } from "./channel.ts";

/** A dump takes no longer, even if it trickles in: others wait for its slot. */
const DUMP_MS = 120_000;

export interface Installed {
  /** OFPMP_FLOW replies. */
  readonly flows: readonly Buffer[];
  readonly meters: readonly InstalledMeter[];
}

/** Asks for flows and meters. @throws OpenFlowError; after a time-out the session is closed */
export async function readInstalled(session: Session, timing: Timing): Promise<Installed> {
  const cancel = timing.after(DUMP_MS, () => session.close());
  try {
    return { flows: await session.flows(), meters: await metersOf(session) };
  } finally {
    cancel();
  }
}

/** Switches without meters answer with an error; then there are none. */
async function metersOf(session: Session): Promise<InstalledMeter[]> {
  try {
    return await session.meters();
  } catch (error) {
    if (error instanceof OpenFlowError && error.code === "OF_PEER_ERROR") return [];
    throw error;
  }
}
