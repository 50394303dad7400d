// Who acts for what: of the members that serve the one with the highest weight for a key (rendezvous hashing). All come to the same answer by
// themselves, each has its share, and when one goes or comes only what was its, or becomes its, moves.
import type { Members } from "./members.ts";

/** The one of `live` that acts for a key; undefined: nobody lives. Their order does not matter. */
export function actorFor(live: readonly string[], key: string): string | undefined {
  let best: string | undefined;
  let bestWeight = -1;
  for (const id of live) {
    const w = weight(id, key);
    if (w > bestWeight || (w === bestWeight && id < best!)) [best, bestWeight] = [id, w];
  }
  return best;
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

export const keyOfChassis = (chassis: string): string => `chassis/${chassis}`;

export class Mastership {
  private readonly members: Pick<Members, "name" | "holds" | "serving">;

  constructor(members: Pick<Members, "name" | "holds" | "serving">) {
    this.members = members;
  }

  /** As etcd said last; undefined: nobody serves. */
  masterOf(chassis: string): string | undefined {
    return actorFor(this.members.serving, keyOfChassis(chassis));
  }

  /** Whether this member may act for a chassis now. */
  masters(chassis: string): boolean {
    return this.members.holds && this.masterOf(chassis) === this.members.name;
  }

  /** Who can act now, as far as is known here: without a lease not this one. */
  get acting(): readonly string[] {
    const { holds, name, serving } = this.members;
    return holds ? serving : serving.filter((other) => other !== name);
  }
}
