// Which layout of tables and registers a controller has, by those that controllers on this store gave to switches before, which are kept
// as texts. A switch that was away has what it was told under one of them.
import type { App } from "#app";
import { Layout } from "../pipeline/layout.ts";
import { LayoutNames, recordOf } from "../pipeline/record.ts";
import type { KvStore } from "../store/kv.ts";

const KEY = "layouts";
/** Switches that were away for more changes of the apps than this are read as if they had today's. */
const KEPT = 8;

export interface Layouts {
  readonly layout: Layout;
  /** Others, the latest first. */
  readonly earlier: readonly string[];
}

/** The one for these apps, and those that there were; it is kept for those that come after. */
export async function layoutFor(apps: readonly App[], store: KvStore): Promise<Layouts> {
  for (;;) {
    const entry = await store.get(KEY);
    let known: string[] = [];
    try {
      const list: unknown = entry === undefined ? [] : JSON.parse(entry.value.toString());
      if (Array.isArray(list)) known = list.filter((l): l is string => typeof l === "string");
    } catch {
      // Nobody needs it to go on: what is not known is taken for today's.
    }
    const layout = layoutAmong(apps, known);
    const present = textOf(layout);
    const earlier = known.filter((l) => l !== present);
    if (known[0] === present) return { layout, earlier };
    const written = await store.txn([{ key: KEY, modRevision: entry?.modRevision ?? 0 }], [{ put: KEY, value: Buffer.from(JSON.stringify([present, ...earlier].slice(0, KEPT))) }]);
    if (written.ok) return { layout, earlier };
    // Another controller wrote its own meanwhile.
  }
}

/**
 * The latest of `known` that has just the tables and registers of these apps, as a controller of the same version beside this one has it, or this one
 * before others came and went; otherwise the latest of all with what is missing added and what is gone left out.
 */
export function layoutAmong(apps: readonly App[], known: readonly string[]): Layout {
  const records = known.flatMap((text) => LayoutNames.parse(text)?.record ?? []);
  for (const record of records) {
    const layout = new Layout(apps, record);
    if (textOf(layout) === JSON.stringify(record)) return layout;
  }
  return new Layout(apps, records[0]);
}

const textOf = (layout: Layout): string => JSON.stringify(recordOf(layout));
