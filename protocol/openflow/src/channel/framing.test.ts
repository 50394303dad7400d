// Where messages begin and end must not depend on how the bytes arrive; what is no message must end in a typed error, for the
// Framer alone and for a real connection over a socket.

import { existsSync, readFileSync } from "node:fs";
import { connect, createServer, type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";

import { OpenFlowConnection } from "./connection.ts";
import { OpenFlowError } from "../wire/errors.ts";
import { MAX_MESSAGE } from "../messages/flow-mod.ts";
import { Framer } from "./frame.ts";
import { decodeMessage, encodeMessage, type Decoded } from "../messages/codec.ts";

const recorded = readFileSync(new URL("../../vectors/recorded.jsonl", import.meta.url), "utf8").trim().split("\n")
  .map((line) => Buffer.from((JSON.parse(line) as { hex: string }).hex, "hex")).filter((message) => message[0] === 4);

/** Frames as hex, however the bytes were pushed. */
function framed(chunks: Iterable<Buffer>): { frames: string[]; framer: Framer } {
  const framer = new Framer();
  const frames: string[] = [];
  for (const chunk of chunks) framer.push(chunk, (frame) => frames.push(frame.toString("hex")));
  return { frames, framer };
}

function* chunks(stream: Buffer, size: () => number): Generator<Buffer> {
  for (let at = 0; at < stream.length; ) {
    const length = size();
    // A socket reuses its memory: a frame that the Framer holds on to must not change with it.
    const chunk = Buffer.from(stream.subarray(at, at + length));
    yield chunk;
    chunk.fill(0xee);
    at += length;
  }
}

/** Numbers below the one asked for, the same in every run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

function thrown(body: () => void): unknown {
  try {
    body();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("a stream of messages", () => {
  const stream = Buffer.concat(recorded);
  const expected = recorded.map((message) => message.toString("hex"));

  test("is cut the same at every byte boundary", () => {
    let splits = 0;
    for (const message of recorded) {
      const hex = message.toString("hex");
      const next = "0414000800000063";
      const both = Buffer.concat([message, Buffer.from(next, "hex")]);
      for (let at = 0; at <= both.length; at += message.length > 4096 ? 97 : 1) {
        const { frames, framer } = framed([both.subarray(0, at), both.subarray(at)]);
        if (frames.length !== 2 || frames[0] !== hex || frames[1] !== next || framer.pending !== 0) expect.fail(`split at ${at}: ${hex.slice(0, 200)}`);
        splits++;
      }
    }
    expect(splits).toBeGreaterThan(60_000);
  });

  test("byte by byte", () => {
    const { frames, framer } = framed(chunks(stream, () => 1));
    expect(frames).toEqual(expected);
    expect(framer.pending).toBe(0);
  });

  test.each([1, 2, 3, 4, 5])("in random pieces (seed %i)", (seed) => {
    const random = numbers(seed);
    const { frames } = framed(chunks(stream, () => (random(10) === 0 ? 1 + random(100_000) : 1 + random(200))));
    expect(frames).toEqual(expected);
  });

  test("a thousand in one chunk, without a copy of any", () => {
    const thousand = Array.from({ length: 1000 }, (_, i) => recorded[i % recorded.length]!);
    const chunk = Buffer.concat(thousand);
    let count = 0;
    new Framer().push(chunk, (frame) => {
      expect(frame.buffer).toBe(chunk.buffer);
      if (!frame.equals(thousand[count]!)) expect.fail(`message ${count}`);
      count++;
    });
    expect(count).toBe(1000);
  });

  test("decodes the same however it came", () => {
    const random = numbers(7);
    const decode = (all: Iterable<Buffer>): unknown[] => {
      const found: unknown[] = [];
      const framer = new Framer();
      for (const chunk of all) {
        framer.push(chunk, (frame) => {
          try {
            found.push(JSON.stringify(decodeMessage(frame), (_, value: unknown) => (typeof value === "bigint" ? String(value) : value)));
          } catch (error) {
            expect(error).toBeInstanceOf(OpenFlowError);
            found.push(String(error));
          }
        });
      }
      return found;
    };
    const whole = decode([stream]);
    expect(whole).toHaveLength(recorded.length);
    expect(decode(chunks(stream, () => 1 + random(777)))).toEqual(whole);
  });

  test("holds one unfinished message at most, whatever its length says", () => {
    const framer = new Framer();
    const message = Buffer.alloc(MAX_MESSAGE, 0x5a);
    message.write("040affff00000001", 0, "hex");
    let most = 0;
    for (let round = 0; round < 50; round++) {
      for (const chunk of chunks(message.subarray(0, round === 49 ? MAX_MESSAGE - 1 : MAX_MESSAGE), () => 1000)) {
        framer.push(chunk, () => undefined);
        most = Math.max(most, framer.pending);
      }
    }
    expect(framer.pending).toBe(MAX_MESSAGE - 1);
    expect(most).toBe(MAX_MESSAGE - 1);
    let whole = 0;
    framer.push(Buffer.alloc(1), (frame) => (whole = frame.length));
    expect(whole).toBe(MAX_MESSAGE);
    expect(framer.pending).toBe(0);
  });
});

describe("a stream that is none", () => {
  const good = "0414000800000001";

  test.each([0, 1, 2, 3, 4, 5, 6, 7])("a length of %i", (length) => {
    const bad = `0402000${length}00000000`;
    for (const before of ["", good, good + good]) {
      const bytes = Buffer.from(before + bad, "hex");
      const frames: Buffer[] = [];
      expect(thrown(() => new Framer().push(bytes, (frame) => frames.push(frame)))).toMatchObject({ code: "OF_MALFORMED", offset: before.length / 2 + 2 });
      expect(frames).toHaveLength(before.length / 16);
      // the same when it comes in pieces: as soon as the length is there, and not before
      const framer = new Framer();
      framer.push(bytes.subarray(0, bytes.length - 5), () => undefined);
      expect(thrown(() => framer.push(bytes.subarray(bytes.length - 5), () => undefined))).toMatchObject({ code: "OF_MALFORMED", offset: before.length / 2 + 2 });
    }
  });

  test.each(["0006000800000000", "0106000800000000", "0506000800000000", "ff06000800000000", "474554202f20485454502f312e310d0a", "0000000800000000"])("version garbage %s", (hex) => {
    expect(thrown(() => new Framer().push(Buffer.from(hex, "hex"), () => undefined))).toMatchObject({ code: "OF_VERSION", offset: 0 });
    const framer = new Framer();
    framer.push(Buffer.from(good, "hex"), () => undefined);
    expect(thrown(() => framer.push(Buffer.from(hex, "hex"), () => undefined))).toMatchObject({ code: "OF_VERSION", offset: 8 });
  });

  test.each(["0100000800000000", "0600000800000000", "0101000c0000000000000000", "0502000800000000", "0103000800000000"])("what is the same in every version passes: %s", (hex) => {
    expect(framed([Buffer.from(hex, "hex")]).frames).toEqual([hex]);
  });
});

// --- a connection ---

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

interface Talk {
  readonly conn: OpenFlowConnection;
  readonly socket: Socket;
  readonly ended: Promise<OpenFlowError>;
  readonly messages: Decoded[];
  /** Bytes that the peer has written. */
  written: number;
}

/** A connection after its handshake, with a peer that answers nothing of its own accord. */
async function talk(): Promise<Talk> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const accepted = new Promise<Socket>((resolve) => server.once("connection", resolve));
  const conn = new OpenFlowConnection(connect((server.address() as AddressInfo).port, "127.0.0.1"));
  const ended = new Promise<OpenFlowError>((resolve) => conn.once("close", resolve));
  const messages: Decoded[] = [];
  for (const event of ["packet_in", "port_status", "flow_removed", "error_message", "message"] as const) conn.on(event, (message: Decoded) => messages.push(message));
  const socket = await accepted;
  socket.on("error", () => undefined);
  socket.setNoDelay(true);
  cleanups.push(() => {
    conn.close();
    socket.destroy();
    server.close();
  });
  const heard = new Framer();
  const asked = new Promise<number>((resolve) => {
    socket.on("data", (chunk: Buffer) => heard.push(chunk, (frame) => {
      const message = decodeMessage(frame);
      if (message.type === "features_request") resolve(message.xid);
      if (message.type === "echo_reply") socket.emit("echoed", message.xid);
    }));
  });
  const hello = encodeMessage({ type: "hello", elements: [] }, 1);
  socket.write(hello);
  const shaken = conn.handshake();
  const features = encodeMessage({ type: "features_reply", datapath_id: "00000000000000aa", n_buffers: 0, n_tables: 254, capabilities: 0 }, await asked);
  socket.write(features);
  await shaken;
  return { conn, socket, ended, messages, written: hello.length + features.length };
}

/** What became of the connection after these bytes: it answers an echo, it ended, or it waits for the rest of a message. */
async function after({ conn, socket, ended, written }: Talk, bytes: Buffer, probe = Buffer.from("0402000877777777", "hex")): Promise<"lives" | "waits" | OpenFlowError> {
  const echoed = new Promise<"lives">((resolve) => socket.once("echoed", () => resolve("lives")));
  socket.write(Buffer.concat([bytes, probe]));
  const swallowed = (async (): Promise<"waits"> => {
    // bytesRead says what the socket has, the turn of the loop after it what the connection made of it
    while (conn.socket.bytesRead < written + bytes.length + probe.length) await new Promise((resolve) => setTimeout(resolve, 1));
    await new Promise((resolve) => setTimeout(resolve, 20));
    return "waits";
  })();
  swallowed.catch(() => undefined);
  const first = await Promise.race([echoed, ended, swallowed]);
  return first === "waits" && conn.closed !== undefined ? conn.closed : first;
}

describe("a connection", () => {
  test.each([
    ["length 0", "0402000000000000", "OF_MALFORMED"],
    ["length 7", "0402000700000000", "OF_MALFORMED"],
    ["another version", "0506000800000000", "OF_VERSION"],
    ["text", Buffer.from("GET / HTTP/1.1\r\n\r\n").toString("hex"), "OF_VERSION"],
  ])("ends at %s", async (_, hex, code) => {
    const outcome = await after(await talk(), Buffer.from(hex, "hex"));
    expect(outcome).toBeInstanceOf(OpenFlowError);
    expect(outcome).toMatchObject({ code });
    expect((outcome as OpenFlowError).offset).toBeTypeOf("number");
  });

  test("waits for the rest of a message, and takes it when it comes", async () => {
    const peer = await talk();
    const message = encodeMessage({ type: "port_status", reason: "add", desc: {
      port_no: 5, hw_addr: "02:00:00:00:00:05", name: "five", config: 0, state: 0, curr: 0, advertised: 0, supported: 0, peer: 0, curr_speed: 0, max_speed: 0,
    } }, 0);
    const told = new Promise((resolve) => peer.conn.once("port_status", resolve));
    peer.socket.write(message.subarray(0, 30));
    while (peer.conn.socket.bytesRead < peer.written + 30) await new Promise((resolve) => setTimeout(resolve, 1));
    expect(peer.messages).toEqual([]);
    peer.socket.write(message.subarray(30));
    expect(await told).toMatchObject({ type: "port_status", desc: { port_no: 5, name: "five" } });
  });
});

// --- what others found to send ---

const malformed = new URL("../../../../../shared/vectors/openflow13/malformed.jsonl", import.meta.url);

interface Malformed {
  readonly name: string;
  readonly expect: string;
  readonly hex?: string;
  readonly hex_head?: string;
  readonly fill?: readonly [number, number];
  readonly decoder: string;
}

describe.skipIf(!existsSync(malformed))("malformed input of others, over a socket", () => {
  const vectors = existsSync(malformed) ? readFileSync(malformed, "utf8").trim().split("\n").map((line) => JSON.parse(line) as Malformed) : [];
  const bytesOf = (vector: Malformed): Buffer => Buffer.concat([Buffer.from(vector.hex ?? vector.hex_head ?? "", "hex"), Buffer.alloc(vector.fill?.[1] ?? 0, vector.fill?.[0])]);
  const outcomes = async (expected: (expectation: string) => boolean): Promise<Map<string, { name: string; outcome: string }[]>> => {
    const found = new Map<string, { name: string; outcome: string }[]>();
    for (const vector of vectors.filter((each) => expected(each.expect))) {
      const outcome = await after(await talk(), bytesOf(vector), vector.expect === "incomplete" ? Buffer.alloc(0) : undefined);
      for (const cleanup of cleanups.splice(0)) await cleanup();
      const said = outcome instanceof OpenFlowError ? outcome.code : outcome;
      found.set(vector.expect, [...(found.get(vector.expect) ?? []), { name: vector.name, outcome: said }]);
    }
    return found;
  };

  test("framing that is lost ends it with a typed error", async () => {
    const found = (await outcomes((expectation) => expectation === "drop-connection")).get("drop-connection")!;
    expect(found).toHaveLength(8);
    expect(found.filter(({ outcome }) => outcome !== "OF_MALFORMED" && outcome !== "OF_VERSION")).toEqual([]);
  });

  test("an unfinished message is waited for, and none is made of it", async () => {
    const found = (await outcomes((expectation) => expectation === "incomplete")).get("incomplete")!;
    expect(found).toHaveLength(7);
    expect(found.filter(({ outcome }) => outcome !== "waits")).toEqual([]);
  });

  test("a wrong version ends it or is let pass where it may be", async () => {
    const found = [...(await outcomes((expectation) => expectation.includes(" or drop-connection"))).values()].flat();
    expect(found.length).toBe(26);
    expect(found.filter(({ outcome }) => !["OF_VERSION", "OF_MALFORMED", "waits", "lives"].includes(outcome))).toEqual([]);
  });

  test("it lives on after a message that cannot be decoded", async () => {
    const found = (await outcomes((expectation) => expectation === "decode-error")).get("decode-error")!;
    const dead = found.filter(({ outcome }) => outcome !== "lives");
    expect(`${dead.length} of ${found.length} ended, the first at ${dead[0]?.name ?? "none"}`).toBe("0 of 564 ended, the first at none");
  }, 120_000);

  test("it lives on after what may be accepted", async () => {
    const found = [...(await outcomes((expectation) => expectation.startsWith("accept") && !expectation.includes("drop"))).values()].flat();
    expect(found).toHaveLength(198);
    expect(found.filter(({ outcome }) => outcome !== "lives")).toEqual([]);
  }, 120_000);
});
