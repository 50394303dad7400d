// Frames in and out: who is who, what is kept of whom, and HTTP on top, read by a client of Node's.
import { describe, expect, test } from "vitest";
import http from "node:http";
import { Duplex } from "node:stream";
import { buildEthernet, buildIpv4, buildIpv6, buildTcp, buildTcpOptions, ethertypes, ipProtocols, parsePacket, parseTcpOptions, tcpFlags } from "packet-codec";
import { SimulatedClock } from "../clock.ts";
import { SeededRandom } from "../random.ts";
import { HttpService } from "./http.ts";
import { TcpListener, type TcpPeer } from "./listener.ts";
import type { TcpStream } from "./stream.ts";

const { syn: SYN, ack: ACK, fin: FIN, rst: RST } = tcpFlags;
const ENDS = { v4: ["10.0.0.5", "169.254.169.254"], v6: ["fe80::5", "fe80::a9fe:a9fe"] } as const;
interface Said { readonly seq: number; readonly ack?: number; readonly flags: number; readonly payload?: Buffer | string; readonly port?: number; readonly family?: "v4" | "v6"; readonly options?: Uint8Array; readonly dst_port?: number }

function frame({ seq, ack = 0, flags, payload = "", port = 40_000, family = "v4", options, dst_port = 80 }: Said): Buffer {
  const [src, dst] = ENDS[family];
  const tcp = buildTcp({ src_port: port, dst_port, seq, ack, flags, window: 60_000, ...(options !== undefined && { options }) }, Buffer.from(payload), { src, dst });
  const head = { dst: "fe:ff:ff:ff:ff:03", src: "fa:16:3e:00:00:05" };
  return family === "v4"
    ? buildEthernet({ ...head, ethertype: ethertypes.ipv4 }, buildIpv4({ src, dst, protocol: ipProtocols.tcp }, tcp))
    : buildEthernet({ ...head, ethertype: ethertypes.ipv6 }, buildIpv6({ src, dst, next_header: ipProtocols.tcp }, tcp));
}

class World {
  readonly clock = new SimulatedClock();
  readonly accepted: { readonly stream: TcpStream; readonly peer: TcpPeer }[] = [];
  readonly listener: TcpListener;
  /** What each machine heard. */
  readonly heard = new Map<string, ReturnType<typeof parsePacket>[]>();

  constructor(limits: { perMachine?: number; total?: number; accept?: (stream: TcpStream, peer: TcpPeer) => void } = {}) {
    this.listener = new TcpListener({
      host: { clock: this.clock, random: new SeededRandom(1), after: (seconds, fn) => this.clock.setTimeout(fn, seconds * 1000) }, port: 80, mac: "fe:ff:ff:ff:ff:03", accept: (stream, peer) => {
        this.accepted.push({ stream, peer });
        limits.accept?.(stream, peer);
      }, ...limits,
    });
  }
  say(machine: string, said: Said | Buffer, owner = machine): ReturnType<typeof parsePacket> | undefined {
    const before = this.of(machine).length;
    this.listener.take(Buffer.isBuffer(said) ? said : frame(said), { machine, owner, reply: (data) => this.of(machine).push(parsePacket(data)) });
    return this.of(machine)[before];
  }
  of(machine: string): ReturnType<typeof parsePacket>[] {
    let list = this.heard.get(machine);
    if (list === undefined) this.heard.set(machine, (list = []));
    return list;
  }
  open(machine: string, port: number, owner = machine, family: "v4" | "v6" = "v4"): { seq: number; ack: number } | undefined {
    const answer = this.say(machine, { seq: 1000, flags: SYN, port, family }, owner);
    if (answer?.tcp?.flags !== (SYN | ACK)) return undefined;
    const ack = answer.tcp.seq + 1;
    this.say(machine, { seq: 1001, ack, flags: ACK, port, family }, owner);
    return { seq: 1001, ack };
  }
}

describe("frames", () => {
  test.each(["v4", "v6"] as const)("%s: answered from the address that was asked, with sound checksums; what does not arrive whole is nothing", (family) => {
    const w = new World();
    const answer = w.say("a", { seq: 1000, flags: SYN, family, options: buildTcpOptions([{ option: "mss", value: 1300 }]) })!;
    const [machine, service] = ENDS[family];
    expect(answer.eth).toMatchObject({ src: "fe:ff:ff:ff:ff:03", dst: "fa:16:3e:00:00:05" });
    expect(answer.ipv4 ?? answer.ipv6).toMatchObject({ src: service, dst: machine });
    expect(answer.tcp).toMatchObject({ src_port: 80, dst_port: 40_000, ack: 1001, flags: SYN | ACK, checksumOk: true });
    expect(parseTcpOptions(answer.tcp!.options)).toContainEqual({ option: "mss", value: family === "v4" ? 1460 : 1440 });
    const bad = frame({ seq: 1001, ack: answer.tcp!.seq + 1, flags: ACK, family });
    bad[bad.length - 3]! ^= 1;
    expect([w.say("a", bad), w.accepted.length]).toEqual([undefined, 0]);
    for (const cut of [frame({ seq: 5, flags: SYN, family }).subarray(0, -2), Buffer.alloc(3), frame({ seq: 5, flags: SYN, family, dst_port: 81 })]) expect(w.say("b", cut)).toBeUndefined();
    w.say("a", { seq: 1001, ack: answer.tcp!.seq + 1, flags: ACK, family });
    expect(w.accepted).toMatchObject([{ peer: { machine: "a", owner: "a", address: machine, local: service, port: 40_000 } }]);
  });

  test("two machines with the same address and port are two", () => {
    const w = new World();
    const [a, b] = [w.open("a", 4000)!, w.open("b", 4000)!];
    w.say("a", { ...a, flags: ACK, payload: "from a", port: 4000 });
    w.say("b", { ...b, flags: ACK, payload: "from b", port: 4000 });
    expect(w.accepted.map(({ stream, peer }) => [peer.machine, String(stream.read())])).toEqual([["a", "from a"], ["b", "from b"]]);
    expect(w.heard.size).toBe(2);
  });

  test("what is of no connection is reset, a reset itself is not answered", () => {
    const w = new World();
    expect(w.say("a", { seq: 7, ack: 99, flags: ACK })!.tcp).toMatchObject({ seq: 99, flags: RST });
    expect(w.say("a", { seq: 7, flags: RST })).toBeUndefined();
    expect(w.say("a", { seq: 7, flags: SYN | FIN })!.tcp).toMatchObject({ flags: RST | ACK, ack: 9 });
    expect(w.listener.size).toBe(0);
  });
});

describe("limits", () => {
  test("a flood of SYNs keeps no more than a machine may have, and those in use", () => {
    const w = new World({ perMachine: 4, total: 100 });
    w.open("a", 1);
    for (let port = 100; port < 1500; port++) w.say("a", { seq: port, flags: SYN, port });
    expect([w.listener.size, w.accepted.length, w.accepted[0]!.stream.destroyed]).toEqual([4, 1, false]);
    w.clock.advance(20_000);
    expect(w.listener.size).toBe(1);
    expect(w.open("a", 2)).toBeDefined();
  });

  test("one more than a machine may use is not answered, until one ends", () => {
    const w = new World({ perMachine: 2 });
    const first = w.open("a", 1)!;
    w.open("a", 2);
    expect(w.open("a", 3)).toBeUndefined();
    w.say("a", { ...first, flags: RST, port: 1 });
    expect(w.open("a", 3)).toBeDefined();
  });

  test("who has most gives to who has less, and hears of it", async () => {
    const w = new World({ perMachine: 100, total: 10 });
    for (let n = 0; n < 50; n++) w.open("greedy", n + 1);
    expect(w.listener.size).toBe(10);
    for (const name of ["b", "c", "d"]) expect(w.open(name, 1)).toBeDefined();
    await new Promise((done) => setImmediate(done));
    expect([w.listener.size, w.accepted.filter((a) => a.peer.machine !== "greedy").every((a) => !a.stream.destroyed)]).toEqual([10, true]);
    expect(w.of("greedy").some((p) => (p.tcp!.flags & RST) !== 0)).toBe(true);
    w.listener.stop();
    expect([w.listener.size, w.clock.pending]).toEqual([0, 0]);
  });

  test("who reads nothing holds up what is written to it, no more", async () => {
    const w = new World();
    w.open("a", 1);
    const { stream } = w.accepted[0]!;
    let written = 0;
    const write = (): void => {
      while (written < 1e6 && stream.write(Buffer.alloc(10_000))) written += 10_000;
    };
    stream.on("drain", write);
    write();
    await new Promise((done) => setImmediate(done));
    expect(written).toBeLessThan(100_000);
  });
});

describe("HTTP", () => {
  /** A client of Node's on the far end of frames. */
  function client(w: World, machine: string): Duplex {
    const opened = w.open(machine, 9)!;
    let { seq } = opened;
    let expected = opened.ack;
    let heard = w.of(machine).length;
    const look = (): void => {
      for (; heard < w.of(machine).length; heard++) {
        const tcp = w.of(machine)[heard]!.tcp!;
        if (tcp.seq !== expected >>> 0) continue;
        expected += tcp.payload.length + ((tcp.flags & FIN) !== 0 ? 1 : 0);
        if (tcp.payload.length > 0) duplex.push(tcp.payload);
        if ((tcp.flags & FIN) !== 0) duplex.push(null);
        w.say(machine, { seq, ack: expected, flags: ACK, port: 9 });
      }
    };
    const duplex = new Duplex({
      read: () => undefined,
      write(chunk: Buffer, _encoding, done) {
        for (let at = 0; at < chunk.length; at += 1000) {
          const payload = chunk.subarray(at, at + 1000);
          w.say(machine, { seq, ack: expected, flags: ACK, payload, port: 9 });
          seq += payload.length;
        }
        done();
      },
    });
    const timer = setInterval(look, 1);
    duplex.on("close", () => clearInterval(timer));
    return duplex;
  }
  async function request(w: World, machine: string, options: http.RequestOptions, body?: Buffer): Promise<{ status: number | undefined; body: Buffer; headers: http.IncomingHttpHeaders }> {
    const socket = client(w, machine);
    return new Promise((resolve, reject) => {
      const asked = http.request({ ...options, createConnection: () => socket }, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => {
          resolve({ status: response.statusCode, body: Buffer.concat(chunks), headers: response.headers });
          socket.destroy();
        });
      });
      asked.on("error", reject);
      asked.end(body);
    });
  }
  const failures: unknown[] = [];
  const serve = (answer: ConstructorParameters<typeof HttpService<TcpPeer>>[0]["answer"]): World => {
    const service = new HttpService<TcpPeer>({ answer, failed: (error) => failures.push(error), bodyMax: 5000 });
    return new World({ accept: (stream, peer) => service.serve(stream, peer) });
  };

  test("an answer of a megabyte arrives as it is, to the one who asked", async () => {
    const big = new SeededRandom(3).bytes(1 << 20);
    const w = serve(({ url, method }, peer) => ({ status: 200, headers: { "x-who": `${peer.machine} ${method} ${url}` }, body: big }));
    const answer = await request(w, "vm1", { path: "/big?x=1" });
    expect([answer.status, answer.headers["x-who"], answer.body.equals(big)]).toEqual([200, "vm1 GET /big?x=1", true]);
  });

  test("a body comes whole, one that is too large is refused; what fails is 500", async () => {
    const w = serve(({ body }) => {
      if (body.length === 1) throw new Error("boom");
      return { status: 200, body: String(body.length) };
    });
    expect(String((await request(w, "a", { method: "POST" }, Buffer.alloc(4000))).body)).toBe("4000");
    expect((await request(w, "b", { method: "POST" }, Buffer.alloc(6000))).status).toBe(413);
    expect([(await request(w, "c", { method: "POST" }, Buffer.alloc(1))).status, failures.splice(0)]).toMatchObject([500, [{ message: "boom" }]]);
  });

  test("what is no HTTP gets 400, and an end", async () => {
    const w = serve(() => ({ status: 200 }));
    const { seq, ack } = w.open("a", 9)!;
    w.say("a", { seq, ack, flags: ACK, payload: "\u0000\u0001 no\r\n\r\n", port: 9 });
    await new Promise((done) => setTimeout(done, 20));
    expect(w.of("a").map((p) => p.tcp!.payload.toString()).join("")).toContain("400 Bad Request");
  });
});
