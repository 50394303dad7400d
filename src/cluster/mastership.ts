// Who acts for what. For a key (Share.acts): of the members that serve the one with the highest weight (rendezvous hashing). For a host: the same,
// within bounds, so that shares are even. All come to the same answer by themselves, and when a member or host goes or comes little else moves.
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

/** How far a share may be from the mean. At 1,000 hosts over three a little less than two standard deviations of chance: a bound binds for some names, and moves few hosts where it does. */
const OFF = 0.08;

/** How many of `hosts` a member may have: within 8% of the mean, or the whole numbers next to it. */
export function boundsOf(hosts: number, members: number): { readonly least: number; readonly most: number } {
  const mean = hosts / members;
  return { least: Math.min(Math.floor(mean), Math.ceil(mean * (1 - OFF))), most: Math.max(Math.ceil(mean), Math.floor(mean * (1 + OFF))) };
}

/**
 * The master of each host: rendezvous hashing with bounded loads. Pairs of member and host are gone through from the highest weight down: a host
 * goes to the first member that has less than `most` (which is the stable matching, since both sides rank by one weight). Then, again from the
 * highest, members that have less than `least` take from those that have more. As long as no bound binds this is plain rendezvous hashing; where
 * one does, a host that comes or goes moves a handful of others at the most. The order of neither matters. Cost: members x hosts, sorted.
 */
export function assign(live: readonly string[], hosts: readonly string[]): ReadonlyMap<string, string> {
  const out = new Map<string, string>();
  if (live.length === 0) return out;
  const members = [...live].sort();
  const all = [...hosts].sort();
  const { least, most } = boundsOf(all.length, members.length);
  const counts = new Int32Array(members.length);
  const first = all.map((host) => members.indexOf(actorFor(members, keyOfChassis(host))!));
  for (const m of first) counts[m]!++;
  if (counts.every((n) => n >= least && n <= most)) {
    all.forEach((host, i) => out.set(host, members[first[i]!]!));
    return out;
  }
  const pairs = descending(members, all);
  counts.fill(0);
  const of = new Int32Array(all.length).fill(-1);
  const each = (visit: (m: number, h: number) => void): void => {
    for (let i = pairs.length - 1; i >= 0; i--) {
      const pair = pairs[i]! % (members.length * all.length);
      visit(pair % members.length, Math.floor(pair / members.length));
    }
  };
  each((m, h) => {
    if (of[h] !== -1 || counts[m]! >= most) return;
    of[h] = m;
    counts[m]!++;
  });
  // Once is enough: who has more than `least` at the end had it all along, so whoever lacks hosts has taken what it came by.
  each((m, h) => {
    const owner = of[h]!;
    if (counts[m]! >= least || owner === m || counts[owner]! <= least) return;
    of[h] = m;
    counts[m]!++;
    counts[owner]!--;
  });
  all.forEach((host, i) => out.set(host, members[of[i]!]!));
  return out;
}

/** Numbers of pairs (host x members + member) above which their weights stand, as many of their bits as a double has room for; ascending. */
function descending(members: readonly string[], hosts: readonly string[]): Float64Array {
  const pairs = members.length * hosts.length;
  const lost = 2 ** Math.max(0, 32 + Math.ceil(Math.log2(Math.max(2, pairs))) - 53);
  const out = new Float64Array(pairs);
  hosts.forEach((host, h) => {
    const key = keyOfChassis(host);
    members.forEach((member, m) => (out[h * members.length + m] = Math.floor(weight(member, key) / lost) * pairs + h * members.length + m));
  });
  return out.sort();
}

interface Assignment {
  readonly serving: readonly string[];
  readonly hosts: readonly string[];
  /** Master of each host. */
  readonly of: ReadonlyMap<string, string>;
  /** Of what a member has, see `share`. */
  readonly digests: Map<string, string>;
}

/**
 * Mastership of hosts follows from two sets: the members that serve, as etcd's watch told last, and the hosts that are known, as the store's log told
 * (`learn`). Both are the same for all members in the end, but not at one instant: for as long as a watch takes, and the seconds that hosts are
 * gathered for, two may come to different masters of a few hosts. What then?
 *
 *  - **Nobody is harmed.** The term is the sum of the revision of etcd at which the members changed and the generation at which the hosts did. Both
 *    only grow, so who knows all that there is has a term above everybody who knows less. A switch takes changes of one controller at a time,
 *    the last that claimed it in a term not below the last (OpenFlow 1.3.5, 6.3.6); a database those of the holder of its lock. Both write what
 *    they compiled of one log, and who becomes the master compares first.
 *  - **It ends well.** Who stays the master of a switch claims it again in each new term (Roles), which ends the claim of whoever came between,
 *    and what those claim who still know less is refused as stale from then on. For as long as it lasts a switch may have no master: its flows stay.
 *  - A host that is not in the set yet has the member of the highest weight; when it is in, it has that one still, as long as no bound binds.
 *
 * The generation of the hosts is that at which a row of one changed last, which a start can read as well: who knows the same has the same term, but
 * that a removal is not seen in rows that are there. Who is refused for such a difference takes the newest of all (`Cluster.refresh`).
 */
export class Mastership {
  private readonly members: Pick<Members, "name" | "holds" | "serving">;
  private hosts: readonly string[] = [];
  /** Generation of the store as of which the hosts are known, 0: none is. */
  term = 0;
  private assigned: Assignment | undefined;

  constructor(members: Pick<Members, "name" | "holds" | "serving">) {
    this.members = members;
  }

  /** All hosts that there are as of a generation. Which of them have another master now; undefined: they are the same hosts as before. */
  learn(hosts: readonly string[], generation: number): readonly string[] | undefined {
    this.term = Math.max(this.term, generation);
    const known = new Set(this.hosts);
    if (hosts.length === known.size && hosts.every((host) => known.has(host))) return undefined;
    const before = hosts.map((host) => this.masterOf(host));
    this.hosts = hosts;
    return hosts.filter((host, n) => this.masterOf(host) !== before[n]);
  }

  /** As etcd said last; undefined: nobody serves. */
  masterOf(chassis: string): string | undefined {
    const { serving, of } = this.assignment;
    return of.get(chassis) ?? actorFor(serving, keyOfChassis(chassis));
  }

  /** Of the members and hosts of now. */
  private get assignment(): Assignment {
    const { serving } = this.members;
    if (this.assigned?.serving !== serving || this.assigned.hosts !== this.hosts) this.assigned = { serving, hosts: this.hosts, of: assign(serving, this.hosts), digests: new Map() };
    return this.assigned;
  }

  /** A digest of which of the known hosts a member is the master of: the same at all who come to the same. */
  share(name: string): string {
    const { of, digests } = this.assignment;
    let digest = digests.get(name);
    if (digest === undefined) {
      let count = 0;
      let sum = 0;
      for (const [host, master] of of) {
        if (master !== name) continue;
        count++;
        sum = (sum + weight("share", host)) >>> 0;
      }
      digests.set(name, (digest = `${count}-${sum.toString(16)}`));
    }
    return digest;
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
