// Conntrack of all switches as one trace needs it: connections of zones that the packet itself has opened, so that what answers it is known, and
// translated back. Nothing of a switch's own conntrack is asked: a trace says what it assumes.
import { ctState, type Conntrack, type CtUse, type Packet } from "../../trace/index.ts";
import { translate } from "../../trace/conntrack.ts";
import { ETH_TYPE, networkType, PROTO } from "../../trace/packet/prerequisites.ts";

interface Tuple {
  readonly six: boolean;
  readonly protocol: number;
  readonly src: bigint;
  readonly dst: bigint;
  /** Of ICMP the type and the code. */
  readonly from: bigint;
  readonly to: bigint;
}

interface Connection {
  readonly original: Tuple;
  /** What answers it. */
  reply: Tuple;
  committed: boolean;
  mark?: number;
  label?: bigint;
}

/** new: what opens connections. established: what goes on, of connections that were opened. */
export type Phase = "new" | "established";

/** In one trace so many connections at most. */
const MOST = 1024;

export class Connections {
  private zones: Map<string, Connection[]>;
  phase: Phase = "new";

  constructor(zones = new Map<string, Connection[]>()) {
    this.zones = zones;
  }

  /** A copy, for a run that may have to begin again. */
  fork(): Connections {
    const made = new Connections(new Map([...this.zones].map(([zone, list]) => [zone, list.map((c) => ({ ...c }))])));
    made.phase = this.phase;
    return made;
  }

  /** Takes over what a run on a copy of it came to. */
  become(other: Connections): void {
    this.zones = other.zones;
  }

  /** What a switch knows of packets that pass conntrack there. */
  on(chassis: string): Conntrack {
    return (use) => {
      const tuple = tupleOf(use.packet);
      if (tuple === undefined) return { state: ctState.trk | ctState.inv };
      const { connection, reply } = this.find(chassis, use, tuple);
      let wanted: Tuple | undefined;
      let bits = ctState.trk | (reply ? ctState.est | ctState.rpl : this.phase === "established" && connection.committed ? ctState.est : ctState.new);
      if (use.nat !== undefined && !reply && !connection.committed && use.commit && use.nat.kind !== undefined) {
        const copy = use.packet.clone();
        // Of ICMP the identifier is translated, which no flow sees.
        translate(copy, isIcmp(tuple) ? { ...use.nat, port_min: 0 } : use.nat);
        connection.reply = inverse(tupleOf(copy)!);
      }
      if (use.nat !== undefined) {
        wanted = inverse(reply ? connection.original : connection.reply);
        if (wanted.src !== tuple.src || wanted.from !== tuple.from) bits |= ctState.snat;
        if (wanted.dst !== tuple.dst || wanted.to !== tuple.to) bits |= ctState.dnat;
      }
      if (use.commit) {
        connection.committed = true;
        if (use.mark !== undefined) connection.mark = use.mark;
        if (use.label !== undefined) connection.label = use.label;
      }
      return {
        state: bits,
        ...(connection.mark !== undefined && { mark: connection.mark }), ...(connection.label !== undefined && { label: connection.label }),
        change: (packet) => {
          if (wanted !== undefined) write(packet, wanted);
          writeConnection(packet, connection.original);
        },
      };
    };
  }

  /** Connections that were remembered where the packet did not come back from conntrack. */
  commit(chassis: string, uses: readonly CtUse<unknown>[]): void {
    for (const use of uses) {
      if (!use.commit || use.nextTable !== undefined) continue;
      const tuple = tupleOf(use.packet);
      if (tuple === undefined) continue;
      const { connection } = this.find(chassis, use, tuple);
      connection.committed = true;
      if (use.mark !== undefined) connection.mark = use.mark;
      if (use.label !== undefined) connection.label = use.label;
    }
  }

  private find(chassis: string, { zone }: CtUse<unknown>, tuple: Tuple): { readonly connection: Connection; readonly reply: boolean } {
    const key = `${chassis}/${zone}`;
    let list = this.zones.get(key);
    if (list === undefined) this.zones.set(key, (list = []));
    for (const connection of list) if (equal(connection.original, tuple)) return { connection, reply: false };
    for (const connection of list) if (connection.committed && equal(connection.reply, tuple)) return { connection, reply: true };
    const connection: Connection = { original: tuple, reply: inverse(tuple), committed: false };
    if (list.length < MOST) list.push(connection);
    return { connection, reply: false };
  }
}

function tupleOf(packet: Packet): Tuple | undefined {
  const type = networkType(packet.words);
  if (type !== ETH_TYPE.ipv4 && type !== ETH_TYPE.ipv6) return undefined;
  const six = type === ETH_TYPE.ipv6;
  return { six, protocol: Number(packet.get("ip_proto")), src: packet.get(six ? "ipv6_src" : "ipv4_src"), dst: packet.get(six ? "ipv6_dst" : "ipv4_dst"), from: packet.get("tcp_src"), to: packet.get("tcp_dst") };
}

/** Types of ICMP and ICMPv6 that answer each other. */
const ANSWERS: ReadonlyMap<bigint, bigint> = new Map([[8n, 0n], [0n, 8n], [13n, 14n], [14n, 13n], [15n, 16n], [16n, 15n], [17n, 18n], [18n, 17n], [128n, 129n], [129n, 128n]]);
const isIcmp = ({ protocol }: Pick<Tuple, "protocol">): boolean => protocol === PROTO.icmpv4 || protocol === PROTO.icmpv6;

function inverse(tuple: Tuple): Tuple {
  const { src, dst, from, to } = tuple;
  return isIcmp(tuple) ? { ...tuple, src: dst, dst: src, from: ANSWERS.get(from) ?? from } : { ...tuple, src: dst, dst: src, from: to, to: from };
}

const equal = (a: Tuple, b: Tuple): boolean => a.six === b.six && a.protocol === b.protocol && a.src === b.src && a.dst === b.dst && a.from === b.from && a.to === b.to;

function write(packet: Packet, { six, src, dst, from, to, protocol }: Tuple): void {
  packet.set(six ? "ipv6_src" : "ipv4_src", src);
  packet.set(six ? "ipv6_dst" : "ipv4_dst", dst);
  if (isIcmp({ protocol })) return;
  packet.set("tcp_src", from);
  packet.set("tcp_dst", to);
}

function writeConnection(packet: Packet, { six, protocol, src, dst, from, to }: Tuple): void {
  packet.set("ct_nw_proto", BigInt(protocol));
  packet.set(six ? "ct_ipv6_src" : "ct_nw_src", src);
  packet.set(six ? "ct_ipv6_dst" : "ct_nw_dst", dst);
  packet.set("ct_tp_src", from);
  packet.set("ct_tp_dst", to);
}
