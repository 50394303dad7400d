// Who of several controllers acts: the one with the highest weight for a key, of those that live (rendezvous hashing). All come to the
// same answer by themselves, each has its share, and when one goes only what was its moves.

export class Share {
  private readonly self: string;
  private readonly live: () => readonly string[];

  /** `live`: ids of the controllers that live, as far as is known now. Without itself among them this one acts for nothing. */
  constructor(self: string, live: () => readonly string[]) {
    this.self = self;
    this.live = live;
  }

  acts(key: string): boolean {
    let best: string | undefined;
    let bestWeight = -1;
    for (const id of this.live()) {
      const w = weight(id, key);
      if (w > bestWeight || (w === bestWeight && id < best!)) [best, bestWeight] = [id, w];
    }
    return best === this.self;
  }

  masters(chassis: string): boolean {
    return this.acts(`chassis/${chassis}`);
  }
}

/** FNV-1a with the last steps of MurmurHash3, so that keys that differ in one character go anywhere. */
function weight(controller: string, key: string): number {
  let h = 0x811c9dc5;
  const text = `${controller} ${key}`;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}
