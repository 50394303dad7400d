// Where the map draws things. A place follows from what contains a thing and from its own number there, never from how many others there are:
// adding one moves none, nor does a start. Hosts stand left of the middle, projects right of it, one cell each; networks and routers are in the disc of
// their project, ports in that of their network.

export interface Place {
  readonly x: number;
  readonly y: number;
  /** Of the disc that is the thing's own. */
  readonly r: number;
}

/**
 * Numbers for things that come and go. Which one a thing gets follows from its id: the first that is free of a few, which are drawn from ever more
 * numbers. So whoever counts them anew, in the order in which they came, gives the same ones, but to those that found theirs taken by what is gone.
 */
export class Slots {
  private readonly slots = new Map<string, number>();
  private readonly taken = new Set<number>();
  private readonly fewest: number;

  /** `fewest`: numbers that the first ones are drawn from. */
  constructor(fewest: number) {
    this.fewest = fewest;
  }

  get size(): number {
    return this.slots.size;
  }
  take(id: string): void {
    if (this.slots.has(id)) return;
    for (let of = this.fewest; ; of *= 2) {
      for (let attempt = 0; attempt < 3; attempt++) {
        const slot = fnv(`${of} ${attempt} ${id}`) % of;
        if (this.taken.has(slot)) continue;
        this.taken.add(slot);
        this.slots.set(id, slot);
        return;
      }
    }
  }
  give(id: string): void {
    const slot = this.slots.get(id);
    if (slot === undefined) return;
    this.slots.delete(id);
    this.taken.delete(slot);
  }
  of(id: string): number | undefined {
    return this.slots.get(id);
  }
  ids(): Iterable<string> {
    return this.slots.keys();
  }
}

const rounded = (n: number): number => Math.round(n * 1e5) / 1e5;
const place = (x: number, y: number, r: number): Place => ({ x: rounded(x), y: rounded(y), r: rounded(r) });

/** Cells of a quarter of the plane, shell by shell from its corner: whatever their number, they are about as wide as they are high. */
function cell(n: number): [column: number, row: number] {
  const shell = Math.floor(Math.sqrt(n));
  const along = n - shell * shell;
  return along <= shell ? [shell, along] : [2 * shell - along, shell];
}

/** `key`: the chassis' own, from 1. */
export function hostPlace(key: number): Place {
  const [column, row] = cell(key - 1);
  return place(-1 - column / 2, row / 2, 0.1);
}

export function projectPlace(slot: number): Place {
  const [column, row] = cell(slot);
  return place(column, row, 0.46);
}

/** A turn of this much after each leaves the widest gaps, however many there are. */
const GOLDEN = Math.PI * (3 - Math.sqrt(5));
/** Numbers below this are evenly spread; the others are ever nearer to the rim, and there is room for any. */
export const EVENLY = 12;

/** The thing with that number inside of a project. */
export function memberPlace(project: Place, slot: number): Place {
  const distance = project.r * 0.9 * Math.sqrt((slot + 0.3) / (slot + EVENLY));
  return place(project.x + distance * Math.cos(slot * GOLDEN), project.y + distance * Math.sin(slot * GOLDEN), project.r * 0.1);
}

/** A port in its network's disc: by its id alone, so that nothing is kept for it. */
export function portPlace(network: Place, id: string): Place {
  const hash = fnv(id);
  const angle = ((hash & 0xffff) / 0x10000) * 2 * Math.PI;
  const distance = network.r * (0.45 + 0.5 * Math.sqrt((hash >>> 16) / 0x10000));
  return place(network.x + distance * Math.cos(angle), network.y + distance * Math.sin(angle), network.r * 0.06);
}

/** FNV-1a of 32 bits. */
function fnv(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  // Its low bits alone follow from few of the text's.
  return (hash ^ (hash >>> 15)) >>> 0;
}
