// Interfaces on the integration bridge -> rows of the vif table, inside a transaction. It compares with the stored rows and
// writes only differences, so a restarted controller and a reconnected host write nothing.
import { draw, release, vifTable, zonePool, type App, type ReadView, type Tx, type Vif } from "#app";
import type { Logger } from "pino";
import type { HookGuard } from "../../lib/hook-guard.ts";
import { limits } from "../bounds/limits.ts";
import type { BridgeRow, HostRows } from "./host-rows.ts";

/** An interface that somebody plugged: it has an iface-id, and the switch gave it a port number. */
export interface Plugged {
  readonly name: string;
  readonly ifaceId: string;
  readonly ofport: number;
}

export interface SeenVifs {
  /** By name, in order of names; one for each iface-id. */
  readonly plugged: readonly Plugged[];
  /** Interfaces left out because another one has their iface-id. */
  readonly duplicates: readonly { readonly name: string; readonly ifaceId: string; readonly first: string }[];
  /** How many are left out because there are too many, and names of those whose name or iface-id is too long. */
  readonly beyond: number;
  readonly tooLong: readonly string[];
}

export const vifId = (chassis: string, interfaceName: string): string => `${chassis}/${interfaceName}`;

interface Candidate extends Plugged {
  /** Stored with this iface-id. */
  readonly known: boolean;
}

/**
 * `stored` decides between two interfaces with the same iface-id: the one that is already known stays. A host may have tens of thousands of interfaces: each is
 * looked at once, and no more are sorted than may be plugged.
 */
export function seeVifs(rows: HostRows, bridge: BridgeRow, stored: (interfaceName: string) => Vif | undefined): SeenVifs {
  const byIfaceId = new Map<string, Candidate>();
  const lost: Candidate[] = [];
  const tooLong: string[] = [];
  let known = 0;
  rows.forEachInterface(bridge, ({ name, ofport, external_ids }) => {
    const ifaceId = external_ids["iface-id"];
    if (ifaceId === undefined || ifaceId === "" || ofport === undefined || ofport <= 0) return;
    if (ifaceId.length > limits.interfaceText || name.length > limits.interfaceText) {
      tooLong.push(name);
      return;
    }
    const one: Candidate = { name, ifaceId, ofport, known: stored(name)?.iface_id === ifaceId };
    const other = byIfaceId.get(ifaceId);
    if (other !== undefined && !isBefore(one, other)) {
      lost.push(one);
      return;
    }
    if (other !== undefined) lost.push(other);
    known += Number(one.known) - Number(other?.known ?? false);
    byIfaceId.set(ifaceId, one);
  });
  // Those that are known come first: what is plugged stays so, whatever comes after it.
  let room = limits.interfaces - known;
  const plugged: Plugged[] = [];
  for (const { name, ifaceId, ofport, known } of byIfaceId.values()) {
    if (plugged.length >= limits.interfaces) break;
    if (known || --room >= 0) plugged.push({ name, ifaceId, ofport });
  }
  return {
    plugged: plugged.sort((a, b) => (a.name < b.name ? -1 : 1)),
    duplicates: lost.sort((a, b) => (isBefore(a, b) ? -1 : 1)).map(({ name, ifaceId }) => ({ name, ifaceId, first: byIfaceId.get(ifaceId)!.name })),
    beyond: byIfaceId.size - plugged.length, tooLong,
  };
}

const isBefore = (a: Candidate, b: Candidate): boolean => (a.known === b.known ? a.name < b.name : a.known);

/** Whether writeVifs would write anything. */
export function vifsDiffer(stored: readonly Vif[], plugged: readonly Plugged[]): boolean {
  if (stored.length !== plugged.length) return true;
  const byName = new Map(stored.map((v) => [v.name, v]));
  return plugged.some((p) => {
    const row = byName.get(p.name);
    return row === undefined || row.iface_id !== p.ifaceId || row.ofport !== p.ofport;
  });
}

export interface VifChanges {
  /** New, or with another port number: their flows have to be confirmed (again). */
  readonly unconfirmed: readonly Vif[];
  readonly removed: readonly Vif[];
  /** More is to be written, in a transaction of its own. */
  readonly more: boolean;
}

/**
 * At most `most` interfaces are written in one transaction: what is unplugged first. Slots are zones of the chassis' pool: one that is given up is nobody's until its switch has forgotten the connections, whatever ends in between.
 */
export function writeVifs(tx: Tx, apps: readonly App[], chassis: string, plugged: readonly Plugged[], log: Logger, guard: HookGuard, most = Infinity): VifChanges {
  const stored = new Map(tx.by(vifTable, "chassis", chassis).map((v) => [v.name, v]));
  const unconfirmed: Vif[] = [];
  const removed: Vif[] = [];
  const wanted = new Map(plugged.map((p) => [p.name, p]));
  for (const old of [...stored.values()].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (wanted.get(old.name)?.ifaceId === old.iface_id) continue;
    if (removed.length >= most) return { unconfirmed, removed, more: true };
    tx.delete(vifTable, old.id);
    release(tx, zonePool, chassis, old.slot);
    runHook(tx, apps, "unplugged", old, guard);
    removed.push(old);
    stored.delete(old.name);
  }
  for (const p of plugged) {
    const old = stored.get(p.name);
    if (old !== undefined && old.ofport === p.ofport) continue;
    if (removed.length + unconfirmed.length >= most) return { unconfirmed, removed, more: true };
    if (old !== undefined) {
      const moved: Vif = { ...old, ofport: p.ofport };
      tx.put(vifTable, moved);
      unconfirmed.push(moved);
      continue;
    }
    let slot: number;
    try {
      slot = draw(tx, zonePool, chassis);
    } catch (error) {
      log.error({ interface: p.name, err: error }, "no slot is left on this host; the interface is not plugged");
      break; // nor is one for those after it
    }
    const vif: Vif = { id: vifId(chassis, p.name), chassis, iface_id: p.ifaceId, name: p.name, ofport: p.ofport, slot };
    tx.put(vifTable, vif);
    runHook(tx, apps, "plugged", vif, guard);
    unconfirmed.push(vif);
  }
  return { unconfirmed, removed, more: false };
}

/** Calls an app's hook; what it throws is its own loss, not the host's. */
export function runHook(tx: Tx, apps: readonly App[], hook: "plugged" | "installed" | "unplugged", vif: Vif, guard: HookGuard): void {
  for (const app of apps) {
    guard({ app: app.name, hook: `vif.${hook}` }, { vif: vif.id, iface_id: vif.iface_id }, () => app.vif?.[hook]?.(tx, vif), undefined);
  }
}

/** Whether an app says that the interface is in use; a hook that fails says no. */
export function serves(view: ReadView, apps: readonly App[], vif: Vif, guard: HookGuard): boolean {
  const asked = apps.filter((app) => app.vif?.serves !== undefined);
  return asked.length === 0 || asked.some((app) => guard({ app: app.name, hook: "vif.serves" }, { vif: vif.id, iface_id: vif.iface_id }, () => app.vif?.serves?.(view, vif), false) === true);
}

/** Interfaces that a change of the row with this id concerns: those plugged by it, and by what apps say of it. */
export function concernedVifs(view: ReadView, apps: readonly App[], id: string, guard: HookGuard): readonly Vif[] {
  let vifs: readonly Vif[] = view.by(vifTable, "iface_id", id);
  for (const app of apps) {
    if (app.vif?.concerned === undefined) continue;
    for (const ifaceId of guard({ app: app.name, hook: "vif.concerned" }, { id }, () => app.vif!.concerned!(view, id), [])) vifs = [...vifs, ...view.by(vifTable, "iface_id", ifaceId)];
  }
  return vifs;
}

/** What changed of the interfaces, in a few words. */
export function differenceText(stored: readonly Vif[], plugged: readonly { readonly name: string; readonly ifaceId: string }[]): string {
  const before = new Map(stored.map((v) => [v.name, v.iface_id]));
  const now = new Map(plugged.map((p) => [p.name, p.ifaceId]));
  const changes = [
    ...plugged.filter((p) => before.get(p.name) !== p.ifaceId).map((p) => `${p.name} plugged`),
    ...stored.filter((v) => now.get(v.name) !== v.iface_id).map((v) => `${v.name} unplugged`),
  ];
  return changes.length === 0 ? "inventory changed" : changes.length > 4 ? `${changes.length} interfaces changed` : changes.join(", ");
}
