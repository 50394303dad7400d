// What is watched, what was looked at longest ago first, and how much is remembered of it for whom. Each project has room of its own within all.

export interface Kept {
  readonly id: string;
  readonly project_id: string;
}

interface Entry<V> {
  readonly value: V;
  weight: number;
}

export interface Room {
  /** How many there may be. */
  readonly count: number;
  /** What they may weigh together, and those of a project. */
  readonly all: number;
  readonly project: number;
}

export class Remembered<V extends Kept> {
  private readonly room: Room;
  private readonly kept = new Map<string, Entry<V>>();
  private readonly byProject = new Map<string, number>();
  private readonly counts = new Map<string, number>();
  private weight = 0;

  constructor(room: Room) {
    this.room = room;
  }

  get size(): number {
    return this.kept.size;
  }
  /** How many of a project there are. */
  countOf(project: string): number {
    return this.counts.get(project) ?? 0;
  }
  get(id: string): V | undefined {
    return this.kept.get(id)?.value;
  }
  *values(): IterableIterator<V> {
    for (const { value } of this.kept.values()) yield value;
  }

  /** It is the last now, and weighs so much; where there is too much for the room, the first go, of its project if that has too much. */
  put(value: V, weight: number): void {
    this.delete(value.id);
    this.kept.set(value.id, { value, weight });
    this.counts.set(value.project_id, this.countOf(value.project_id) + 1);
    this.weigh(value.project_id, weight);
    const { count, all, project } = this.room;
    for (const [id, old] of this.kept) {
      const ofProject = (this.byProject.get(value.project_id) ?? 0) > project;
      if (!ofProject && this.weight <= all && this.kept.size <= count) return;
      if (!ofProject || (old.value.project_id === value.project_id && old.weight > 0)) this.delete(id);
    }
  }

  delete(id: string): void {
    const old = this.kept.get(id);
    if (old === undefined) return;
    this.kept.delete(id);
    const left = this.countOf(old.value.project_id) - 1;
    if (left === 0) this.counts.delete(old.value.project_id);
    else this.counts.set(old.value.project_id, left);
    this.weigh(old.value.project_id, -old.weight);
  }

  private weigh(project: string, weight: number): void {
    this.weight += weight;
    const now = (this.byProject.get(project) ?? 0) + weight;
    if (now === 0) this.byProject.delete(project);
    else this.byProject.set(project, now);
  }
}
