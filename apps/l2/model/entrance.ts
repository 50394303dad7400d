// Where frames of a network come in at a host from its physical network: for traces of what is sent from there.
import { defineQuestion, type PacketEntrance, type ReadView } from "#app";

export type WireEntrance = Pick<PacketEntrance, "ofport" | "vlan">;

/** undefined: they do not, at this chassis. */
export const wireEntrance = defineQuestion<(view: ReadView, networkId: string, chassis: string) => WireEntrance | undefined>("wire_entrance");
