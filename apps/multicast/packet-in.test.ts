// What is said again in a port's name.
import { buildEthernet, buildIgmp, buildIpv4, ethertypes, ipProtocols, parsePacket, type IgmpMessage } from "packet-codec";
import { pino } from "pino";
import { expect, test } from "vitest";
import type { AnyTable, PacketIn, Row, StageOut } from "#app";
import { Layer } from "../../src/model/rows.ts";
import { portTable } from "../l2/model.ts";
import { signal } from "./model.ts";
import { leaving, left, punted } from "./packet-in.ts";

const [PLAIN, OPEN, SHARING] = [17, 18, 19];
const GROUP = "239.1.2.3";

function ports(): Layer {
  const view = new Layer();
  const port = (key: number, rest: Record<string, unknown>): void =>
    view.put(portTable as AnyTable, { id: `port-${key}`, key, network_id: "net", mac_address: `fa:16:3e:00:00:${key}`, device_owner: "", port_security_enabled: true, allowed_address_pairs: [], ...rest } as Row);
  port(PLAIN, {});
  port(OPEN, { port_security_enabled: false });
  port(SHARING, { allowed_address_pairs: [{ ip_address: "10.0.0.9", mac_address: "52:54:00:00:00:01" }] });
  return view;
}

/** What comes of a message: `<stage> <word> <kind> <group>`. */
function said(key: number, message: IgmpMessage, inPort = 5, outsOf: (packet: PacketIn) => readonly object[] = (packet) => punted(packet, ports() as never, pino({ level: "silent" }))): string[] {
  const data = buildEthernet({ dst: "01:00:5e:00:00:16", src: "fa:16:3e:00:00:17", ethertype: ethertypes.ipv4 }, buildIpv4({ src: "10.0.0.5", dst: "224.0.0.22", protocol: ipProtocols.igmp, ttl: 1 }, buildIgmp(message)));
  const packet: PacketIn = { chassis: "hv1", inPort, table: "multicast_punted", data, register: (name: string) => (name === "in_port_key" ? key : name === "net" ? 7 : 0) };
  return outsOf(packet).map((out) => {
    const { chassis, stage, registers, data: frame, inPort: by } = out as StageOut;
    expect([chassis, registers.net, registers.from_network]).toEqual(["hv1", 7, 1]);
    // It does not go back to who says it.
    if (stage === "forward") expect([registers.in_port_key, by]).toEqual([key, inPort === 0 ? undefined : inPort]);
    const { igmp } = parsePacket(frame);
    return `${stage} ${registers.router ?? 0} ${igmp!.kind} ${(igmp as { group: string }).group}`;
  });
}
const leave: IgmpMessage = { kind: "leave", max_resp_code: 0, group: GROUP };

test("who joins is said to join, by whatever port", () => {
  for (const key of [PLAIN, OPEN, SHARING]) expect(said(key, { kind: "reportV3", records: [{ type: 4, group: GROUP, sources: [] }, { type: 2, group: "239.1.2.4", sources: [] }] })).toEqual([`forward ${signal.joined} report ${GROUP}`, `forward ${signal.joined} report 239.1.2.4`]);
  expect(said(PLAIN, { kind: "report", version: 2, max_resp_code: 0, group: GROUP }, 0)).toEqual([`forward ${signal.joined} report ${GROUP}`]);
});

test("who leaves is asked whether there is another, and has left a while later; where there are others behind the port nothing is said", () => {
  const parts = (key: number): string[] => said(key, leave, 5, (packet) => leaving(packet, ports() as never).flatMap((group) => left(packet, group)));
  expect(said(PLAIN, leave)).toEqual([`locate 0 query ${GROUP}`]);
  expect(parts(PLAIN)).toEqual([`forward ${signal.left} report ${GROUP}`, `locate 0 query ${GROUP}`]);
  for (const key of [OPEN, SHARING]) expect([...said(key, leave), ...parts(key)]).toEqual([]);
});

test("a router's question who is in a group goes to them, if the port may be a router", () => {
  const question: IgmpMessage = { kind: "query", version: 2, max_resp_code: 10, group: GROUP };
  expect(said(OPEN, question)).toEqual([`forward 0 query ${GROUP}`]);
  expect(said(PLAIN, question)).toEqual([]);
});

test("what cannot be read, and what is of no port, is nothing", () => {
  expect(said(99, leave)).toEqual([]);
  const cut: PacketIn = { chassis: "hv1", inPort: 5, table: "multicast_punted", data: Buffer.alloc(20), register: (() => PLAIN) };
  expect(punted(cut, ports() as never, pino({ level: "silent" }))).toEqual([]);
});
