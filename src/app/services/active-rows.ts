// Which resources are ACTIVE: a row of a stored table says it of each, written when switches have confirmed the flows, and taken away when there are none any more.
import type { Cancel, ServiceDecl, ServiceHost } from "../service.ts";
import type { AnyTable, ReadView, Table } from "../table.ts";

export interface ActiveRowsOptions {
  readonly name: string;
  readonly about: string;
  /** What is ACTIVE, for whoever reads causes: "taps". */
  readonly what: string;
  /** Rows that say so, each with the id of a row of `of`. */
  readonly into: Table;
  readonly of: readonly AnyTable[];
  /** Tables with the same ids from whose rows it follows where flows are. */
  readonly by: readonly AnyTable[];
  /** Tables with whose changes the flows of all that waits may come. */
  readonly waitsFor?: readonly AnyTable[];
  /** undefined: it is to be, and switches have not confirmed all up to this generation yet. */
  readonly isActive: (host: ServiceHost, id: string, since: number) => boolean | undefined;
}

/** Seconds from what may have changed something to a look at it. */
const LOOK_S = 0.1;
/** Rows that are written in one transaction. */
const AT_ONCE = 500;

/** A service of the app whose table `into` is. Of several controllers one writes. */
export function activeRows({ name, about, what, into, of, by, waitsFor = [], isActive }: ActiveRowsOptions): ServiceDecl {
  const resources = of as readonly Table[];
  const isThere = (view: ReadView, id: string): boolean => resources.some((table) => view.get(table, id) !== undefined);
  return {
    name,
    about,
    start(host) {
      /** Generation from which on the flows of those that wait are there. */
      const due = new Map<string, number>();
      /** A look is due, or under way; and something happened since it began. */
      let [looking, again] = [false, false];
      let stopListening: Cancel | undefined;
      const soon = (): void => {
        again = true;
        listen();
        if (looking || due.size === 0) return;
        looking = true;
        host.after(LOOK_S, async () => {
          again = false;
          try {
            await look();
          } catch (error) {
            again = true;
            throw error;
          } finally {
            looking = false;
            listen();
            if (again) soon();
          }
        });
      };
      /** Who waits for a switch that is away is not looked at until one says something. */
      const listen = (): void => {
        if (due.size > 0) stopListening ??= host.onConfirmed(soon);
        else {
          stopListening?.();
          stopListening = undefined;
        }
      };
      const look = async (): Promise<void> => {
        const changed = new Map<string, boolean>();
        for (const [id, since] of due) {
          if (changed.size >= AT_ONCE) {
            again = true;
            break;
          }
          const active = isActive(host, id, since);
          if (active === undefined) continue;
          if ((host.view.get(into, id) !== undefined) !== active && host.acts(id)) changed.set(id, active);
          else due.delete(id);
        }
        if (changed.size === 0) return;
        const written = new Map([...changed.keys()].map((id) => [id, due.get(id)]));
        await host.transact(`status of ${changed.size} ${what}`, (tx) => {
          for (const [id, active] of changed) {
            if (active && isThere(tx, id)) tx.put(into, { id });
            else tx.delete(into, id);
          }
        });
        // What changed meanwhile is looked at again.
        for (const [id, since] of written) {
          if (due.get(id) === since) due.delete(id);
          else again = true;
        }
      };
      host.onCommit([...of, ...by, ...waitsFor], (changes, generation) => {
        const isOfAll = (table: AnyTable): boolean => waitsFor.includes(table);
        for (const { table, id } of changes) if (!isOfAll(table)) due.set(id, generation);
        if (changes.some((c) => isOfAll(c.table))) for (const id of due.keys()) due.set(id, generation);
        soon();
      });
      const lookAtAll = (): void => {
        for (const table of resources) for (const { id } of host.view.all(table)) due.set(id, 1);
        soon();
      };
      host.onShare(lookAtAll);
      lookAtAll();
      return undefined;
    },
  };
}
