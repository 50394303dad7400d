// Work in slices: a long list gives way to everything else every few milliseconds, and every so many rows however fast they go.
import { setImmediate } from "node:timers/promises";

const SLICE_MS = 5;
export const SLICE_ROWS = 2000;

export class Slices {
  private until = performance.now() + SLICE_MS;
  private rows = 0;
  private readonly next: () => Promise<unknown>;

  /** `next`: resolves in a later turn of the event loop; default: in the next. */
  constructor(next: () => Promise<unknown> = setImmediate) {
    this.next = next;
  }

  /** Counts a row. True: the slice is spent, call `turn`. */
  row(): boolean {
    this.rows++;
    // The clock is not free either.
    return this.rows >= SLICE_ROWS || ((this.rows & 15) === 0 && performance.now() >= this.until);
  }

  /** Goes on in a later turn of the event loop. */
  async turn(): Promise<void> {
    await this.next();
    this.rows = 0;
    this.until = performance.now() + SLICE_MS;
  }
}

/** A stable merge sort in slices. */
export async function sortInSlices<T>(list: readonly T[], compare: (a: T, b: T) => number, slices: Slices): Promise<T[]> {
  if (list.length <= SLICE_ROWS) return [...list].sort(compare);
  let from: T[] = [];
  for (let i = 0; i < list.length; i += SLICE_ROWS) {
    from.push(...list.slice(i, i + SLICE_ROWS).sort(compare));
    await slices.turn();
  }
  for (let width = SLICE_ROWS; width < from.length; width *= 2) {
    const into: T[] = [];
    for (let start = 0; start < from.length; start += 2 * width) {
      const middle = Math.min(start + width, from.length);
      const end = Math.min(start + 2 * width, from.length);
      let a = start;
      let b = middle;
      while (a < middle || b < end) {
        into.push(b >= end || (a < middle && compare(from[a]!, from[b]!) <= 0) ? from[a++]! : from[b++]!);
        if (slices.row()) await slices.turn();
      }
    }
    from = into;
  }
  return from;
}
