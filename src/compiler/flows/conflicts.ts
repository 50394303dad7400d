// What two rules disagree on, as of now. A disagreement is logged when it begins, once for all the places where it shows, and is gone
// from here when the last of them is resolved.

/** More are neither kept nor logged: one mistake of a rule may show in every flow it has. */
const LIMIT = 1000;

export class Conflicts<C extends object> {
  /** Where a conflict shows -> its text. */
  private readonly places = new Map<unknown, string>();
  private readonly current = new Map<string, { readonly conflict: C; places: number }>();
  private readonly onBegin: (conflict: C) => void;

  constructor(onBegin: (conflict: C) => void) {
    this.onBegin = onBegin;
  }

  get list(): readonly C[] {
    return Array.from(this.current.values(), (c) => c.conflict);
  }

  get none(): boolean {
    return this.places.size === 0;
  }

  /** What shows at a place now; undefined: nothing. */
  set(place: unknown, conflict: C | undefined): void {
    if (conflict === undefined && this.places.size === 0) return;
    const before = this.places.get(place);
    const text = conflict === undefined ? undefined : JSON.stringify(conflict);
    if (before === text) return;
    if (before !== undefined) {
      this.places.delete(place);
      const old = this.current.get(before)!;
      if (--old.places === 0) this.current.delete(before);
    }
    if (conflict === undefined || text === undefined) return;
    const known = this.current.get(text);
    if (known !== undefined) known.places++;
    else if (this.current.size >= LIMIT) return;
    else {
      this.current.set(text, { conflict, places: 1 });
      this.onBegin(conflict);
    }
    this.places.set(place, text);
  }

  /** Places that begin so are no more. */
  dropPlaces(prefix: string): void {
    for (const place of [...this.places.keys()]) if (typeof place === "string" && place.startsWith(prefix)) this.set(place, undefined);
  }
}
