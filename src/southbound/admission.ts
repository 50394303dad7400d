// Which switch an OpenFlow session is. A datapath id is a claim; what proves it is a certificate that names the chassis or,
// without TLS, the address that the database of the chassis is connected from. Who cannot prove it yet waits in the lobby,
// who contradicts it is refused, and so is who comes while the switch has a session that still answers.
import type { Chassis } from "#app";
import type { RefusedClaims } from "./claims.ts";
import type { Identity } from "./identity.ts";
import { Lobby, type LobbyOptions } from "./lobby.ts";
import type { Session } from "./openflow/channel.ts";
import type { SwitchSession } from "./openflow/session.ts";

/** chassis: the one it may be. proved: it is. wait: its database is not connected. refuse: it is not. */
export type Verdict =
  | { readonly result: "proved" | "wait"; readonly chassis: Readonly<Chassis> }
  | { readonly result: "refuse"; readonly chassis: Readonly<Chassis>; readonly reason: string }
  | undefined;

/**
 * `rows`: those with the datapath id that is claimed; copies of one host's disk have the same. `addressOf`: where the database of
 * a chassis is connected from. undefined: nobody has that datapath id.
 */
export function identify({ names, address }: Identity, rows: readonly Readonly<Chassis>[], addressOf: (chassis: string) => string | undefined): Verdict {
  const [first] = rows;
  if (first === undefined) return undefined;
  if (names !== undefined) {
    const named = rows.find((row) => names.includes(row.id));
    return named === undefined ? { result: "refuse", chassis: first, reason: `its certificate names ${names.join(", ") || "nobody"}` } : { result: "proved", chassis: named };
  }
  const there = rows.find((row) => addressOf(row.id) === address);
  if (there !== undefined) return { result: "proved", chassis: there };
  const away = rows.find((row) => addressOf(row.id) === undefined);
  if (away !== undefined) return { result: "wait", chassis: away };
  return { result: "refuse", chassis: first, reason: `the database of this chassis is connected from ${addressOf(first.id) ?? "elsewhere"}` };
}

export interface AdmissionOptions extends LobbyOptions {
  readonly rows: (dpid: string) => readonly Readonly<Chassis>[];
  readonly addressOf: (chassis: string) => string | undefined;
  /** The session that a switch has. */
  readonly sessionOf: (chassis: string) => Session | undefined;
  readonly probeTimeoutMs: number;
  readonly refusals: RefusedClaims;
  readonly admitted: (chassis: Readonly<Chassis>, session: SwitchSession) => void;
}

export class Admission {
  private readonly options: AdmissionOptions;
  private readonly lobby: Lobby;
  /** Wait until the session that their switch has answered, or did not. */
  private readonly contesting = new Set<SwitchSession>();

  constructor(options: AdmissionOptions) {
    this.options = options;
    this.lobby = new Lobby(options);
  }

  enter(session: SwitchSession): void {
    const { rows, addressOf, sessionOf, refusals, admitted } = this.options;
    if (session.closed || this.contesting.has(session)) return;
    const verdict = identify(session.identity, rows(session.dpid), addressOf);
    if (verdict?.result === "refuse") {
      this.refuse(session, verdict.chassis.id, verdict.reason);
      return;
    }
    const incumbent = verdict === undefined ? undefined : sessionOf(verdict.chassis.id);
    if (incumbent === session) return;
    if (verdict !== undefined && incumbent !== undefined) {
      void this.contest(session, verdict.chassis.id, incumbent);
      return;
    }
    if (verdict?.result !== "proved") {
      this.lobby.enter(session);
      return;
    }
    this.lobby.leave(session);
    refusals.accepted(verdict.chassis.id, "datapath id", session.identity.address);
    admitted(verdict.chassis, session);
  }

  /** Something about this datapath id changed: those that wait may be admitted now. */
  retry(dpid: string): void {
    for (const session of this.lobby.of(dpid)) this.enter(session);
  }

  leave(session: SwitchSession): void {
    this.lobby.leave(session);
  }

  clear(): void {
    this.lobby.clear();
  }

  private async contest(session: SwitchSession, chassis: string, incumbent: Session): Promise<void> {
    this.lobby.enter(session);
    this.contesting.add(session);
    const alive = await incumbent.alive(this.options.probeTimeoutMs);
    this.contesting.delete(session);
    if (session.closed) return;
    if (alive) this.refuse(session, chassis, `the switch is connected from ${incumbent.address}, and answers there`);
    else {
      this.options.refusals.replaced(chassis, "datapath id", session.address, incumbent.address);
      incumbent.close();
      this.enter(session);
    }
  }

  private refuse(session: SwitchSession, chassis: string, reason: string): void {
    this.lobby.leave(session);
    this.options.refusals.refuse(chassis, "datapath id", session.identity.address, reason);
    session.close();
  }
}
