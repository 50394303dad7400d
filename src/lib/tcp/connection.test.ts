// What is read equals what was sent, both ways, whatever the network does; and a peer that means harm has an end.
import { describe, expect, test } from "vitest";
import fc from "fast-check";
import { tcpFlags } from "packet-codec";
import { SimulatedClock } from "../clock.ts";
import { SeededRandom } from "../random.ts";
import { ISS, Peer, segment, Server, syn, Way } from "./connection.fixture.ts";
import { RECEIVE_WINDOW, TCP_TIMES } from "./connection.ts";
import { distance, has } from "./segment.ts";

const { ack: ACK, fin: FIN, rst: RST, psh: PSH } = tcpFlags;

/** A connection that is open: the peer's next byte is 1001. */
function opened(options: ConstructorParameters<typeof Server>[2] = {}, window = 20_000): { clock: SimulatedClock; server: Server; say: (seq: number, flags: number, payload?: string | Buffer, more?: { ack?: number; window?: number }) => void } {
  const clock = new SimulatedClock();
  const server = new Server(clock, syn(), options);
  let acked = ISS + 1;
  const say = (seq: number, flags: number, payload: string | Buffer = "", { ack = acked, window: w = window }: { ack?: number; window?: number } = {}): void => {
    acked = ack;
    server.connection.take(segment(seq, ack, flags, payload, w));
  };
  say(1001, ACK);
  expect(server.opened).toBe(1);
  return { clock, server, say };
}
const last = (server: Server) => server.sent.at(-1)!;
const fill = (random: SeededRandom, length: number): Buffer => random.bytes(length);
const nightly = process.env.AXION_NIGHTLY === "1";

describe("whatever is lost, doubled and overtaken", () => {
  test("each side reads what the other wrote, and both end in order", () => {
    fc.assert(fc.property(fc.nat(1_000_000), fc.constantFrom(0, 0.01, 0.1, 0.3, 0.6), fc.nat(20_000), fc.nat(60_000), fc.boolean(), (seed, loss, up, down, peerEndsFirst) => {
      const clock = new SimulatedClock();
      const random = new SeededRandom(seed);
      const way = new Way(clock, random, loss);
      const [request, answer] = [fill(random, up), fill(random, down)];
      let server: Server | undefined;
      const times = { ...TCP_TIMES, openMs: 1e7, progressMs: 1e7, idleMs: 1e7, lifeMs: 1e9, endMs: 1e7 };
      const toPeer = (s: Parameters<Peer["take"]>[0]): void => way.send((one) => peer.take(one), s);
      const peer: Peer = new Peer(clock, (s) => way.send((one) => {
        if (server === undefined) {
          if (!has(one, "syn")) return;
          server = new Server(clock, one, { deliver: toPeer, times });
        } else server.connection.take(one);
        if (server.opened > 0 && (peerEndsFirst ? server.ended > 0 : server.text.length >= Math.min(1, up))) answerOnce(server);
      }, s), request);
      let answered = false;
      const answerOnce = ({ connection }: Server): void => {
        if (answered) return;
        answered = true;
        for (let at = 0; at < answer.length; at += 7000) connection.write(answer.subarray(at, at + 7000));
        connection.end();
      };
      for (let n = 0; n < 20_000 && !(server?.closed.length === 1); n++) clock.advance(100);
      expect(server!.text.equals(request)).toBe(true);
      expect(peer.text.equals(answer)).toBe(true);
      expect([peer.ended, peer.reset, server!.ended, server!.closed]).toEqual([true, false, 1, ["in order"]]);
      clock.advance(1000);
    }), { numRuns: nightly ? 2000 : 60, seed: Number(process.env.AXION_SEED ?? 7) });
  });

  test("of nothing that comes through, either: it ends", () => {
    const { clock, server } = opened();
    server.connection.write(Buffer.alloc(5000));
    clock.advance(TCP_TIMES.idleMs + 5000);
    expect(server.closed).toEqual(["timeout"]);
    expect(clock.pending).toBe(0);
    // With back-off: nobody is sent the same many times over.
    expect(server.sent.length).toBeLessThan(50);
  });

  test("any segments at all: what is read is in order, each byte once, and there is an end", () => {
    const flags = fc.integer({ min: 0, max: 63 });
    const any = fc.record({ offset: fc.integer({ min: -40_000, max: 40_000 }), ack: fc.integer({ min: -40_000, max: 40_000 }), flags, window: fc.integer({ min: 0, max: 65_535 }), length: fc.nat(1400), wait: fc.nat(2000) });
    fc.assert(fc.property(fc.array(any, { maxLength: 120 }), (list) => {
      const { clock, server, say } = opened();
      // Each byte says where it belongs.
      const at = (seq: number, length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (seq + i) & 0xff));
      server.connection.write(Buffer.alloc(30_000));
      for (const { offset, ack, flags: f, window, length, wait } of list) {
        say(1001 + offset, f, at(1001 + offset, length), { ack: ISS + 1 + ack, window });
        clock.advance(wait);
      }
      expect(server.text.equals(at(1001, server.text.length))).toBe(true);
      for (const s of server.sent) expect(s.payload.length).toBeLessThanOrEqual(1000);
      clock.advance(TCP_TIMES.lifeMs + TCP_TIMES.idleMs);
      expect([server.closed.length, clock.pending]).toEqual([1, 0]);
    }), { numRuns: nightly ? 5000 : 200, seed: 11 });
  });
});

describe("what a peer sends", () => {
  test("the SYN is answered with our own, again when that was lost, at last not any more", () => {
    const clock = new SimulatedClock();
    const server = new Server(clock, syn());
    expect(last(server)).toMatchObject({ seq: ISS, ack: 1001, flags: tcpFlags.syn | ACK, mss: 1460 });
    clock.advance(TCP_TIMES.openMs + 5000);
    expect(server.closed).toEqual(["timeout"]);
    expect(server.sent.filter((s) => has(s, "syn"))).toHaveLength(server.sent.length);
    expect(server.sent.length).toBeLessThan(8);
    expect(clock.pending).toBe(0);
  });
  test("an acknowledgement that nobody can have of us opens nothing", () => {
    const server = new Server(new SimulatedClock(), syn());
    server.connection.take(segment(1001, ISS + 7, ACK));
    expect([server.opened, has(last(server), "rst"), last(server).seq]).toEqual([0, true, (ISS + 7) >>> 0]);
  });
  test("overlapping segments are read once; what is ahead of its turn is asked for again", () => {
    const { server, say } = opened();
    say(1001, ACK | PSH, "abcdef");
    say(1001, ACK, "abcdef");
    say(1004, ACK, "defghi");
    say(1020, ACK, "zzz");
    expect(last(server)).toMatchObject({ ack: 1010, flags: ACK });
    say(1010, ACK, "jkl");
    expect(server.text.toString()).toBe("abcdefghijkl");
  });
  test("nothing beyond the window is kept, nor an end before its time", () => {
    const { server, say } = opened({ reads: false });
    for (let at = 0; at < 3 * RECEIVE_WINDOW; at += 1000) say(1001 + at, ACK | (at > RECEIVE_WINDOW ? FIN : 0), Buffer.alloc(1000));
    expect([server.text.length, last(server).window, server.ended]).toEqual([RECEIVE_WINDOW, 0, 0]);
    server.connection.consumed(RECEIVE_WINDOW);
    expect(last(server).window).toBe(RECEIVE_WINDOW);
  });
  test("a reset ends it where it is due, and nowhere else", () => {
    const { server, say } = opened();
    say(900, RST);
    say(1100, RST);
    expect([server.closed, last(server).ack]).toEqual([[], 1001]);
    say(1001, RST);
    expect(server.closed).toEqual(["reset"]);
  });
  test("a SYN in the midst is answered with where we are", () => {
    const { server, say } = opened();
    say(1001, tcpFlags.syn);
    expect([server.closed, last(server)]).toMatchObject([[], { ack: 1001, flags: ACK }]);
  });
  test("what was never sent is not acknowledged", () => {
    const { server, say } = opened();
    server.connection.write(Buffer.alloc(500));
    say(1001, ACK, "", { ack: ISS + 2000 });
    expect(server.connection.waiting).toBe(500);
  });
  test("a peer that sends a byte now and then for ever has an end", () => {
    const { clock, server, say } = opened();
    for (let n = 0; n < 100 && server.closed.length === 0; n++) {
      say(1001 + n, ACK, "x", { ack: ISS + 1 });
      clock.advance(30_000);
    }
    expect([server.closed, has(last(server), "rst")]).toEqual([["timeout"], true]);
    expect(clock.pending).toBe(0);
  });
});

describe("what a peer takes", () => {
  test("segments of its size, no more than it has room for, few at once", () => {
    const { server, say } = opened({}, 2500);
    server.connection.write(Buffer.alloc(100_000));
    const sizes = () => server.sent.filter((s) => s.payload.length > 0).map((s) => s.payload.length);
    expect(sizes()).toEqual([1000, 1000]);
    say(1001, ACK, "", { ack: ISS + 1 + 2000, window: 60_000 });
    expect(sizes().length).toBeLessThanOrEqual(2 + 6);
    let una = 2000;
    for (let n = 0; n < 60; n++) {
      una = server.sent.reduce((m, s) => Math.max(m, distance(ISS + 1, s.seq) + s.payload.length), 0);
      say(1001, ACK, "", { ack: ISS + 1 + una, window: 60_000 });
    }
    expect(una).toBe(100_000);
    expect(server.connection.waiting).toBe(0);
  });
  test("one that has no room is asked at times, and has an end", () => {
    const { clock, server, say } = opened({}, 0);
    server.connection.write(Buffer.from("hello"));
    clock.advance(20_000);
    const probes = server.sent.filter((s) => s.payload.length > 0);
    expect(probes.length).toBeGreaterThan(2);
    expect(probes.length).toBeLessThan(12);
    expect(new Set(probes.map((s) => s.payload.length))).toEqual(new Set([1]));
    say(1001, ACK, "", { ack: ISS + 2, window: 1000 });
    expect(last(server).payload.toString()).toBe("ello");
    say(1001, ACK, "", { ack: ISS + 6, window: 0 });
    server.connection.write(Buffer.from("more"));
    for (let n = 0; n < 200 && server.closed.length === 0; n++) {
      clock.advance(1000);
      if (server.closed.length === 0) say(1001, ACK, "", { window: 0 });
    }
    expect(server.closed).toEqual(["timeout"]);
  });
  test("after three duplicates what is missing comes at once, without waiting", () => {
    const { clock, server, say } = opened();
    server.connection.write(Buffer.alloc(4000));
    clock.advance(1);
    const before = server.sent.length;
    for (let n = 0; n < 3; n++) say(1001, ACK);
    expect(server.sent.slice(before)).toMatchObject([{ seq: (ISS + 1) >>> 0 }]);
    say(1001, ACK, "", { ack: ISS + 4001 });
    expect(server.connection.waiting).toBe(0);
  });
});

describe("the end", () => {
  test("of ours first: the peer's is awaited for a while, then late segments are answered for a while", () => {
    const { clock, server, say } = opened();
    server.connection.write(Buffer.from("bye"));
    server.connection.end();
    expect(has(last(server), "fin")).toBe(true);
    say(1001, ACK | FIN, "", { ack: ISS + 5 });
    expect([server.connection.phase, last(server).ack]).toEqual(["time-wait", 1002]);
    const before = server.sent.length;
    say(1001, ACK | FIN, "", { ack: ISS + 5 });
    expect(server.sent.length).toBe(before + 1);
    expect(server.connection.isSucceededBy(syn(5000))).toBe(true);
    expect(server.connection.isSucceededBy(syn(500))).toBe(false);
    clock.advance(10_000);
    expect([server.closed, clock.pending]).toEqual([["in order"], 0]);
  });
  test("of a peer that never ends: a reset", () => {
    const { clock, server, say } = opened();
    server.connection.end();
    say(1001, ACK, "", { ack: ISS + 2 });
    clock.advance(TCP_TIMES.endMs + 1);
    expect([server.closed, has(last(server), "rst"), clock.pending]).toEqual([["timeout"], true, 0]);
  });
  test("of the peer first: what is still to be said comes, then ours", () => {
    const { server, say } = opened();
    say(1001, ACK | FIN, "ask");
    expect([server.ended, last(server).ack]).toEqual([1, 1005]);
    server.connection.write(Buffer.from("answer"));
    server.connection.end();
    say(1005, ACK, "", { ack: ISS + 1 + 6 + 1 });
    expect(server.closed).toEqual(["in order"]);
  });
  test("at once: the peer is told", () => {
    const { clock, server } = opened();
    server.connection.write(Buffer.alloc(9000));
    server.connection.abort();
    expect([server.closed, has(last(server), "rst"), clock.pending]).toEqual([["aborted"], true, 0]);
  });
});
