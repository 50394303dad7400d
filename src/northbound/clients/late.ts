// What changed of late, for clients that come back and say how far they were.
import type { Change } from "../../model/model.ts";

/** Commits that are remembered, for those who come back: so many changes of rows. */
const REMEMBERED = 20_000;

/** What changed of late, the oldest first. */
export class Late {
  private readonly batches: { readonly generation: number; readonly derived: boolean; readonly changes: readonly Change[] }[] = [];
  private size = 0;
  private readonly most: number;
  /** Everything since this generation is here. */
  floor: number;

  constructor(floor: number, most = REMEMBERED) {
    this.floor = floor;
    this.most = most;
  }

  add(generation: number, derived: boolean, changes: readonly Change[]): void {
    this.batches.push({ generation, derived, changes });
    this.size += changes.length;
    while (this.size > this.most) {
      const gone = this.batches.shift()!;
      this.size -= gone.changes.length;
      this.floor = Math.max(this.floor, gone.generation);
    }
  }

  /** Changes after the generation, the latest first. */
  *since(generation: number, derived: boolean): Iterable<Change> {
    for (let i = this.batches.length - 1; i >= 0; i--) {
      const batch = this.batches[i]!;
      if (batch.generation <= generation) {
        // Derived ones come with the compiler, after others that are newer.
        if (batch.derived) continue;
        break;
      }
      if (batch.derived === derived) for (let j = batch.changes.length - 1; j >= 0; j--) yield batch.changes[j]!;
    }
  }
}
