// What is watched, what was looked at longest ago first, and how much is remembered of it for whom. Each project has room of its own within all.

export interface Kept {
  readonly id: string;
  readonly project_id: string;
}

interface Entry<V> {
  readonly value: V;
  weight: number;
}

/** Of all, and of a project. */
interface Limits {
  readonly all: number;
  readonly project: number;
}

export interface Room {
  /** How many there may be. */
  readonly count: Limits;
  /** What they may weigh together. */
  readonly weight: Limits;
}

/** In the order in which they were put; what they weigh together. */
class Share<V extends Kept> {
  readonly kept = new Map<string, Entry<V>>();
  weight = 0;

  put(value: V, weight: number): void {
    this.kept.set(value.id, { value, weight });
    this.weight += weight;
  }

  delete(id: string): void {
    this.weight -= this.kept.get(id)?.weight ?? 0;
    this.kept.delete(id);
  }
}

export class Remembered<V extends Kept> {
  private readonly room: Room;
  private readonly all = new Share<V>();
  private readonly byProject = new Map<string, Share<V>>();

  constructor(room: Room) {
    this.room = room;
  }

  get size(): number {
    return this.all.kept.size;
  }
  /** How many of a project there are. */
  countOf(project: string): number {
    return this.byProject.get(project)?.kept.size ?? 0;
  }
  get(id: string): V | undefined {
    return this.all.kept.get(id)?.value;
  }
  *values(): IterableIterator<V> {
    for (const { value } of this.all.kept.values()) yield value;
  }

  /** It is the last now, and weighs so much; where there are too many or they weigh too much, the first go: of its project if that has too much, of that the weightless only where they are too many. */
  put(value: V, weight: number): void {
    this.delete(value.id);
    let own = this.byProject.get(value.project_id);
    if (own === undefined) this.byProject.set(value.project_id, (own = new Share()));
    for (const share of [this.all, own]) share.put(value, weight);
    const { count, weight: weights } = this.room;
    if (own.weight > weights.project) {
      for (const [id, old] of own.kept) {
        if (own.weight <= weights.project) break;
        if (old.weight > 0) this.delete(id);
      }
    }
    for (const id of own.kept.keys()) {
      if (own.kept.size <= count.project) break;
      this.delete(id);
    }
    for (const id of this.all.kept.keys()) {
      if (this.all.weight <= weights.all && this.size <= count.all) break;
      this.delete(id);
    }
  }

  delete(id: string): void {
    const old = this.all.kept.get(id);
    if (old === undefined) return;
    const { project_id } = old.value;
    const own = this.byProject.get(project_id)!;
    for (const share of [this.all, own]) share.delete(id);
    if (own.kept.size === 0) this.byProject.delete(project_id);
  }
}
