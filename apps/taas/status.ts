// A tap service is ACTIVE while its port is at a host, a tap flow while both of its ports are, once the switches there have confirmed their flows; else DOWN.
import type { ServiceDecl } from "#app";
import { tapActiveTable, tapFlowTable, tapHostsTable, tapServiceTable } from "./model.ts";

/** Seconds between looks while one waits. */
const LOOK_S = 0.1;
/** Rows that are written in one transaction. */
const AT_ONCE = 500;

export const tapStatus: ServiceDecl = {
  name: "tap-status",
  about: "tap services and tap flows are ACTIVE when their flows are confirmed",
  start(host) {
    /** Generation from which on the flows of those that wait are there. */
    const due = new Map<string, number>();
    let looking = false;
    const wait = (): void => {
      if (looking || due.size === 0) return;
      looking = true;
      host.after(LOOK_S, async () => {
        try {
          await look();
        } finally {
          looking = false;
          wait();
        }
      });
    };
    const look = async (): Promise<void> => {
      const changed = new Map<string, boolean>();
      for (const [id, since] of due) {
        if (changed.size >= AT_ONCE) break;
        const hosts = host.view.get(tapHostsTable, id)?.hosts;
        // A host that is away has its flows when it comes back.
        if (hosts?.some((chassis) => host.confirmed(chassis) < since) === true) continue;
        if ((host.view.get(tapActiveTable, id) !== undefined) !== (hosts !== undefined) && host.acts(id)) changed.set(id, hosts !== undefined);
        else due.delete(id);
      }
      if (changed.size === 0) return;
      const written = new Map([...changed.keys()].map((id) => [id, due.get(id)]));
      await host.transact(`status of ${changed.size} taps`, (tx) => {
        for (const [id, active] of changed) {
          if (active && (tx.get(tapServiceTable, id) ?? tx.get(tapFlowTable, id)) !== undefined) tx.put(tapActiveTable, { id });
          else tx.delete(tapActiveTable, id);
        }
      });
      // What changed meanwhile is looked at again.
      for (const [id, since] of written) if (due.get(id) === since) due.delete(id);
    };
    host.onCommit([tapServiceTable, tapFlowTable, tapHostsTable], (changes, generation) => {
      for (const { id } of changes) due.set(id, generation);
      wait();
    });
    const lookAtAll = (): void => {
      for (const { id } of [...host.view.all(tapServiceTable), ...host.view.all(tapFlowTable)]) due.set(id, 1);
      wait();
    };
    host.onShare(lookAtAll);
    lookAtAll();
    return undefined;
  },
};
