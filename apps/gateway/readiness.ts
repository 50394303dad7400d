// Whether a host may be used as a gateway. One whose switch has not confirmed its flows would swallow packets, as would one that is being
// drained as soon as it is gone; both say so in BFD (cpath_down), and their peers use the next one. Who uses a host and who stands for it are told
// one after the other, so that there is no moment at which a packet finds nobody: of a host that leaves its fellows hear first, since
// they begin to take what comes from outside; of one that is back its users do.
import { chassisTable, type ServiceDecl, type ServiceHost, type Tx } from "#app";
import { seenAlive, whileGateways } from "./activity.ts";
import { gatewayPlanTable, gatewayReadyTable, routerGatewayTable, type GatewayPlan, type GatewayReady } from "./model.ts";
import { teachBridges } from "./teaching.ts";

/** Seconds between looks. */
const LOOK_S = 0.25;
/** Seconds until all peers have heard the one thing, and the other is said: three intervals of BFD, and what a switch takes to act. */
const STEP_S = 1;
/** Gateways that are written in one transaction. */
const AT_ONCE = 500;
/** Seconds after the start in which a host that was ready may still be on its way here. */
const START_S = 10;

interface Known {
  /** Since the start, or since it was lost. */
  seen: boolean;
  /** When the next step may be taken. */
  dueMs: number;
  /** Generation with its flows as a gateway. */
  since: number;
}

export const readiness: ServiceDecl = {
  name: "gateway-readiness",
  about: "tells the peers of gateways which of them may be used: those whose flows are confirmed, and that are not being drained",
  start(host) {
    const known = new Map<string, Known>();
    const startedMs = host.clock.monotonic();
    const of = (chassis: string): Known => {
      let entry = known.get(chassis);
      if (entry === undefined) known.set(chassis, (entry = { seen: false, dueMs: 0, since: 0 }));
      return entry;
    };
    host.onCommit([gatewayPlanTable], (changes, generation) => {
      for (const { before, after } of changes) {
        const had = (before as GatewayPlan | undefined)?.hosts ?? [];
        // Hosts that have this gateway and were ready with others stay so: nobody has used this one yet.
        for (const id of (after as GatewayPlan | undefined)?.hosts ?? []) if (!had.includes(id) && host.view.get(gatewayReadyTable, id) === undefined) of(id).since = generation;
      }
    });
    whileGateways(host, LOOK_S, () => look(host, of, startedMs));
    return undefined;
  },
};

async function look(host: ServiceHost, of: (chassis: string) => Known, startedMs: number): Promise<void> {
  const { view, clock } = host;
  const now = clock.monotonic();
  const changes = new Map<string, GatewayReady | undefined>();
  const back: string[] = [];
  const gateways = new Set([...[...view.all(chassisTable)].filter((c) => view.count(gatewayPlanTable, "host", c.id) > 0).map((c) => c.id), ...[...view.all(gatewayReadyTable)].map((r) => r.id)]);
  for (const id of gateways) {
    if (!host.masters(id)) continue;
    const row = view.get(gatewayReadyTable, id);
    const chassis = view.get(chassisTable, id);
    // Before anybody may use it with these: from then on they have it, also while it is drained anew.
    if (chassis?.drain !== true && view.count(routerGatewayTable, "avoids", id) > 0) {
      back.push(id);
      continue;
    }
    const entry = of(id);
    const synced = host.synced(id);
    if (synced !== undefined) entry.seen = true;
    const none = chassis === undefined || view.count(gatewayPlanTable, "host", id) === 0;
    // One that its fellows see dead is used by nobody: it comes back as one that is not ready, even if its flows were lost before this controller began.
    const lost = (synced === undefined && (entry.seen || now - startedMs > START_S * 1000)) || (synced !== true && view.by(gatewayPlanTable, "host", id).some((plan) => seenAlive(view, plan, id) === false));
    let wanted: Pick<GatewayReady, "users" | "fellows">;
    if (none || lost) wanted = NOT;
    else if (chassis.drain === true) wanted = row?.fellows === true ? { users: row.users, fellows: false } : NOT;
    else if (row === undefined) wanted = synced === true && host.confirmed(id) >= entry.since ? { users: true, fellows: false } : NOT;
    else wanted = { users: true, fellows: true };
    if ((row?.users ?? false) === wanted.users && (row?.fellows ?? false) === wanted.fellows) continue;
    if (!none && !lost && now < entry.dueMs) continue;
    entry.dueMs = now + STEP_S * 1000;
    if (lost) entry.seen = false;
    changes.set(id, wanted.users || wanted.fellows ? { id, ...wanted } : undefined);
  }
  if (back.length > 0) {
    await host.transact(`gateways of ${back.join(", ")}: no longer elsewhere`, (tx) => {
      for (const id of back) if (tx.get(chassisTable, id)?.drain !== true) notAvoided(tx, id);
    });
  }
  if (changes.size === 0) return;
  const isUsed = (id: string): boolean => view.get(gatewayReadyTable, id)?.users === true;
  teachBridges(host, changes.keys(), isUsed, (id) => (changes.has(id) ? changes.get(id)?.users === true : isUsed(id)));
  await host.transact(`gateways of ${[...changes.keys()].join(", ")}: who may use them`, (tx) => {
    for (const [id, row] of changes) put(tx, id, row);
  });
}
const NOT = { users: false, fellows: false } as const;

function put(tx: Tx, id: string, row: GatewayReady | undefined): void {
  if (row === undefined) tx.delete(gatewayReadyTable, id);
  else tx.put(gatewayReadyTable, row);
}

/** Gateways that avoided a host do so no more; the rest of them in the next look. */
function notAvoided(tx: Tx, chassis: string): void {
  for (const gateway of tx.by(routerGatewayTable, "avoids", chassis).slice(0, AT_ONCE)) {
    const { avoids, ...row } = gateway;
    const rest = avoids!.filter((id) => id !== chassis);
    tx.put(routerGatewayTable, rest.length === 0 ? row : { ...row, avoids: rest });
  }
}
