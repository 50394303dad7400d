// What is known of tunnels between hosts: facts of this controller alone, which begin anew with each start and feed no flow.
import { definePool, defineSettings, defineSoftTable, type EncapType, type Row } from "#app";

export const tunnelSettings = defineSettings({
  "tunnel-probes": { kind: { integer: [1, 5000] }, value: "N", fallback: "200", about: "probes a second that the controller sends by tunnels between hosts, in all" },
});

export const probeMeters = definePool({ name: "tunnel-probe-meter", of: "meter", min: 0x80f0_0000, max: 0x80f0_0000, about: "meter of probes of tunnels that come to the controller", taken: () => true });

export type TunnelState = "up" | "down" | "unknown";

/** One direction between two hosts by one encapsulation. `id`: `<from> <to> <type>`. */
export interface TunnelSeen extends Row {
  readonly from: string;
  readonly to: string;
  readonly type: EncapType;
  readonly state: TunnelState;
  /** RFC 3339; since when it has this state. */
  readonly since: string;
  /** One way, in milliseconds. null: not measured yet. */
  readonly latency_ms: number | null;
  /** Of the last 32 probes, 0..1. null: none was sent. */
  readonly loss: number | null;
  /** Bytes of the largest outer IP packet that gets through, as far as --mtu. null: not known yet. */
  readonly mtu: number | null;
  /** Bytes that --mtu asks for, when they do not get through. */
  readonly missing: number | undefined;
  /** RFC 3339; since when it was down, where a host that is not connected is why that is not known any more. */
  readonly wasDown?: string | undefined;
}

/** Other hosts to which the tunnels of one are watched, when it has more. */
export const PEERS_MAX = 100;
/** Tunnels that are watched. */
export const TUNNELS_MAX = 200_000;

export const tunnelTable = defineSoftTable<TunnelSeen>()("tunnel", {
  ttlS: Infinity, limitPerOwner: 4 * PEERS_MAX, limit: TUNNELS_MAX,
  indexes: {
    from: (t) => t.from,
    to: (t) => t.to,
    state: (t) => t.state,
    narrow: (t) => (t.missing === undefined ? undefined : ""),
  },
});
export const tunnelId = (from: string, to: string, type: EncapType): string => `${from} ${to} ${type}`;

/** A host at which more probes arrive than were sent there. `id` is the chassis'. */
export interface ForgedProbes extends Row {
  /** RFC 3339 */
  readonly since: string;
}
export const forgedTable = defineSoftTable<ForgedProbes>()("forged_probes", { ttlS: 10, limitPerOwner: 1, limit: 100_000 });
