// What the southbound layer has to know of the other controllers; src/cluster/index.ts says what is behind it.

export interface ClusterPort {
  /** Of this controller. */
  readonly name: string;
  /** Of what is known of members and hosts: switches take roles of none that is earlier than what they know. */
  readonly term: number;
  /** Who is the master of a chassis, as was said last; undefined: nobody serves. */
  masterOf(chassis: string): string | undefined;
  /** Whether this controller may act for a chassis now: it is its master, and has a lease. */
  masters(chassis: string): boolean;
  /** Finds out which members and hosts there are now. @throws when that is not to be had */
  refresh(): Promise<void>;
  /** A switch knows a later term than `term`, with no controller for its master: where nobody here can have had it, all terms are raised above it. @throws when that cannot be done now */
  outrun(chassis: string, known: bigint): Promise<void>;
  /** The last generation that anybody has committed, as of now. @throws when that is not to be had */
  head(): Promise<number>;
  /** Who is there, which hosts there are, or whether this one may act, is not as before. `moved`: of these chassis alone another is the master; none: the term is later. */
  onChange(listener: (moved?: readonly string[]) => void): () => void;
  /** What hosts have to connect to, of the other members that say so: "tcp:192.0.2.1:6640". */
  readonly managers: readonly { readonly name: string; readonly target: string }[];
  /** A host came to an address of this controller, the first that is known: what the others have to tell hosts. */
  reached(target: string): void;
  /** The generation that a switch has confirmed, as its master has told; 0: none. */
  confirmed(chassis: string): number;
  /** The last generation of which the database of a host has all rows, as its master has told; 0: of none. */
  rows(chassis: string): number;
  /** A master has told more. */
  onConfirmed(listener: (master: string) => void): () => void;
}
