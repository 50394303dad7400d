// A port that moved is new at its host for a while. Then connections that were under way have been heard of there, or are over.
import { momentOf, type ServiceDecl, type ServiceHost } from "#app";
import { arrivalTable, type Arrival } from "../l2/model.ts";

/** Seconds: TCP, which doubles its time-out from a fifth of a second on, has tried seven times. */
const NEW_S = 60;
/** Until it is looked at again, where another controller was to end it, or the store refused. */
const AGAIN_S = 30;

export const arrivals: ServiceDecl = {
  name: "arrivals",
  about: "ports are new at their host for a minute",
  start(host) {
    host.onCommit([arrivalTable], (changes) => {
      for (const { after } of changes) if (after !== undefined) endLater(host, after as Arrival);
    });
    for (const arrival of host.view.all(arrivalTable)) endLater(host, arrival);
    return undefined;
  },
};

function endLater(host: ServiceHost, { id, since }: Arrival, leastS = 0): void {
  const isIt = (now: Arrival | undefined): boolean => now?.since === since;
  host.after(Math.max(leastS, NEW_S - (host.clock.now() - momentOf(since)) / 1000), async () => {
    const arrival = host.view.get(arrivalTable, id);
    if (arrival === undefined || !isIt(arrival)) return;
    try {
      if (host.acts(id)) {
        await host.transact("a port is not new at its host any more", (tx) => {
          if (isIt(tx.get(arrivalTable, id))) tx.delete(arrivalTable, id);
        });
        return;
      }
    } catch (error) {
      host.log.warn({ err: error, port: id }, "that a port is not new at its host could not be written; it is tried again");
    }
    endLater(host, arrival, AGAIN_S);
  });
}
