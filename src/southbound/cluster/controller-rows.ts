// What controllers of a cluster keep in a host's database so that each is connected: their own Controller row each, and Manager rows for those
// that the operator has not named. Whoever is connected adds the others; a row belongs to the controller whose name it bears
// (external_ids:axion-controller), and nobody else changes or deletes it. Rows without a name are the operator's.
import { insert, mutate, namedUuid, select, type Operation, type OvsdbSession } from "ovsdb-client";
import { CONTROLLER, planOwnController, type Wanted } from "../ovsdb/adoption.ts";
import { byUuid } from "../ovsdb/columns.ts";
import type { HostRows } from "../ovsdb/host-rows.ts";

/** Monitored beside what is monitored of every host. */
export const managerColumns = { Manager: ["target", "external_ids"] } as const;

/** As with Controller rows: a second between two tries, and five of silence. */
const MANAGER = { max_backoff: 1000, inactivity_probe: 5000 } as const;

/** Target of that of these Controller rows which the switch has for its master and is connected to, as the database says; it may say so for some seconds longer. null: it is none of them. */
export async function masterAmong(session: OvsdbSession, rows: readonly string[]): Promise<string | null> {
  const [answer] = await session.transact("Open_vSwitch", [select("Controller", [["role", "==", "master"], ["is_connected", "==", true]], ["_uuid", "target"])]);
  const target = answer?.rows?.find(({ _uuid: id }) => rows.includes(String(Array.isArray(id) ? id[1] : id)))?.["target"];
  return typeof target === "string" ? target : null;
}

/** For a controller that is not the master of the host: its own Controller row, where the integration bridge is, and nowhere else. */
export function planSlave(rows: HostRows, wanted: Pick<Wanted, "settings" | "target" | "controllerId">): readonly Operation[] {
  const others = rows.bridges().filter((b) => b.name !== wanted.settings.bridge);
  const left = others.flatMap((bridge) => {
    const own = rows.controllersOf(bridge).filter((c) => c.external_ids[CONTROLLER] === wanted.controllerId).map((c) => c._uuid);
    return own.length === 0 ? [] : [mutate("Bridge", byUuid(bridge), [["controller", "delete", own]])];
  });
  const bridge = rows.bridge(wanted.settings.bridge);
  return [...left, ...(bridge === undefined ? [] : planOwnController(rows, bridge, wanted))];
}

/** `managers`: of the other members. `own`: this one's target, "" if it is not known. */
export function planManagers(rows: HostRows, managers: readonly { readonly name: string; readonly target: string }[], { name, own }: { readonly name: string; readonly own: string }): readonly Operation[] {
  const { root } = rows;
  if (root === undefined) return [];
  const there = rows.managers();
  const targets = new Set(there.map((m) => m.target));
  // Of an earlier address of this controller.
  const old = own === "" ? [] : there.filter((m) => m.external_ids[CONTROLLER] === name && m.target !== own).map((m) => m._uuid);
  const operations: Operation[] = old.length === 0 ? [] : [mutate("Open_vSwitch", [["_uuid", "==", root._uuid]], [["manager_options", "delete", old]])];
  let n = 0;
  for (const { name: other, target } of managers) {
    if (target === "" || targets.has(target)) continue;
    targets.add(target);
    const row = `manager${n++}`;
    operations.push(
      insert("Manager", { target, external_ids: { [CONTROLLER]: other }, ...MANAGER }, { uuidName: row }),
      mutate("Open_vSwitch", [["_uuid", "==", root._uuid]], [["manager_options", "insert", namedUuid(row)]]),
    );
  }
  return operations;
}
