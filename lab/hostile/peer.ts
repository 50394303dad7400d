// What hostile peers are made of: connections that are opened again when they are closed, and as much of OpenFlow and OVSDB as it takes to be listened to.
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";

/** Whom to attack, and as whom. */
export interface Victim {
  readonly openflow: number;
  readonly ovsdb: number;
  /** Of the honest host. */
  readonly dpid: string;
  readonly systemId: string;
}

export interface HostilePeer {
  readonly name: string;
  readonly port: "openflow" | "ovsdb";
  /** Connections at a time; default 1. */
  readonly connections?: number;
  /** Whether its connection has to end, or has to stay: it costs nothing. Default: either, by what room others leave. */
  readonly ends?: boolean;
  /** What takes long to make is made before the first connection. */
  readonly prepare?: () => void;
  /** Called with each connection once it is there. */
  readonly speak: (socket: Socket, victim: Victim) => void;
}

/** One kind at work, from an address of its own on loopback. */
export class Attack {
  readonly peer: HostilePeer;
  readonly address: string;
  opened = 0;
  ended = 0;
  private readonly victim: Victim;
  private readonly again: boolean;
  private readonly sockets = new Set<Socket>();
  private stopped = false;

  /** `again`: a connection that is closed is opened again, a tenth of a second later. */
  constructor(peer: HostilePeer, victim: Victim, address: string, again: boolean) {
    this.peer = peer;
    this.victim = victim;
    this.address = address;
    this.again = again;
    peer.prepare?.();
    for (let n = 0; n < (peer.connections ?? 1); n++) this.open();
  }

  stop(): void {
    this.stopped = true;
    for (const socket of this.sockets) socket.destroy();
  }

  private open(): void {
    const { peer, victim } = this;
    const socket = connect({ host: "127.0.0.1", port: victim[peer.port], localAddress: this.address });
    this.opened++;
    this.sockets.add(socket);
    socket.on("error", () => undefined);
    socket.on("connect", () => {
      peer.speak(socket, victim);
      if (socket.listenerCount("data") === 0) socket.resume(); // or its end is not seen
    });
    socket.on("close", () => {
      this.sockets.delete(socket);
      if (this.stopped) return;
      this.ended++;
      if (this.again) setTimeout(() => { if (!this.stopped) this.open(); }, 100).unref();
    });
  }
}

/** Writes the same bytes as fast as they are taken. */
export function flood(socket: Socket, bytes: Buffer): void {
  const more = (): void => {
    while (!socket.destroyed && socket.writableLength < 1 << 20) socket.write(bytes);
  };
  socket.on("drain", more);
  more();
}

/** Writes it a byte at a time. */
export function drip(socket: Socket, bytes: Buffer, everyMs: number): void {
  let at = 0;
  const timer = setInterval(() => {
    if (at < bytes.length) socket.write(bytes.subarray(at, ++at));
  }, everyMs);
  timer.unref();
  socket.on("close", () => clearInterval(timer));
}

// --- OpenFlow ---------------------------------------------------------------------------------------------------------

export const OF = { hello: 0, error: 1, echoRequest: 2, echoReply: 3, featuresRequest: 5, featuresReply: 6, packetIn: 10, portStatus: 12, multipartRequest: 18, multipartReply: 19, barrierRequest: 20 } as const;
export const MULTIPART = { desc: 0, flow: 1, portDesc: 13 } as const;
const EXPERIMENTER = 4;

export function openflow(type: number, xid: number, body: Buffer = Buffer.alloc(0)): Buffer {
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt8(4, 0);
  out.writeUInt8(type, 1);
  out.writeUInt16BE(out.length, 2);
  out.writeUInt32BE(xid, 4);
  body.copy(out, 8);
  return out;
}

/** `kind`: of multipart messages. True: it is answered already, or not at all. */
export type Answer = (type: number, xid: number, kind: number, message: Buffer) => boolean;

/** Is a switch that has nothing, as far as `answer` leaves it to that. */
export function speakOpenFlow(socket: Socket, dpid: string, answer: Answer = () => false): void {
  let pending: Buffer = Buffer.alloc(0);
  socket.on("data", (chunk: Buffer) => {
    pending = Buffer.concat([pending, chunk]);
    while (pending.length >= 8 && pending.length >= pending.readUInt16BE(2)) {
      const message = pending.subarray(0, pending.readUInt16BE(2));
      pending = pending.subarray(message.length);
      const type = message[1]!;
      const xid = message.readUInt32BE(4);
      const kind = type === OF.multipartRequest ? message.readUInt16BE(8) : -1;
      if (answer(type, xid, kind, message)) continue;
      if (type === OF.hello) socket.write(openflow(OF.hello, xid));
      else if (type === OF.echoRequest) socket.write(openflow(OF.echoReply, xid, message.subarray(8)));
      else if (type === OF.featuresRequest) socket.write(features(xid, dpid));
      else if (type === OF.multipartRequest && kind === MULTIPART.desc) socket.write(openflow(OF.multipartReply, xid, Buffer.alloc(8 + 1056)));
      else if (type === OF.multipartRequest) socket.write(multipart(xid, kind, Buffer.alloc(0), false));
      else if (type === OF.barrierRequest) socket.write(openflow(OF.barrierRequest + 1, xid));
      else if (type === EXPERIMENTER) socket.write(openflow(OF.error, xid, Buffer.concat([Buffer.from([0, 1, 0, 2]), message.subarray(0, 64)])));
    }
  });
}

export const features = (xid: number, dpid: string): Buffer => openflow(OF.featuresReply, xid, Buffer.concat([Buffer.from(dpid, "hex"), Buffer.alloc(16)]));

export function multipart(xid: number, kind: number, body: Buffer, more: boolean): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(kind, 0);
  head.writeUInt16BE(more ? 1 : 0, 2);
  return openflow(OF.multipartReply, xid, Buffer.concat([head, body]));
}

// --- OVSDB ------------------------------------------------------------------------------------------------------------

const schema = readFileSync("/usr/share/openvswitch/vswitch.ovsschema", "utf8");

export const uuidOf = (n: number): string => `00000000-0000-4000-8000-${n.toString(16).padStart(12, "0")}`;
export const map = (entries: Readonly<Record<string, string>>): unknown => ["map", Object.entries(entries)];

/** Text of a request of the controller -> what is sent back; undefined: as a database that has `rows` would. */
export type Reply = (method: string, id: number, params: readonly unknown[]) => string | undefined;

export const result = (id: number, text: string): string => `{"id":${id},"error":null,"result":${text}}`;
/** An answer to monitor_cond_since, as it is asked for first. */
export const monitored = (id: number, tables: string): string => result(id, `[false,"${uuidOf(0)}",${tables}]`);
/** Rows of a database that says what host it is, and has no bridge. */
export const root = (externalIds: Readonly<Record<string, string>>): string => JSON.stringify({ Open_vSwitch: { [uuidOf(1)]: { initial: { external_ids: map(externalIds) } } } });

/** Is the database of a host, as far as `reply` leaves it to that. `ready`: it was asked for rows, and has answered; the id is its monitor's. */
export function speakOvsdb(socket: Socket, reply: Reply = () => undefined, ready: (monitor: string) => void = () => undefined): void {
  let text = "", depth = 0, at = 0, quoted = false;
  socket.on("data", (chunk: Buffer) => {
    text += chunk.toString("latin1");
    for (; at < text.length; at++) {
      const c = text[at];
      if (quoted && c === "\\") at++;
      else if (c === '"') quoted = !quoted;
      else if (!quoted && c === "{") depth++;
      else if (!quoted && c === "}" && --depth === 0) {
        take(text.slice(0, at + 1));
        text = text.slice(at + 1);
        at = -1;
      }
    }
  });
  const take = (message: string): void => {
    const { method, id, params } = JSON.parse(message) as { method?: string; id: number | null; params: readonly unknown[] };
    // A notification, such as that the controller lives, wants no answer.
    if (method === undefined || id === null || socket.destroyed) return;
    const own = reply(method, id, params);
    if (own !== undefined) socket.write(own);
    else if (method === "echo") socket.write(result(id, JSON.stringify(params)));
    else if (method === "get_schema") socket.write(result(id, schema));
    else if (method === "monitor_cond_since") socket.write(monitored(id, root({})));
    else if (method === "transact") socket.write(result(id, JSON.stringify(params.slice(1).map(() => ({ count: 1, uuid: ["uuid", uuidOf(9)] })))));
    else socket.write(result(id, "{}"));
    if (method === "monitor_cond_since") ready(params[1] as string);
  };
}
