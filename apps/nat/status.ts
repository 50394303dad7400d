// A floating IP is ACTIVE when a switch that translates it has confirmed its flows, DOWN when it leads nowhere. One that is translated
// somewhere else because its port moved stays ACTIVE.
import { numberOf, poolNumberTable, zonePool, type ServiceDecl, type ServiceHost } from "#app";
import { zoneHolder } from "../l3/model.ts";
import { floatingIpActiveTable, floatingIpTable, floatingPlaceTable, type FloatingPlace } from "./model.ts";

/** Seconds between looks while one waits. */
const LOOK_S = 0.1;
/** Floating IPs that are written in one transaction. */
const AT_ONCE = 500;

export const floatingStatus: ServiceDecl = {
  name: "floating-ip-status",
  about: "floating IPs are ACTIVE when their flows are confirmed",
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
        const place = host.view.get(floatingPlaceTable, id);
        const active = place !== undefined && place.hosts.length > 0;
        if (active && !isThere(host, place, since)) continue;
        if ((host.view.get(floatingIpActiveTable, id) !== undefined) !== active && host.acts(id)) changed.set(id, active);
        else due.delete(id);
      }
      if (changed.size === 0) return;
      const written = new Map([...changed.keys()].map((id) => [id, due.get(id)]));
      await host.transact(`status of ${changed.size} floating IPs`, (tx) => {
        for (const [id, active] of changed) {
          if (active && tx.get(floatingIpTable, id) !== undefined) tx.put(floatingIpActiveTable, { id });
          else tx.delete(floatingIpActiveTable, id);
        }
      });
      // What changed meanwhile is looked at again.
      for (const [id, since] of written) if (due.get(id) === since) due.delete(id);
    };
    host.onCommit([floatingIpTable, floatingPlaceTable, poolNumberTable], (changes, generation) => {
      for (const { table, id } of changes) if (table !== poolNumberTable) due.set(id, generation);
      // Of those that wait for a zone the flows came with it.
      if (changes.some((c) => c.table === poolNumberTable)) for (const id of due.keys()) due.set(id, generation);
      wait();
    });
    const lookAtAll = (): void => {
      for (const { id } of host.view.all(floatingIpTable)) due.set(id, 1);
      wait();
    };
    host.onShare(lookAtAll);
    lookAtAll();
    return undefined;
  },
};

const isThere = (host: ServiceHost, { router_id, hosts }: FloatingPlace, since: number): boolean =>
  hosts.some((chassis) => numberOf(host.view, zonePool, chassis, zoneHolder(router_id)) !== undefined && host.confirmed(chassis) >= since);
