// What apps know of packets that are traced: how a port would begin one, and why one goes no further. The core follows it over the flows of the
// switches (src/ops/trace); what networks, subnets, routers and groups are, only the apps know.
import type { FieldName, Match } from "node-openflow";
import type { RegisterDecl, SharedRegister, sharedRegisters } from "./rules/stages.ts";
import type { RegisterValue } from "./packets.ts";
import type { Ask } from "./questions.ts";
import type { LiveView } from "./soft-table.ts";

/** A machine outside of the cloud, as who sends: beyond the physical network of an external network. */
export const EXTERNAL = "external";
/** Of IPv4 and of IPv6: an address that nobody here has, for documentation (RFC 5737, RFC 3849). Such a machine's, where it is not said. */
export const EXTERNAL_ADDRESS = { 4: "198.51.100.1", 6: "2001:db8:ffff:ffff::1" } as const;

/** A packet that a port sends, or a machine outside. */
export interface PacketQuestion {
  /** Id of the port, or EXTERNAL. */
  readonly from: string;
  /** Id of a port, or an address. */
  readonly to: string;
  /** Of the port's addresses those of IPv4 or of IPv6; undefined: the first that the sender has some of as well. */
  readonly family?: 4 | 6;
  /** Of IP: 1 (of IPv6 it stands for 58), 6, 17 ... */
  readonly protocol: number;
  /** The receiver's, of protocols with ports. */
  readonly port?: number;
  /** The sender's, likewise. */
  readonly sourcePort?: number;
  /** Bytes of the IP packet. */
  readonly size?: number;
  /** As which address it is sent, where that is not the port's own. */
  readonly source?: string;
  readonly sourceMac?: string;
  readonly ttl?: number;
  /** It answers one. */
  readonly answers?: true;
}

/** Why a packet goes no further; docs/trace.md has the reasons. */
export interface PacketCause {
  /** For programs. */
  readonly reason: string;
  readonly text: string;
  readonly resources: readonly { readonly type: string; readonly id: string }[];
  readonly cure: {
    readonly text: string;
    /** Of the API, to be made as it is. Absent where none helps, or where somebody has to choose: then the text says what. */
    readonly call?: { readonly method: string; readonly path: string; readonly body?: unknown };
  };
}

/** Where a packet has to arrive. `vlan`: of a port that shares the OpenFlow port with others (see Explains.behind) its tag there; null: it has none. */
export interface PacketGoal {
  readonly chassis: string;
  readonly ofport: number;
  readonly vlan: number | null;
}

/** Where a packet begins, and as what. */
export interface PacketStart {
  readonly chassis: string;
  readonly ofport: number;
  /** Its headers. */
  readonly fields: Match;
  /** As which it is sent. */
  readonly source: string;
  readonly sourceMac: string;
  /** Address that it is for, and the port that has it, if one is known. */
  readonly address: string;
  readonly to: string | undefined;
  /** The address is one of the sender's own in its network: its machine keeps what is for it, and sends nothing. */
  readonly own?: true;
  /** Where it has to arrive: an OpenFlow port, and a port behind it that is told by a tag. none: nowhere can it. anywhere: wherever it leaves, or is answered. outside: a physical network. */
  readonly goal: PacketGoal | "none" | "anywhere" | "outside";
  /** Address of a router on the physical network, none of ours, that it is sent to first. Whoever has a port that it is for says where that one's packets come in again. */
  readonly onward?: string;
}

/** Where packets for a port come in from its physical network. */
export interface PacketEntrance {
  readonly chassis: string;
  readonly ofport: number;
  /** Of its VLAN, as a match has it; null: without a tag. */
  readonly vlan: number | null;
  readonly mac: string;
}

/** Where a packet went no further. */
export interface PacketStop {
  readonly chassis: string;
  /** Name and app of the table; "" when it came to none. */
  readonly table: string;
  readonly app: string;
  /** Rule whose flow decided; undefined: none matched. */
  readonly rule: string | undefined;
  /** punted: to the controller, which does not send it on. */
  readonly did: "dropped" | "punted";
  /** The flow that decided sends it on, and the switch does not do so: by the port that it came in by, say. */
  readonly passed?: true;
  readonly question: PacketQuestion | undefined;
  readonly start: PacketStart | undefined;
  /** Of the packet, as the last action left it. */
  field(name: FieldName): bigint;
  register<N extends SharedRegister>(name: N): RegisterValue<(typeof sharedRegisters)[N]>;
  register<R extends Readonly<Record<string, RegisterDecl>>, N extends keyof R & string>(name: N, pipeline: { readonly registers: R }): RegisterValue<R[N]>;
}

/** What is known of a tunnel in one direction, beside flows. */
export interface TunnelKnown {
  readonly state: "up" | "down" | "unknown";
  /** RFC 3339; since when it has that state. */
  readonly since?: string;
  /** By what, where that is not what is measured now, as words after the state: "as BFD at hv2 says". */
  readonly how?: string;
  /** Whether the other direction carries what this one does not. */
  readonly oneWay?: boolean;
  /** Bytes of the largest IP packet inside that gets through, where it is less than it should be. */
  readonly mtu?: number;
}

/** Packets that rules of a port tell from others: of a protocol, and where that has ports, to these. */
export interface Traffic {
  readonly family: 4 | 6;
  /** As in the packet: 58 for ICMPv6. */
  readonly protocol: number;
  readonly ports?: readonly [min: number, max: number];
}

/**
 * What an app says of packets that are traced. Of beginnings a cause counts before any start, which is the first that some app knows; where a packet
 * ended all are asked for whom it was (`unanswered`), then the app of the table why, then the others in their order, and the first that knows counts.
 */
export interface Explains {
  /** `ask`: what other apps answer of how machines send. */
  begin?(this: void, view: LiveView, question: PacketQuestion, ask: Ask): PacketStart | PacketCause | undefined;
  /** Why your app does not answer what machines ask of their network: wherever the packet ended on its way to all, that is no reason. undefined: it is nothing of yours, or may not be sent. */
  unanswered?(this: void, view: LiveView, stop: PacketStop): PacketCause | undefined;
  cause?(this: void, view: LiveView, stop: PacketStop, ask: Ask): PacketCause | undefined;
  /** Hosts that take up a frame for a MAC which another sends to the physical network of a network (its key), the one that does so now first. */
  takers?(this: void, view: LiveView, networkKey: number, mac: string): readonly string[];
  /** Where a port's packets come in that a router of its physical network sends it. */
  entrance?(this: void, view: LiveView, port: string): PacketEntrance | undefined;
  /** The port that gets what leaves a chassis by an OpenFlow port with this tag; undefined: whoever is plugged there. */
  behind?(this: void, view: LiveView, chassis: string, ofport: number, vlan: number): string | undefined;
  /** Whether the machine of a port (`at`) may be who forwards to another port, which is plugged nowhere: what comes from the other's address it may send. */
  forwards?(this: void, view: LiveView, at: string, port: string, address: string): boolean | undefined;
  /** Whether a packet that went to the controller goes on once a machine has answered that the model does not list. */
  waits?(this: void, view: LiveView, stop: PacketStop): boolean;
  /** Ids of ports whose packets a resource of this type is about. */
  ports?(this: void, view: LiveView, type: string, id: string): Iterable<string>;
  /** Ids of ports that could reach a port or be reached by it, if everything allowed it; the nearest first. */
  around?(this: void, view: LiveView, port: string): Iterable<string>;
  /** Addresses beside its own by which a port is reached. */
  addresses?(this: void, view: LiveView, port: string): Iterable<string>;
  /** What rules of a port tell apart. */
  traffic?(this: void, view: LiveView, port: string): Iterable<Traffic>;
  /** Of the tunnel from one chassis to another, of a type (geneve, vxlan, gre). */
  tunnel?(this: void, view: LiveView, from: string, to: string, type: string): TunnelKnown | undefined;
}

export const isCause = (found: PacketStart | PacketCause): found is PacketCause => "reason" in found;
