// What the compiler hands to the southbound layer: for each chassis the flows, meters and ports it should have, and the
// difference that a commit makes. Flows are bytes, encoded once for all chassis of their scope.

/** One desired flow entry. Its bytes are a whole OFPT_FLOW_MOD (ADD) message in a slab; the header's xid is 0. */
export interface Flow {
  readonly table: number;
  readonly priority: number;
  /** High and low half of the cookie. */
  readonly cookieHi: number;
  readonly cookieLo: number;
  readonly slab: Buffer;
  readonly off: number;
  readonly len: number;
  /** Length of the ofp_match inside the message (padded); it begins at off + FLOW_MOD_MATCH_OFFSET, instructions follow it. */
  readonly matchLen: number;
  /** Identity on a switch: the message's bytes from table_id to the end of the match (latin1). Equal strings = same flow. */
  readonly key: string;
}
export interface Meter {
  readonly id: number;
  readonly ratePps: number;
  readonly burst: number;
}
export interface OvsPort {
  readonly name: string;
  readonly type: string;
  readonly options: Readonly<Record<string, string>>;
  readonly ofport: number;
}

/** What one commit changes on one chassis. Net: a key is in `add` or in `remove`, never both. `add` also replaces. */
export interface ChassisDelta {
  readonly add: Flow[];
  /** Those of `add` that take the place of another flow with their key. */
  readonly changed: Set<Flow>;
  readonly remove: Flow[];
  readonly addMeters: Meter[];
  readonly removeMeters: Meter[];
  /** True if portsOf(chassis) changed. */
  portsChanged: boolean;
}

export interface Delta {
  /** The store revision that the desired state now reflects. */
  readonly generation: number;
  readonly chassis: ReadonlyMap<string, ChassisDelta>;
}

/** Everything the southbound layer may ask of the compiler. All synchronous; the compiler does no I/O. */
export interface Desired {
  readonly generation: number;
  flowsOf(chassis: string): Iterable<Flow>;
  metersOf(chassis: string): Iterable<Meter>;
  portsOf(chassis: string): Iterable<OvsPort>;
  /** Called once per commit, after the rules ran, in generation order, also when nothing changed for any chassis. */
  onDelta(listener: (delta: Delta) => void): () => void;
}
