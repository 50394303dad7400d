// Where tables stand among the 253 that there are: where they stood already, as far as the order allows. What a switch did half and goes on
// with later (a packet that comes back from conntrack, a flow that it cached) names a table by its number, whoever has that number by then.
import type { LayoutRecord } from "./record.ts";

/** Open vSwitch has tables 0 to 254; of these one is ours for flows that nothing leads to (southbound/openflow/delivery.ts), one is its own (ofproto-provider.h, TBL_INTERNAL). */
export const TABLES = 253;
/** Free numbers behind the tables of an app in one stage, where all stand for the first time and there is room: others come in between later. */
const FREE = 3;

interface Ordered {
  readonly name: string;
  readonly app: string;
  readonly stage: string;
}

/** A number for each of `tables`, increasing. `kept`: those that stood elsewhere until now keep their numbers, as many as can. */
export function placeTables(tables: readonly Ordered[], kept?: LayoutRecord): number[] {
  if (tables.length > TABLES) throw new Error(`${tables.length} tables are declared; a switch has ${TABLES}`);
  return kept === undefined ? spread(tables) : among(tables, kept);
}

function spread(tables: readonly Ordered[]): number[] {
  const ends = tables.map((table, i) => table.app !== tables[i + 1]?.app || table.stage !== tables[i + 1]!.stage);
  const free = Math.min(FREE, Math.floor((TABLES - tables.length) / Math.max(1, ends.filter(Boolean).length)));
  let next = 0;
  return ends.map((end) => {
    const id = next;
    next += end ? 1 + free : 1;
    return id;
  });
}

/**
 * Of the numbers before, the most that fit in this order with room for all between them: `number - position` must not fall. The first table
 * is 0, where packets come in. The others are spread over the room between those.
 */
function among(tables: readonly Ordered[], { tables: before }: LayoutRecord): number[] {
  const ids = new Map(before.map(({ name, app }, id) => [`${app} ${name}`, id]));
  const room = TABLES - tables.length;
  const slack = tables.map(({ app, name }, at) => (at === 0 ? 0 : (ids.get(`${app} ${name}`) ?? -1) - at));
  const stays = longest(slack.map((s) => (s >= 0 && s <= room ? s : undefined)));
  const out: number[] = [];
  for (let from = 0; from < tables.length;) {
    // From one that stays to the next.
    let to = from + 1;
    while (to < tables.length && !stays.has(to)) to++;
    const first = slack[from]! + from;
    const last = to === tables.length;
    const step = ((last ? TABLES : slack[to]! + to) - first) / (to - from);
    for (let i = from; i < to; i++) out.push(first + Math.floor((i - from) * (last ? Math.min(step, 1 + FREE) : step)));
    from = to;
  }
  return out;
}

/** Positions of a longest run of numbers that do not fall, of which the first position is one. */
function longest(numbers: readonly (number | undefined)[]): Set<number> {
  const length: number[] = [];
  const from: number[] = [];
  let best = 0;
  numbers.forEach((number, at) => {
    length.push(at === 0 ? 1 : 0);
    from.push(-1);
    if (number === undefined) return;
    for (let earlier = 0; earlier < at; earlier++) {
      if (length[earlier]! > 0 && numbers[earlier]! <= number && length[earlier]! >= length[at]!) {
        length[at] = length[earlier]! + 1;
        from[at] = earlier;
      }
    }
    if (length[at]! > length[best]!) best = at;
  });
  const out = new Set<number>();
  for (let at = best; at >= 0; at = from[at]!) out.add(at);
  return out;
}
