// Hostile hosts that are let in: a database that says what host it is and which switch is its, and that switch from the same address. What each
// does, it does as one that the controller believes.
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { uuid, type InputRow, type Json } from "ovsdb-client";
import { FakeOvsdbServer } from "ovsdb-client/fake-server";
import { flood, map, monitored, MULTIPART, multipart, OF, openflow, speakOpenFlow, speakOvsdb, uuidOf, type Answer, type HostilePeer, type Victim } from "./peer.ts";

const EXPERIMENTER = 4;
/** System-ids of such hosts begin so. */
export const ADMITTED_PREFIX = "let-in-";

interface AdmittedOptions {
  /** How its switch answers; it connects again when it is closed. */
  readonly answer?: (socket: Socket) => Answer;
  /** Interfaces of its bridge. */
  readonly interfaces?: readonly Record<string, unknown>[];
}

/** So many interfaces are a megabyte. */
const LARGE = 4000;
let made = 0;

/** The switch of the host whose database is connected by `database`: from the same address, as long as that is, again when it is closed. */
function keepSwitch(database: Socket, victim: Victim, dpid: string, answer: (socket: Socket) => Answer): void {
  const dial = (): void => {
    if (database.destroyed) return;
    const own = connect({ host: "127.0.0.1", port: victim.openflow, localAddress: database.localAddress! });
    own.on("error", () => undefined);
    own.on("connect", () => speakOpenFlow(own, dpid, answer(own)));
    own.on("close", () => setTimeout(dial, 500).unref());
    database.once("close", () => own.destroy());
  };
  setTimeout(dial, 200).unref();
}

function admitted(name: string, { answer = () => () => false, interfaces = [] }: AdmittedOptions): HostilePeer {
  const number = ++made;
  const dpid = (0xfeed_0000 + number).toString(16).padStart(16, "0");
  const port = (n: number): string => uuidOf(2 * n + 101);
  const tables = JSON.stringify({
    Open_vSwitch: { [uuidOf(1)]: { initial: { bridges: ["uuid", uuidOf(2)], external_ids: map({ "system-id": `${ADMITTED_PREFIX}${number}`, "axion-encap-ip": `192.0.2.${100 + number}`, "axion-encap-type": "geneve" }) } } },
    Bridge: { [uuidOf(2)]: { initial: { name: "br-int", datapath_id: dpid, ports: ["set", interfaces.map((_, n) => ["uuid", port(n)])] } } },
    Port: Object.fromEntries(interfaces.map((_, n) => [port(n), { initial: { name: `p${n}`, interfaces: ["uuid", uuidOf(2 * n + 100)] } }])),
    Interface: Object.fromEntries(interfaces.map((row, n) => [uuidOf(2 * n + 100), { initial: { name: `p${n}`, ...row } }])),
  });
  return {
    // Whose rows are more than all others send may be the one that has to make room (docs/limits.md).
    name: `let in: ${name}`, port: "ovsdb", ...(interfaces.length < LARGE && { ends: false }),
    speak: (socket, victim) => {
      // What apps observe is followed by a second monitor, of other columns.
      let monitors = 0;
      speakOvsdb(socket, (method, id) => (method === "monitor_cond_since" ? monitored(id, ++monitors === 1 ? tables : "{}") : undefined));
      keepSwitch(socket, victim, dpid, answer);
    },
  };
}

/** A flow of a table that matches all and does nothing, with a cookie that nobody of ours has. */
function foreignFlow(table: number, priority: number): Buffer {
  const out = Buffer.alloc(56);
  out.writeUInt16BE(56, 0);
  out.writeUInt8(table, 2);
  out.writeUInt16BE(priority, 12);
  out.writeUInt16BE(1, 48);
  out.writeUInt16BE(4, 50);
  return out;
}
const FOREIGN = Buffer.concat(Array.from({ length: 1000 }, (_, n) => foreignFlow(n % 250, n)));
const ifaceId = (n: number): unknown => map({ "iface-id": `77777777-0000-4000-8000-${n.toString(16).padStart(12, "0")}` });

const showing = (thousands: number) => (socket: Socket): Answer => (type, xid, kind) => {
  if (type !== OF.multipartRequest || kind !== MULTIPART.flow) return false;
  for (let n = 1; n <= thousands; n++) socket.write(multipart(xid, kind, FOREIGN, n < thousands));
  return true;
};

export const admittedPeers: readonly HostilePeer[] = [
  admitted("a flow dump that never ends", {
    answer: (socket) => (type, xid, kind) => {
      if (type !== OF.multipartRequest || kind !== MULTIPART.flow) return false;
      flood(socket, multipart(xid, kind, FOREIGN, true));
      return true;
    },
  }),
  admitted("empty parts of a flow dump for ever", {
    answer: (socket) => (type, xid, kind) => {
      if (type !== OF.multipartRequest || kind !== MULTIPART.flow) return false;
      flood(socket, Buffer.concat(Array.from({ length: 1000 }, () => multipart(xid, kind, Buffer.alloc(0), true))));
      return true;
    },
  }),
  // It opens no bundle either.
  admitted("50,000 flows of nobody's that stay whatever is deleted", { answer: showing(50) }),
  admitted("bundles and barriers that are never answered", { answer: () => (type) => type === EXPERIMENTER || type === OF.barrierRequest }),
  admitted("every bundle is refused", { answer: (socket) => (type, xid) => {
    if (type !== EXPERIMENTER) return false;
    socket.write(openflow(OF.error, xid, Buffer.from([0, 5, 0, 1])));
    return true;
  } }),
  admitted("a dump that stops in the middle", { answer: (socket) => (type, xid, kind) => {
    if (type !== OF.multipartRequest || kind !== MULTIPART.flow) return false;
    socket.write(multipart(xid, kind, FOREIGN, true));
    return true;
  } }),
  admitted("interfaces that claim one iface-id, and one OpenFlow port", {
    interfaces: [
      ...Array.from({ length: 40 }, (_, n) => ({ ofport: n + 1, external_ids: ifaceId(1) })),
      ...Array.from({ length: 40 }, (_, n) => ({ ofport: 77, external_ids: ifaceId(n + 100) })),
      { ofport: 0, external_ids: ifaceId(1000) }, { ofport: -1, external_ids: ifaceId(1001) }, { ofport: 65_535, external_ids: ifaceId(1002) },
      { ofport: 0xffff_fffe, external_ids: ifaceId(1003) }, { ofport: 78, external_ids: map({ "iface-id": "" }) },
    ],
  }),
  admitted("4,500 interfaces that nobody knows", { interfaces: Array.from({ length: 4500 }, (_, n) => ({ ofport: n + 1, external_ids: ifaceId(n + 10_000) })) }),
];

const BUNDLE = { experimenter: 0x4f4e_4600, control: 2300, add: 2301 };
/**
 * Says yes to bundles, whatever is in them: experimenter 0x4f4e4600 of ONF, a control message of which has its own type plus one for an answer. `refuses`:
 * and no to each message in them.
 */
const agreeing = (socket: Socket, refuses = false): Answer => (type, xid, _kind, message) => {
  if (type !== EXPERIMENTER || message.readUInt32BE(8) !== BUNDLE.experimenter) return false;
  const subtype = message.readUInt32BE(12);
  if (subtype === BUNDLE.control) {
    const body = Buffer.from(message.subarray(8, 24));
    body.writeUInt16BE(body.readUInt16BE(12) + 1, 12);
    socket.write(openflow(EXPERIMENTER, xid, body));
  } else if (subtype === BUNDLE.add && refuses) socket.write(openflow(OF.error, xid, Buffer.from([0, 5, 0, 0])));
  return true;
};
const showingAndAgreeing = (thousands: number, refuses: boolean) => (socket: Socket): Answer => {
  const [show, agree] = [showing(thousands)(socket), agreeing(socket, refuses)];
  return (type, xid, kind, message) => show(type, xid, kind, message) || agree(type, xid, kind, message);
};
/** OFPFMFC_UNKNOWN for each; fewer than what is read of a switch at once. */
export const refusesToLoseFlows = admitted("15,000 flows of nobody's, each of which it refuses to lose", { answer: showingAndAgreeing(15, true) });
const takesDeletes = admitted("50,000 flows of nobody's that stay, though it takes what deletes them", { answer: showingAndAgreeing(50, false) });

/** A host whose database is one: what the controller writes there is there. It has so many interfaces with an iface-id. */
function large(interfaces: number): HostilePeer {
  const number = ++made;
  const dpid = (0xfeed_0000 + number).toString(16).padStart(16, "0");
  let server: FakeOvsdbServer | undefined;
  const database = (): FakeOvsdbServer => {
    const numbers = Array.from({ length: interfaces }, (_, n) => n);
    const rows: Record<string, InputRow[]> = {
      Interface: numbers.map((n) => ({ _uuid: uuidOf(2 * n + 100), name: `tap${n}`, ofport: n + 1, external_ids: { "iface-id": `77777777-0000-4000-8000-${n.toString(16).padStart(12, "0")}` } })),
      Port: numbers.map((n) => ({ _uuid: uuidOf(2 * n + 101), name: `tap${n}`, interfaces: [uuid(uuidOf(2 * n + 100))] })),
      Bridge: [{ _uuid: uuidOf(2), name: "br-int", datapath_id: dpid, ports: numbers.map((n) => uuid(uuidOf(2 * n + 101))) }],
      Open_vSwitch: [{ _uuid: uuidOf(1), bridges: [uuid(uuidOf(2))], external_ids: { "system-id": `${ADMITTED_PREFIX}${number}` } }],
    };
    return new FakeOvsdbServer({ databases: [{ schema: JSON.parse(readFileSync("/usr/share/openvswitch/vswitch.ovsschema", "utf8")) as Json, rows }] });
  };
  return {
    name: `let in: ${interfaces.toLocaleString("en")} interfaces with iface-ids`, port: "ovsdb", ...(interfaces > 16_000 && { ends: true }),
    prepare: () => { server ??= database(); },
    speak: (socket, victim) => {
      server!.serve(socket);
      keepSwitch(socket, victim, dpid, agreeing);
    },
  };
}

/** Each takes long to make, or is much like another one: they are no part of what is run at all times. */
export const largePeers: readonly HostilePeer[] = [...[10_000, 30_000, 100_000].map(large), refusesToLoseFlows, takesDeletes];
