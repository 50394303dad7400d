// Which places the tables and registers of a controller's apps have, by the layouts that there were before.
import type { App } from "#app";
import { Layout } from "../pipeline/layout.ts";
import { LayoutNames, recordOf } from "../pipeline/record.ts";

export interface Layouts {
  readonly layout: Layout;
  /** Others that switches may have been given, as texts, the latest first. */
  readonly earlier: readonly string[];
}

/** `keep` is asked with how to choose among those that are known, keeps what was chosen and answers the others: model/layouts.ts. */
export async function layoutFor(apps: readonly App[], keep: (choose: (known: readonly string[]) => string) => Promise<readonly string[]>): Promise<Layouts> {
  let layout: Layout | undefined;
  const earlier = await keep((known) => textOf((layout = layoutAmong(apps, known))));
  return { layout: layout!, earlier };
}

/**
 * The latest of `known` that has just the tables and registers of these apps, as a controller of the same version beside this one has it, or this one
 * before others came and went; otherwise the latest of all with what is missing added and what is gone left out.
 */
function layoutAmong(apps: readonly App[], known: readonly string[]): Layout {
  const records = known.flatMap((text) => LayoutNames.parse(text)?.record ?? []);
  for (const record of records) {
    const layout = new Layout(apps, record);
    if (textOf(layout) === JSON.stringify(record)) return layout;
  }
  return new Layout(apps, records[0]);
}

const textOf = (layout: Layout): string => JSON.stringify(recordOf(layout));
