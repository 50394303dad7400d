// Reports that a switch cannot read, and who leaves a group: said again, in the port's name, as reports that it can. They are learned as any are; nothing of it is kept here.
import { PacketError } from "packet-codec";
import type { PacketIn, PacketInHandler, ReadView, StageOut } from "#app";
import { extraMacs, senderOf, toPort, type Port } from "../l2/model.ts";
import { queries, readReport, reportOf } from "./messages.ts";
import { signal } from "./model.ts";

/** Seconds that others behind a port have to say that they still want what one of them left: RFC 2236 section 8.8. */
const LAST_MEMBER_S = 1;

/** What a packet says, and of which port; undefined: it says nothing. */
function read(packet: PacketIn, view: ReadView, onMalformed?: (error: PacketError, port: Readonly<Port>) => void): { readonly port: Readonly<Port>; readonly said: ReturnType<typeof readReport> } | undefined {
  const port = senderOf(view, packet);
  if (port === undefined) return undefined;
  try {
    return { port, said: readReport(packet.data) };
  } catch (error) {
    if (!(error instanceof PacketError)) throw error;
    onMalformed?.(error, port);
    return undefined;
  }
}

/** In a port's name, into the network that it is in: it goes wherever what the port sends would. */
const say = (packet: PacketIn, data: Uint8Array, what: { readonly router?: number }): StageOut => ({
  chassis: packet.chassis, stage: "forward", ...(packet.inPort !== 0 && { inPort: packet.inPort }),
  registers: { net: packet.register("net"), in_port_key: packet.register("in_port_key"), from_network: 1, ...what }, data,
});

const ask = (packet: PacketIn, group: string): StageOut[] => queries(LAST_MEMBER_S, group).map((data) => toPort(packet.chassis, packet.register("net"), packet.register("in_port_key"), data));

export const punted: PacketInHandler = (packet, view, log) => {
  const { port, said } = read(packet, view, (error, { id }) => log.debug({ err: error, port: id }, "malformed IGMP or MLD")) ?? {};
  if (port === undefined || said === undefined) return [];
  // A router's question who is in a group goes to them.
  if (said.query) return port.port_security_enabled ? [] : [say(packet, packet.data, {})];
  return said.memberships.flatMap(({ group, joins }) => (joins ? [say(packet, reportOf(group), { router: signal.joined })] : isAlone(port) ? ask(packet, group) : []));
};

/** Whether there is one machine behind a port. Of several nobody knows who is in the group yet: they are forgotten when they are not heard any more. */
const isAlone = (port: Port): boolean => port.port_security_enabled && extraMacs(port).length === 0;

/** The groups that a port leaves. */
export function leaving(packet: PacketIn, view: ReadView): readonly string[] {
  const { port, said } = read(packet, view) ?? {};
  return port === undefined || said === undefined || !isAlone(port) ? [] : said.memberships.flatMap(({ group, joins }) => (joins ? [] : [group]));
}
/** That it has left, and once more whether somebody is in the group. */
export const left = (packet: PacketIn, group: string): StageOut[] => [say(packet, reportOf(group), { router: signal.left }), ...ask(packet, group)];
