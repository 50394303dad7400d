// The rows of a list as JSON text, one after the other, for those who give them another form.
import type { ListQuery } from "../query.ts";
import type { LongList, ShortList } from "./lists.ts";

// eslint-disable-next-line @typescript-eslint/require-await -- read like longTexts, which waits; this one has all there
export async function* shortTexts({ selection, page }: ShortList, query: ListQuery): AsyncGenerator<string> {
  for (const entry of page) yield selection.item(entry).text(query.fields, true);
}

export function longTexts(list: LongList, query: ListQuery, stallMs: number): AsyncIterable<string> {
  const { selection, slices } = list;
  let stalled = false;
  // It may never be begun, and then never ends.
  const stall = setTimeout(() => {
    stalled = true;
    list.close();
  }, stallMs);
  stall.unref();
  const check = (): void => {
    if (stalled) throw new Error(`the reader of a list took nothing for ${stallMs} ms`);
    list.check();
  };
  return (async function* () {
    try {
      for (const entry of await list.page(() => stalled)) {
        check();
        stall.refresh();
        yield selection.item(entry).text(query.fields, list.keep);
        if (slices.row()) await slices.turn();
      }
      check();
    } finally {
      clearTimeout(stall);
      list.close();
    }
  })();
}
