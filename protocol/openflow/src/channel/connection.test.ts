// The connection against a peer made of a plain socket, which can be slow, silent, late or mad.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect as connectTls } from "node:tls";
import { afterEach, describe, expect, test, vi } from "vitest";

import { OpenFlowConnection, type ConnectionOptions } from "./connection.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { Framer } from "./frame.ts";
import { listen } from "./listen.ts";
import { decodeMessage, encodeMessage, type Decoded, type Message } from "../messages/codec.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

interface Peer {
  readonly socket: Socket;
  readonly received: Decoded[];
  send(message: Message, xid: number): void;
}

const FEATURES: Message = { type: "features_reply", datapath_id: "00000000000000aa", n_buffers: 0, n_tables: 254, capabilities: 0 };

/** A peer that shakes hands, and answers by `script`; and our side of the connection to it. */
async function pair(script: (message: Decoded, peer: Peer) => void = () => undefined, options: ConnectionOptions = {}): Promise<{ conn: OpenFlowConnection; peer: Peer; closed: Promise<OpenFlowError> }> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const conn = new OpenFlowConnection(connect((server.address() as AddressInfo).port, "127.0.0.1"), options);
  const closed = new Promise<OpenFlowError>((resolve) => conn.once("close", resolve));
  const socket = await accepted;
  socket.on("error", () => undefined);
  const peer: Peer = { socket, received: [], send: (message, xid) => socket.write(encodeMessage(message, xid)) };
  const framer = new Framer();
  socket.on("data", (chunk: Buffer) => framer.push(chunk, (frame) => {
    const message = decodeMessage(frame);
    peer.received.push(message);
    if (message.type === "features_request") peer.send(FEATURES, message.xid);
    script(message, peer);
  }));
  cleanups.push(() => {
    conn.close();
    socket.destroy();
    server.close();
  });
  return { conn, peer, closed };
}

async function connected(script?: (message: Decoded, peer: Peer) => void, options?: ConnectionOptions): ReturnType<typeof pair> {
  const all = await pair(script, options);
  all.peer.send({ type: "hello", elements: [] }, 1);
  const features = await all.conn.handshake();
  expect(features.datapath_id).toBe("00000000000000aa");
  return all;
}

const rejection = (promise: Promise<unknown>): Promise<unknown> => promise.then(() => undefined, (error: unknown) => error);

describe("handshake", () => {
  test("fails with a peer of another version, who is told so", async () => {
    const { conn, peer } = await pair();
    peer.socket.write(Buffer.from("0100000800000001", "hex"));
    expect(await rejection(conn.handshake())).toMatchObject({ code: "OF_HELLO" });
    await new Promise((resolve) => peer.socket.once("end", resolve));
    expect(peer.received.at(-1)).toMatchObject({ type: "error", error_type: 0, code: 0 });
  });

  test("accepts a later version whose bitmap has ours", async () => {
    const { conn, peer } = await pair();
    peer.socket.write(Buffer.from("0600001000000001" + "0001000800000050", "hex"));
    expect(await conn.handshake()).toMatchObject({ n_tables: 254 });
  });

  test("does not wait for ever", async () => {
    const { conn } = await pair(undefined, { helloTimeoutMs: 50 });
    expect(await rejection(conn.handshake())).toMatchObject({ code: "OF_HELLO" });
  });

  test.each(["GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "\x04\x0d\x00\x08\x00\x00\x00\x01"])("garbage %j ends it with one error", async (garbage) => {
    const { conn, peer, closed } = await pair(undefined, { helloTimeoutMs: 200 });
    peer.socket.write(Buffer.from(garbage, "latin1"));
    expect(await rejection(conn.handshake())).toBeInstanceOf(OpenFlowError);
    expect(await closed).toBeInstanceOf(OpenFlowError);
  });
});

describe("requests", () => {
  test("join split replies, ignore late and doubled ones", async () => {
    const port = { port_no: 1, hw_addr: "fa:16:3e:00:00:01", name: "a", config: 0, state: 0, curr: 0, advertised: 0, supported: 0, peer: 0, curr_speed: 0, max_speed: 0 };
    const { conn } = await connected((message, peer) => {
      if (message.type !== "multipart_request") return;
      peer.send({ type: "multipart_reply", kind: "port_desc", flags: 1, ports: [port, port] }, message.xid);
      peer.send({ type: "multipart_reply", kind: "port_desc", flags: 1, ports: [] }, message.xid + 1000);
      peer.send({ type: "multipart_reply", kind: "port_desc", flags: 0, ports: [{ ...port, port_no: 2 }] }, message.xid);
      peer.send({ type: "multipart_reply", kind: "port_desc", flags: 0, ports: [port] }, message.xid);
    });
    const reply = await conn.request({ type: "multipart_request", kind: "port_desc" });
    expect(reply.ports.map((p) => p.port_no)).toEqual([1, 1, 2]);
    let parts = 0;
    await conn.requestRaw({ type: "multipart_request", kind: "port_desc" }, () => parts++);
    expect(parts).toBe(2);
    expect(conn.closed).toBeUndefined();
  });

  test("reject with the switch's error; other errors are events", async () => {
    const { conn, peer } = await connected((message, p) => {
      if (message.type === "flow_mod") p.send({ type: "error", error_type: 4, code: 6 }, message.xid);
      if (message.type === "barrier_request") p.send({ type: "barrier_reply" }, message.xid);
    });
    expect(await rejection(conn.request({ type: "flow_mod", command: "add", match: {} }))).toMatchObject({ code: "OF_PEER_ERROR", errorName: "OFPBMC_BAD_FIELD" });
    await conn.barrier();
    const event = new Promise<Decoded>((resolve) => conn.once("error_message", resolve));
    peer.send({ type: "error", error_type: 1, code: 0 }, 4711);
    expect(await event).toMatchObject({ xid: 4711 });
  });

  test("time out, and reject when the connection ends", async () => {
    const { conn, peer } = await connected(undefined, { requestTimeoutMs: 30 });
    expect(await rejection(conn.barrier())).toMatchObject({ code: "OF_TIMEOUT" });
    const waiting = rejection(conn.barrier(10_000));
    peer.socket.destroy();
    expect(await waiting).toMatchObject({ code: "OF_CLOSED" });
    expect(() => conn.send({ type: "barrier_request" })).toThrow(OpenFlowError);
    expect(await rejection(conn.bundle([]))).toMatchObject({ code: "OF_CLOSED" });
    await conn.drained();
  });

  test("a bundle that is not opened is no more than its first chunk, and not the fault of a message in it", async () => {
    const { conn, peer } = await connected((message, peer) => {
      if (message.type === "bundle_control" || message.type === "bundle_add") peer.send({ type: "error", error_type: 1, code: 3, data: Buffer.alloc(8) }, message.xid);
    });
    const flow = encodeMessage({ type: "flow_mod", command: "add", match: {}, instructions: [] }, 0);
    expect(await rejection(conn.bundle(Array.from({ length: 20_000 }, () => flow), { onRefused: () => undefined }))).toMatchObject({ code: "OF_PEER_ERROR", errorName: "OFPBRC_BAD_VENDOR", unopened: true, index: undefined });
    await conn.request({ type: "features_request" });
    const added = peer.received.filter(({ type }) => type === "bundle_add").length;
    expect(added).toBeGreaterThan(0);
    expect(added * (24 + flow.length)).toBeLessThanOrEqual(16 * 1024);
    expect(peer.received.filter(({ type }) => type === "bundle_control")).toHaveLength(1); // nor is it closed, committed or discarded
  });

  test("packet-ins, port status, flow removed are events; echo requests are answered", async () => {
    const { conn, peer } = await connected();
    const packetIn = new Promise<Decoded>((resolve) => conn.once("packet_in", resolve));
    peer.send({ type: "nxt_packet_in2", packet: Buffer.from("aa"), metadata: { in_port: 3 } }, 0);
    expect(await packetIn).toMatchObject({ type: "nxt_packet_in2", metadata: { in_port: 3 } });
    peer.send({ type: "echo_request", data: Buffer.from("hi") }, 99);
    await expect.poll(() => peer.received.at(-1)).toMatchObject({ type: "echo_reply", xid: 99, data: Buffer.from("hi") });
  });
});

describe("peers that fail", () => {
  test("silence is probed, then ends the connection", async () => {
    const { peer, closed } = await connected(undefined, { echoIntervalMs: 20, echoTimeoutMs: 100 });
    expect(await closed).toMatchObject({ code: "OF_DEAD_PEER" });
    expect(peer.received.filter((m) => m.type === "echo_request").length).toBeGreaterThan(1);
  });

  test("a clock that is set back by an hour makes no dead peer a living one, and one that is set forward no living one dead", async () => {
    vi.useFakeTimers({ toFake: ["Date"] });
    cleanups.push(() => vi.useRealTimers());
    let answering = true;
    const { conn, peer, closed } = await connected((message, peer) => {
      if (answering && message.type === "echo_request") peer.send({ type: "echo_reply" }, message.xid);
    }, { echoIntervalMs: 20, echoTimeoutMs: 100 });
    const echoes = (): number => peer.received.filter((m) => m.type === "echo_request").length;
    vi.setSystemTime(Date.now() + 3_600_000);
    const before = echoes();
    await expect.poll(echoes).toBeGreaterThan(before + 3);
    expect(conn.closed).toBeUndefined();
    vi.setSystemTime(Date.now() - 3_600_000);
    answering = false;
    expect(await closed).toMatchObject({ code: "OF_DEAD_PEER" });
  });

  test("an answer to the probe keeps it", async () => {
    const { conn } = await connected((message, peer) => {
      if (message.type === "echo_request") peer.send({ type: "echo_reply" }, message.xid);
    }, { echoIntervalMs: 20, echoTimeoutMs: 80 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(conn.closed).toBeUndefined();
  });

  test("a slow reader closes the connection at the limit", async () => {
    const { conn, peer, closed } = await connected(undefined, { maxQueuedBytes: 1 << 20 });
    peer.socket.pause();
    const big = encodeMessage({ type: "packet_out", actions: [], data: Buffer.alloc(60_000) }, 1);
    const flood = (): void => {
      for (let i = 0; i < 10_000; i++) conn.sendRaw(big);
    };
    expect(flood).toThrow(OpenFlowError);
    expect(await closed).toMatchObject({ code: "OF_QUEUE_FULL" });
  });

  test("who awaits drained() never reaches the limit", async () => {
    const { conn, peer } = await connected(undefined, { maxQueuedBytes: 1 << 20 });
    const big = encodeMessage({ type: "packet_out", actions: [], data: Buffer.alloc(60_000) }, 1);
    for (let i = 0; i < 300; i++) {
      conn.sendRaw(big);
      await conn.drained();
    }
    await expect.poll(() => peer.received.length, { timeout: 5000 }).toBeGreaterThanOrEqual(302);
  });

  test("an undecodable message is told, and the next is taken", async () => {
    const { conn, peer } = await connected();
    const told = new Promise((resolve) => conn.once("undecodable", (error, frame) => resolve([error, frame.toString("hex")])));
    peer.socket.write(Buffer.from("040c000a000000000000", "hex"));
    expect(await told).toMatchObject([{ code: "OF_TRUNCATED", errorName: "OFPBRC_BAD_LEN" }, "040c000a000000000000"]);
    const next = new Promise((resolve) => conn.once("port_status", resolve));
    peer.send({ type: "port_status", reason: "delete", desc: {
      port_no: 5, hw_addr: "02:00:00:00:00:05", name: "five", config: 0, state: 0, curr: 0, advertised: 0, supported: 0, peer: 0, curr_speed: 0, max_speed: 0,
    } }, 0);
    expect(await next).toMatchObject({ reason: "delete" });
  });

  test("an undecodable reply fails its request alone", async () => {
    const { conn } = await connected((message, peer) => {
      if (message.type === "get_config_request") peer.socket.write(Buffer.from(`0408000a${message.xid.toString(16).padStart(8, "0")}0000`, "hex"));
      if (message.type === "role_request") peer.send({ type: "role_reply", role: "equal", generation_id: 0n }, message.xid);
    });
    expect(await rejection(conn.request({ type: "get_config_request" }))).toMatchObject({ code: "OF_TRUNCATED" });
    expect(await conn.request({ type: "role_request", role: "nochange", generation_id: 0n })).toMatchObject({ role: "equal" });
  });
});

test("over TLS", async () => {
  const dir = mkdtempSync(join(tmpdir(), "openflow-tls-"));
  cleanups.push(() => rmSync(dir, { recursive: true }));
  try {
    execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=test", "-keyout", `${dir}/key`, "-out", `${dir}/cert`], { stdio: "ignore" });
  } catch {
    return; // no openssl here
  }
  const served = new Promise<OpenFlowConnection>((resolve, reject) => {
    listen({ host: "127.0.0.1", port: 0, tls: { key: readFileSync(`${dir}/key`), cert: readFileSync(`${dir}/cert`) } }, resolve).then((listener) => {
      cleanups.push(() => listener.close());
      const socket = connectTls({ port: listener.port, host: "127.0.0.1", ca: readFileSync(`${dir}/cert`), checkServerIdentity: () => undefined }, () => {
        socket.write(encodeMessage({ type: "hello", elements: [] }, 1));
      });
      cleanups.push(() => socket.destroy());
      const framer = new Framer();
      socket.on("data", (chunk: Buffer) => framer.push(chunk, (frame) => {
        const message = decodeMessage(frame);
        if (message.type === "features_request") socket.write(encodeMessage(FEATURES, message.xid));
      }));
    }, reject);
  });
  expect(await (await served).handshake()).toMatchObject({ datapath_id: "00000000000000aa" });
});

describe("a peer that wants to do harm", () => {
  /** Parts of a flow reply, each with more to come. */
  const endless = (xid: number, parts: number, bytes: number): Buffer => {
    const part = Buffer.alloc(bytes);
    part.set([4, 19]);
    part.writeUInt16BE(bytes, 2);
    part.writeUInt32BE(xid, 4);
    part.writeUInt16BE(1, 8);
    part.writeUInt16BE(1, 10);
    return Buffer.concat(Array.from({ length: parts }, () => part));
  };

  test.each([
    ["bytes", { maxReplyBytes: 100_000 }, 1000],
    ["parts", { maxReplyParts: 50 }, 16],
  ] as const)("a reply that never ends is cut at its %s, with the connection", async (what, options, bytes) => {
    const { conn, closed } = await connected((message, peer) => {
      if (message.type === "multipart_request") peer.socket.write(endless(message.xid, 2000, bytes));
    }, options);
    let parts = 0;
    const reply = conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, () => { parts++; });
    expect(await rejection(reply)).toMatchObject({ code: "OF_CLOSED" });
    expect(await closed).toMatchObject({ code: "OF_LIMIT" });
    expect(parts, what).toBeLessThanOrEqual(100);
  });

  test("a reply that trickles in ends after its time, and the connection goes on", async () => {
    const { conn } = await connected((message, peer) => {
      if (message.type !== "multipart_request") return;
      const timer = setInterval(() => peer.socket.write(endless(message.xid, 1, 16)), 5);
      cleanups.push(() => clearInterval(timer));
    });
    const reply = conn.requestRaw({ type: "multipart_request", kind: "flow", match: {} }, () => undefined, 1000, { totalTimeoutMs: 50 });
    expect(await rejection(reply)).toMatchObject({ code: "OF_TIMEOUT" });
    expect(conn.closed).toBeUndefined();
  });

  test("a flood is taken in slices, in order, and beyond its rate it waits", async () => {
    const { conn, peer } = await connected(undefined, { messagesPerSecond: 10_000, messageBurst: 1000 });
    const seen: number[] = [];
    let throttled = 0;
    conn.on("throttled", () => throttled++);
    conn.on("error_message", (message) => seen.push(message.xid));
    const before = conn.slices;
    peer.socket.write(Buffer.concat(Array.from({ length: 3000 }, (_, i) => encodeMessage({ type: "error", error_type: 1, code: 1, data: Buffer.alloc(0) }, 100_000 + i))));
    while (seen.length < 3000) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(seen).toEqual(Array.from({ length: 3000 }, (_, i) => 100_000 + i));
    expect(conn.slices - before).toBeGreaterThanOrEqual(12);
    expect(throttled).toBeGreaterThan(0);
    expect(conn.closed).toBeUndefined();
  });

  test("one that asks for echoes and reads none is closed", async () => {
    const { conn, peer, closed } = await connected();
    peer.socket.pause();
    const echo = encodeMessage({ type: "echo_request", data: Buffer.alloc(60_000) }, 1);
    for (let n = 0; n < 300 && conn.closed === undefined; n++) {
      peer.socket.write(echo);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await closed).toMatchObject({ code: "OF_QUEUE_FULL" });
  });

  test("one that reads nothing of what was sent is closed, though it speaks", async () => {
    const { conn, peer, closed } = await connected(undefined, { echoIntervalMs: 20, writeTimeoutMs: 60 });
    peer.socket.pause();
    const talk = setInterval(() => peer.socket.write(encodeMessage({ type: "echo_reply", data: Buffer.alloc(0) }, 1)), 5);
    cleanups.push(() => clearInterval(talk));
    const data = Buffer.alloc(60_000);
    for (let n = 0; n < 300; n++) conn.send({ type: "packet_out", in_port: 1, actions: [], data });
    expect(await closed).toMatchObject({ code: "OF_QUEUE_FULL" });
  });
});
