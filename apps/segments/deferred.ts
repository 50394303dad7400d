// Ports of routed networks that are plugged without a host having been named get their addresses then.
import { ApiError, type ServiceDecl, type ServiceHost } from "#app";
import { assignDeferred, deferredPortTable, subnetTable, type Subnet } from "../ipam/model.ts";
import { portStatusTable, portTable } from "../l2/model.ts";
import { subnetSegmentTable, type SubnetSegment } from "./model.ts";
import { hostOf, subnetsAt } from "./routed.ts";

/** Ports that are written at once. */
const AT_ONCE = 64;
/** Seconds until it is tried again, where there was no address, or the store refused. */
const AGAIN_S = 30;

export const deferredAddresses: ServiceDecl = {
  name: "deferred-addresses",
  about: "ports of routed networks have addresses once they are plugged",
  start(host) {
    /** Those that wait are stored: there are no more of these. */
    const due = new Set<string>();
    let busy = false;
    const look = async (): Promise<void> => {
      if (busy) return;
      busy = true;
      try {
        while (due.size > 0) {
          const ids = [...due].slice(0, AT_ONCE);
          for (const id of ids) due.delete(id);
          const failed = await Promise.all(ids.map(async (id) => ((await assigned(host, id)) ? undefined : id)));
          for (const id of failed) if (id !== undefined) again(id);
        }
      } finally {
        busy = false;
      }
    };
    const again = (id: string): void => {
      host.after(AGAIN_S, () => {
        due.add(id);
        return look();
      });
    };
    host.onCommit([portStatusTable, subnetTable, subnetSegmentTable], (changes) => {
      for (const { table, id, before, after } of changes) {
        if (table !== portStatusTable) {
          // One that goes counts as well: with its last the network is no routed one, and every subnet of it serves.
          const { network_id: networkId } = (after ?? before) as Subnet | SubnetSegment;
          for (const port of host.view.by(deferredPortTable, "network", networkId)) due.add(port.id);
        } else if (after !== undefined && host.view.get(deferredPortTable, id) !== undefined) due.add(id);
      }
      return look();
    });
    const lookAtAll = (): Promise<void> => {
      for (const { id } of host.view.all(deferredPortTable)) due.add(id);
      return look();
    };
    host.onShare(lookAtAll);
    void lookAtAll();
    return undefined;
  },
};

/** False: it is plugged, and to be tried again. */
async function assigned(host: ServiceHost, id: string): Promise<boolean> {
  const { view } = host;
  // Most of them are plugged nowhere yet.
  if (view.get(deferredPortTable, id) === undefined || hostOf(view, id) === "" || !host.acts(id)) return true;
  try {
    await host.transact("a port of a routed network gets its addresses", (tx) => {
      const port = tx.get(portTable, id);
      const at = hostOf(tx, id);
      if (port === undefined || at === "" || tx.get(deferredPortTable, id) === undefined) return;
      const subnets = subnetsAt(tx, port.network_id, at, tx.by(subnetTable, "network", port.network_id));
      if (subnets.length === 0) return;
      assignDeferred(tx, port, subnets);
      tx.put(portTable, { ...port, revision_number: port.revision_number + 1, updated_at: tx.now });
    });
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) host.log.warn({ err: error, port: id }, "addresses of a port could not be written; it is tried again");
    return false;
  }
}
