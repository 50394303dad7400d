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
/** struct ofp_flow_mod: the match begins here. OpenFlow 1.3.5 section 7.3.4.1. */
export const FLOW_MOD_MATCH_OFFSET = 48;

/** struct ofp_flow_mod from table_id to the match: what a flow is known by, when it has no timeouts and no flags. */
export const FLOW_KEY_OFFSET = 24;

const prefixes = new Map<number, string>();

/** The key of a flow from its parts, as Flow.key: for what a switch dumped. `match` is the padded ofp_match. */
export function flowKey(table: number, priority: number, buf: Buffer, matchOff: number, matchLen: number): string {
  const code = (table << 16) | priority;
  let prefix = prefixes.get(code);
  if (prefix === undefined) {
    const bytes = Buffer.alloc(FLOW_MOD_MATCH_OFFSET - FLOW_KEY_OFFSET);
    bytes[0] = table;
    bytes.writeUInt16BE(priority, 6);
    bytes.fill(0xff, 8, 20); // buffer_id, out_port, out_group: none
    if (prefixes.size > 100_000) prefixes.clear();
    prefixes.set(code, (prefix = bytes.toString("latin1")));
  }
  return prefix + buf.toString("latin1", matchOff, matchOff + matchLen);
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
