// Whether a host may be used as a gateway. One whose switch has not confirmed its flows would swallow packets, as would one that is being
// drained as soon as it is gone; both say so in BFD (cpath_down), and their peers use the next one. A host is left, and had again, in steps, each of
// which all that it is about have confirmed before the next: (1) its fellows take what comes to them from outside, as it does itself; (2) when it is
// left its users send to the next, which hands on to it, so that all still leaves by one host; (3) its fellows hear that it is left, and the next one sends
// outside itself from one packet on; (4) they are silent again for whoever is before them. When it is had again, (3) is before (2). So users do not send
// outside by two hosts at once, and what physical switches still lead to the other one gets in there.
import { chassisTable, observed, type LiveView, type ServiceDecl, type ServiceHost, type Tx } from "#app";
import { whileGateways } from "./activity.ts";
import { gatewayPeerTable, gatewayPlanTable, gatewayReadyTable, handsOver, peerPortName, routerGatewayTable, seenAlive, type GatewayPlan, type GatewayReady } from "./model.ts";
import { teachBridges } from "./teaching.ts";

/** Seconds between looks. */
const LOOK_S = 0.25;
/** Seconds that a step takes at least: three intervals of BFD, and what a switch takes to act. */
const STEP_S = 1;
/** Gateways that are written in one transaction. */
const AT_ONCE = 500;
/** Seconds after which the next step is taken though somebody has not confirmed this one: whoever does not answer does not keep a host from being left. */
const CONFIRM_S = 4;
/** Seconds after the start in which a host that was ready may still be on its way here. */
const START_S = 10;

interface Known {
  /** Since the start, or since it was lost. */
  seen: boolean;
  /** When the last step was taken; undefined: none since the start. */
  steppedMs: number | undefined;
  /** Generation of the last step. */
  stepped: number;
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
      if (entry === undefined) known.set(chassis, (entry = { seen: false, steppedMs: undefined, stepped: 0, since: 0 }));
      return entry;
    };
    host.onCommit([gatewayPlanTable], (changes, generation) => {
      for (const { before, after } of changes) {
        const had = (before as GatewayPlan | undefined)?.hosts ?? [];
        // Hosts that have this gateway and were ready with others stay so: nobody has used this one yet.
        for (const id of (after as GatewayPlan | undefined)?.hosts ?? []) if (!had.includes(id) && host.view.get(gatewayReadyTable, id) === undefined) of(id).since = generation;
      }
    });
    // A step that another controller takes is heard of with its commit, which is long before BFD tells users.
    host.onCommit([gatewayReadyTable], (changes) => {
      const was = new Map(changes.filter(({ id }) => !host.masters(id)).map(({ id, before }) => [id, before as GatewayReady | undefined]));
      const acting = (id: string): boolean => acts(host.view.get(gatewayReadyTable, id));
      if (was.size > 0) teachBridges(host, was.keys(), (id) => (was.has(id) ? acts(was.get(id)) : acting(id)), acting);
    });
    whileGateways(host, LOOK_S, async () => {
      const gateways = gatewayHosts(host.view);
      // Who has none any more, and hands over none, is as one that comes anew.
      for (const id of known.keys()) if (!gateways.has(id)) known.delete(id);
      await look(host, gateways, of, startedMs);
    });
    return undefined;
  },
};

/** Hosts that have gateways, or are known to be ready. */
const gatewayHosts = (view: LiveView): ReadonlySet<string> =>
  new Set([...[...view.all(chassisTable)].filter((c) => view.count(gatewayPlanTable, "host", c.id) > 0).map((c) => c.id), ...[...view.all(gatewayReadyTable)].map((r) => r.id)]);

async function look(host: ServiceHost, gateways: ReadonlySet<string>, of: (chassis: string) => Known, startedMs: number): Promise<void> {
  const { view, clock } = host;
  const now = clock.monotonic();
  const changes = new Map<string, GatewayReady | undefined>();
  const back: string[] = [];
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
    const settling = now - startedMs <= START_S * 1000;
    const none = chassis === undefined || view.count(gatewayPlanTable, "host", id) === 0;
    // One that its fellows see dead is used by nobody: it comes back as one that is not ready, even if its flows were lost before this controller began.
    const lost = (synced === undefined && (entry.seen || !settling)) || (synced !== true && view.by(gatewayPlanTable, "host", id).some((plan) => seenAlive(view, plan, id) === false));
    // It may be coming yet, as all do after a start: a step that its switch does not hear of is none.
    if (!none && !lost && synced === undefined) continue;
    let wanted: GatewayReady | undefined;
    if (none || lost) wanted = undefined;
    else if (handsOver(view, chassis)) wanted = stepToLeft(id, row);
    else if (row === undefined && !(synced === true && host.confirmed(id) >= entry.since)) continue;
    else wanted = stepToUsed(id, row, () => hasUsedFellow(view, id));
    if (wanted !== undefined && (chassis?.gateway === true || row?.gateway === true)) wanted = { ...wanted, gateway: true };
    if (isSame(row, wanted)) continue;
    // What a controller before this one was about goes on from where it was stored.
    const stepMs = entry.steppedMs ?? (row?.shared === true ? startedMs : undefined);
    if (!none && !lost && stepMs !== undefined && now < stepMs + (isConfirmed(host, id, row, entry.stepped, settling) ? STEP_S : CONFIRM_S) * 1000) continue;
    entry.steppedMs = now;
    if (lost) entry.seen = false;
    changes.set(id, wanted);
  }
  if (back.length > 0) {
    await host.transact(`gateways of ${back.join(", ")}: no longer elsewhere`, (tx) => {
      for (const id of back) if (tx.get(chassisTable, id)?.drain !== true) notAvoided(tx, id);
    });
  }
  if (changes.size === 0) return;
  const acting = (id: string): boolean => acts(view.get(gatewayReadyTable, id));
  teachBridges(host, changes.keys(), acting, (id) => (changes.has(id) ? acts(changes.get(id)) : acting(id)));
  const { generation } = await host.transact(`gateways of ${[...changes.keys()].join(", ")}: who may use them`, (tx) => {
    for (const [id, row] of changes) put(tx, id, row);
  });
  for (const id of changes.keys()) of(id).stepped = generation;
}

/** Who sends outside is what fellows believe; of one that nobody stands for, what users do. */
const acts = (row: Readonly<GatewayReady> | undefined): boolean => row !== undefined && (row.fellows || row.users);

const isSame = (a: Readonly<GatewayReady> | undefined, b: Readonly<GatewayReady> | undefined): boolean => a?.users === b?.users && a?.fellows === b?.fellows && a?.shared === b?.shared && a?.gateway === b?.gateway;

/** The next step of a host that is to be left; undefined: it is. */
function stepToLeft(id: string, row: Readonly<GatewayReady> | undefined): GatewayReady | undefined {
  if (row === undefined) return undefined;
  if (row.shared !== true) return { ...row, shared: true };
  if (row.users) return { ...row, users: false };
  return row.fellows ? { id, users: false, fellows: false, shared: true } : undefined;
}

/** The next step of a host that is to be used. Where no other is, nobody has to hand over to it: its users hear first. */
function stepToUsed(id: string, row: Readonly<GatewayReady> | undefined, handedOver: () => boolean): GatewayReady {
  if (row === undefined) return handedOver() ? { id, users: false, fellows: false, shared: true } : { id, users: true, fellows: false };
  if (!row.fellows) return { ...row, fellows: true };
  return row.users ? { id, users: true, fellows: true } : { ...row, users: true };
}

/** Whether another host of its gateways is used. */
const hasUsedFellow = (view: LiveView, id: string): boolean => view.by(gatewayPlanTable, "host", id).some(({ hosts }) => hosts.some((other) => other !== id && view.get(gatewayReadyTable, other)?.users === true));

/** Whether the switches that a step is about have it: flows and groups, and what BFD says of the host. One that is not there is not asked, unless it may be coming yet. */
function isConfirmed(host: ServiceHost, id: string, row: Readonly<GatewayReady> | undefined, generation: number, settling: boolean): boolean {
  const { view } = host;
  const key = view.get(chassisTable, id)?.key;
  // Where nobody hands over there is nothing to wait for.
  if (key === undefined || row?.shared !== true) return true;
  // Its own VMs use it no more, or again.
  if (host.synced(id) !== undefined && host.confirmed(id) < generation) return false;
  const roles = new Map<string, "fellow" | "gateway">();
  for (const { peer, role } of view.by(gatewayPeerTable, "at", id)) if (role === "fellow" || (role === "gateway" && !roles.has(peer))) roles.set(peer, role);
  return [...roles].every(([peer, role]) => {
    if (host.synced(peer) === undefined) return !settling;
    if (role === "fellow" && host.confirmed(peer) < generation) return false;
    const status = observed(view, peer, "Interface", peerPortName(key))?.bfd_status;
    return status === undefined || (status.forwarding === "true") === (role === "fellow" ? row.fellows : row.users);
  });
}

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
