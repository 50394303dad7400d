// Peers that are broken or mean harm, by name: each does one thing to the controller's OpenFlow or OVSDB port.
import { drip, features, flood, map, monitored, MULTIPART, multipart, OF, openflow, result, root, speakOpenFlow, speakOvsdb, uuidOf, type Answer, type HostilePeer, type Victim } from "./peer.ts";
import type { Socket } from "node:net";
import { admittedPeers, largePeers } from "./admitted.ts";

const OWN = "0000feedfacefeed";

const aSwitch = (name: string, ends: boolean, answer: (socket: Socket) => Answer, dpid: (victim: Victim) => string = () => OWN): HostilePeer => ({
  name, port: "openflow", ends, speak: (socket, victim) => speakOpenFlow(socket, dpid(victim), answer(socket)),
});
/** As a switch that was let in: once it has said what it is, it sends this again and again. */
const flooding = (name: string, bytes: Buffer): HostilePeer => aSwitch(name, false, (socket) => (type, _xid, kind) => {
  if (type === OF.multipartRequest && kind === MULTIPART.desc) setTimeout(() => flood(socket, bytes), 50);
  return false;
});

const PACKET_IN = openflow(OF.packetIn, 0, Buffer.concat([Buffer.from("ffffffff0040000000000000000000000001000c80000004000000010000000000", "hex").subarray(0, 32), Buffer.alloc(2 + 64)]));
const PORT_STATUS = openflow(OF.portStatus, 0, Buffer.alloc(8 + 64, 0x1b)); // also a name that is control characters
const ERROR = openflow(OF.error, 7, Buffer.alloc(68));
const repeated = (bytes: Buffer): Buffer => Buffer.concat(Array.from({ length: Math.ceil(65_536 / bytes.length) }, () => bytes));

/** Parts of a reply, for ever. */
const endless = (name: string, asked: (kind: number) => boolean, body: Buffer): HostilePeer => aSwitch(name, true, (socket) => (type, xid, kind) => {
  if (type !== OF.multipartRequest || !asked(kind)) return false;
  flood(socket, repeated(multipart(xid, kind, body, true)));
  return true;
});

/** A flow of table 0 with its cookie, without match or instructions. */
const FLOW_STATS = Buffer.concat([Buffer.from([0, 56, 0, 0]), Buffer.alloc(44), Buffer.from([0, 1, 0, 4, 0, 0, 0, 0])]);

const openflowPeers: readonly HostilePeer[] = [
  { name: "a connection that says nothing", port: "openflow", ends: true, connections: 8, speak: () => undefined },
  { name: "one byte a second", port: "openflow", ends: true, speak: (socket) => drip(socket, openflow(OF.hello, 1, Buffer.alloc(1000)), 1000) },
  { name: "a TLS handshake that never ends", port: "openflow", ends: true, speak: (socket) => socket.write(Buffer.from("16030100c8010000c40303", "hex")) },
  aSwitch("features that never come", true, () => (type) => type === OF.featuresRequest),
  aSwitch("an address in the place of another's switch", true, () => () => false, (victim) => victim.dpid),
  aSwitch("features that change in mid-session", false, (socket) => (type, xid) => {
    if (type !== OF.echoRequest && type !== OF.multipartRequest) return false;
    socket.write(features(xid + 1_000_000, "000000000badcafe"));
    return false;
  }),
  endless("a description that never ends", (kind) => kind === MULTIPART.desc, Buffer.alloc(1056)),
  endless("empty parts for ever", (kind) => kind === MULTIPART.desc, Buffer.alloc(0)),
  endless("a flow dump in the place of a description, for ever", (kind) => kind === MULTIPART.desc, FLOW_STATS),
  flooding("errors without end", repeated(ERROR)),
  flooding("echo requests without end", repeated(openflow(OF.echoRequest, 9, Buffer.alloc(1000)))),
  flooding("packets without end", repeated(PACKET_IN)),
  flooding("changes of ports without end", repeated(PORT_STATUS)),
  { name: "hello without end", port: "openflow", ends: true, speak: (socket) => flood(socket, repeated(openflow(OF.hello, 1))) },
  { name: "lengths of zero", port: "openflow", ends: true, speak: (socket) => socket.write(Buffer.concat([openflow(OF.hello, 1), Buffer.alloc(4096)])) },
  aSwitch("asks for echoes and reads none", true, (socket) => (type, _xid, kind) => {
    if (type !== OF.multipartRequest || kind !== MULTIPART.desc) return false;
    setTimeout(() => { socket.pause(); flood(socket, repeated(openflow(OF.echoRequest, 9, Buffer.alloc(60_000)))); }, 50);
    return false;
  }),
];

const text = (value: unknown): string => JSON.stringify(value);
const note = (method: string, params: unknown): string => text({ id: null, method, params });

/** A database that answers the question for its rows so. */
const answering = (name: string, ends: boolean | undefined, tables: () => string): HostilePeer => ({
  name, port: "ovsdb", ...(ends !== undefined && { ends }), speak: (socket) => speakOvsdb(socket, (method, id) => (method === "monitor_cond_since" ? monitored(id, tables()) : undefined)),
});
/** Once it is followed, it sends this. */
const notifying = (name: string, ends: boolean | undefined, send: (socket: Socket, monitor: string) => void): HostilePeer => ({
  name, port: "ovsdb", ...(ends !== undefined && { ends }), speak: (socket) => speakOvsdb(socket, undefined, (monitor) => send(socket, monitor)),
});
const update = (monitor: string, tables: unknown): string => note("update3", [monitor, uuidOf(3), tables]);
const interfaces = (count: number, of: (n: number) => Record<string, unknown>): string =>
  `{"Interface":{${Array.from({ length: count }, (_, n) => `"${uuidOf(n)}":${text({ initial: of(n) })}`).join(",")}}}`;

const ovsdbPeers: readonly HostilePeer[] = [
  { name: "a connection that says nothing", port: "ovsdb", ends: true, connections: 8, speak: () => undefined },
  { name: "one byte a second", port: "ovsdb", ends: true, speak: (socket) => drip(socket, Buffer.from(note("echo", ["x".repeat(1000)])), 1000) },
  { name: "a document that never ends", port: "ovsdb", ends: true, connections: 16, speak: (socket) => { socket.write('{"method":"'); flood(socket, Buffer.alloc(65_536, "x")); } },
  { name: "nesting without end", port: "ovsdb", ends: true, speak: (socket) => { socket.write('{"a":'); flood(socket, Buffer.alloc(65_536, "[")); } },
  answering("100,000 interfaces", true, () => interfaces(100_000, (n) => ({ name: `i${n}`, ofport: n + 1, external_ids: map({ "iface-id": uuidOf(n) }) }))),
  answering("16,000 interfaces", undefined, () => interfaces(16_000, (n) => ({ name: `i${n}`, ofport: n + 1, external_ids: map({ "iface-id": uuidOf(n) }) }))),
  answering("external_ids of 300,000 pairs", true, () => text({ Open_vSwitch: { [uuidOf(1)]: { initial: { external_ids: ["map", Array.from({ length: 300_000 }, (_, n) => [`k${n}`, "v"])] } } } })),
  answering("seven megabytes in one value", undefined, () => root({ "system-id": "x".repeat(7 << 20) })),
  answering("seven megabytes of empty lists", true, () => `{"Open_vSwitch":[${"[],".repeat(2_300_000)}[]]}`),
  answering("numbers beyond all numbers", true, () => `{"Interface":{"${uuidOf(1)}":{"initial":{"ofport":${"9".repeat(300)}e999}}}}`),
  answering("an integer of 300 digits", false, () => `{"Interface":{"${uuidOf(1)}":{"initial":{"ofport":-${"9".repeat(300)}}}}}`),
  answering("the same row twice", false, () => `{"Open_vSwitch":{"${uuidOf(1)}":{"initial":{}},"${uuidOf(1)}":{"initial":{"ovs_version":"1"}}}}`),
  answering("half of a surrogate pair", true, () => `{"Open_vSwitch":{"${uuidOf(1)}":{"initial":{"ovs_version":"\\ud800"}}}}`),
  answering("rows of tables nobody asked for", true, () => text({ Manager: { [uuidOf(1)]: { initial: {} } } })),
  answering("a table named __proto__", true, () => `{"__proto__":{"${uuidOf(1)}":{"initial":{}}}}`),
  answering("a column named __proto__", true, () => `{"Open_vSwitch":{"${uuidOf(1)}":{"initial":{"__proto__":{"ovs_version":"1"}}}}}`),
  answering("names and keys that are prototypes' and control characters", false, () => root({ "system-id": "a\u001b[2J\nb", "__proto__": "x", constructor: "y", hasOwnProperty: "z", hostname: "\u202e" })),
  answering("a system-id that is a prototype's, and a setting of 100,000 characters", undefined, () => root({ "system-id": "toString", "axion-bridge-mappings": "x".repeat(100_000) })),
  {
    name: "another's system-id", port: "ovsdb", ends: true,
    speak: (socket, { systemId }) => speakOvsdb(socket, (method, id) => (method === "monitor_cond_since" ? monitored(id, root({ "system-id": systemId, "axion-encap-ip": "192.0.2.66", "axion-encap-type": "geneve" })) : undefined)),
  },
  { name: "answers to no question", port: "ovsdb", ends: true, speak: (socket) => speakOvsdb(socket, (_method, id) => result(id + 1_000_000, "{}")) },
  { name: "errors instead of answers", port: "ovsdb", ends: true, speak: (socket) => speakOvsdb(socket, (_method, id) => `{"id":${id},"result":null,"error":{"error":"${"no ".repeat(10_000)}"}}`) },
  notifying("echo requests without end", false, (socket) => flood(socket, Buffer.from(text({ id: "e", method: "echo", params: ["x".repeat(10_000)] })))),
  notifying("one echo request of five megabytes", true, (socket) => socket.write(text({ id: "e", method: "echo", params: ["x".repeat(5 << 20)] }))),
  notifying("asks for echoes and reads none", true, (socket) => { socket.pause(); flood(socket, Buffer.from(text({ id: "e", method: "echo", params: ["x".repeat(60_000)] }))); }),
  notifying("notifications without end", false, (socket) => flood(socket, Buffer.from(note("noise", [1]).repeat(1000)))),
  notifying("locks that nobody asked for", false, (socket) => socket.write([note("locked", ["a"]), note("stolen", ["__proto__"]), note("stolen", [7])].join("").repeat(50))),
  notifying("updates of a monitor that is not there", false, (socket) => socket.write(update("nobody's", { Open_vSwitch: {} }).repeat(50))),
  notifying("changes of a row never shown", true, (socket, monitor) => socket.write(update(monitor, { Interface: { [uuidOf(7)]: { modify: { name: "x" } } } }))),
  notifying("a row that comes and goes without end", false, (socket, monitor) => {
    const row = (kind: object): string => update(monitor, { Interface: { [uuidOf(7)]: kind } });
    flood(socket, Buffer.from((row({ insert: { name: "x", external_ids: map({ "iface-id": uuidOf(7) }) } }) + row({ delete: null })).repeat(100)));
  }),
  notifying("a monitor that is canceled at once", true, (socket, monitor) => socket.write(note("monitor_canceled", [monitor]))),
  { name: "a schema of a megabyte", port: "ovsdb", ends: true, speak: (socket) => speakOvsdb(socket, (method, id) => (method === "get_schema" ? result(id, text({ name: "Open_vSwitch", version: "1.0.0", tables: {}, x: "x".repeat(1 << 20) })) : undefined)) },
];

/** Each moderate, and many: what counts is their sum. */
const manyPeers: readonly HostilePeer[] = [
  { name: "many moderate messages that never end", port: "ovsdb", ends: true, connections: 100, speak: (socket) => socket.write(`{"id":1,"x":"${"x".repeat(400 * 1024)}`) },
  { ...answering("many databases of empty rows", undefined, () => `{"Interface":{${Array.from({ length: 30_000 }, (_, n) => `"${uuidOf(n)}":{"initial":{}}`).join(",")}}}`), connections: 8 },
  {
    // They take turns with one another: some may not get to their first answer.
    ...notifying("many databases without a name, each with changes without end", undefined, (socket, monitor) => {
      const row = (kind: object): string => update(monitor, { Interface: { [uuidOf(7)]: kind } });
      flood(socket, Buffer.from((row({ insert: { name: "x" } }) + row({ delete: null })).repeat(100)));
    }),
    connections: 32,
  },
];

export const hostilePeers: readonly HostilePeer[] = [...openflowPeers, ...ovsdbPeers, ...manyPeers, ...admittedPeers];
/** With those that take long to make. */
export const allHostilePeers: readonly HostilePeer[] = [...hostilePeers, ...largePeers];
