// Layouts of tables and registers that controllers on this store have given to switches, as texts. A switch that was away keeps what it
// was told under one of them.
import type { KvStore } from "../store/kv.ts";

const KEY = "layouts";
/** Switches that were away for more changes of the apps than this are read as if they had today's. */
const KEPT = 8;

/** Keeps the one that is chosen among those that there were, the latest first, for those that come after. Answers the others. */
export async function keepLayout(store: KvStore, choose: (known: readonly string[]) => string): Promise<string[]> {
  for (;;) {
    const entry = await store.get(KEY);
    let known: string[] = [];
    try {
      const list: unknown = entry === undefined ? [] : JSON.parse(entry.value.toString());
      if (Array.isArray(list)) known = list.filter((l): l is string => typeof l === "string");
    } catch {
      // Nobody needs it to go on: what is not known is taken for today's.
    }
    const present = choose(known);
    const earlier = known.filter((l) => l !== present);
    if (known[0] === present) return earlier;
    const written = await store.txn([{ key: KEY, modRevision: entry?.modRevision ?? 0 }], [{ put: KEY, value: Buffer.from(JSON.stringify([present, ...earlier].slice(0, KEPT))) }]);
    if (written.ok) return earlier;
    // Another controller wrote its own meanwhile.
  }
}
