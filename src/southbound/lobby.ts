// OpenFlow sessions that belong to no chassis (yet): they wait until a host's database has proved whose they are, for a
// limited time and in limited number. Several may claim one datapath id; which of them is right is not decided here.
import type { Logger } from "pino";
import type { Cancel, Clock } from "../lib/clock.ts";
import type { SwitchSession } from "./openflow/session.ts";

export interface LobbyOptions {
  /** Sessions that may wait; more are closed. */
  readonly limit: number;
  readonly timeoutMs: number;
  readonly clock: Clock;
  readonly log: Logger;
}

interface Waiting {
  readonly session: SwitchSession;
  readonly cancel: Cancel;
}

export class Lobby {
  private readonly options: LobbyOptions;
  /** By datapath id, then by address: a new connection from an address replaces its earlier one. */
  private readonly waiting = new Map<string, Map<string, Waiting>>();
  private count = 0;

  constructor(options: LobbyOptions) {
    this.options = options;
  }

  enter(session: SwitchSession): void {
    const { limit, timeoutMs, clock, log } = this.options;
    const { dpid, address, identity: { address: host } } = session;
    const before = this.waiting.get(dpid)?.get(host);
    if (before?.session === session) return;
    if (before !== undefined) {
      this.leave(before.session);
      before.session.close();
    } else if (this.count >= limit) {
      log.warn({ address, dpid }, "too many unknown switches are connected; this one is closed");
      session.close();
      return;
    }
    const cancel = clock.setTimeout(() => {
      this.leave(session);
      log.warn({ address, dpid, timeout_ms: timeoutMs }, "switch is closed: no database that is connected from there reports this datapath id");
      session.close();
    }, timeoutMs);
    const all = this.waiting.get(dpid) ?? new Map<string, Waiting>();
    this.waiting.set(dpid, all.set(host, { session, cancel }));
    this.count++;
  }

  /** It has a switch now, or is closed. */
  leave(session: SwitchSession): void {
    const all = this.waiting.get(session.dpid);
    const entry = all?.get(session.identity.address);
    if (all === undefined || entry?.session !== session) return;
    entry.cancel();
    all.delete(session.identity.address);
    if (all.size === 0) this.waiting.delete(session.dpid);
    this.count--;
  }

  /** Those that claim the datapath id. */
  of(dpid: string): SwitchSession[] {
    return Array.from(this.waiting.get(dpid)?.values() ?? [], (entry) => entry.session);
  }

  clear(): void {
    for (const all of this.waiting.values()) for (const { cancel } of all.values()) cancel();
    this.waiting.clear();
    this.count = 0;
  }
}
