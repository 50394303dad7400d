// Connections of strangers and lines about them are bounded; what goes over is a problem for a while.
import type { Socket } from "node:net";
import type { Logger } from "pino";
import { expect, test } from "vitest";
import { SimulatedClock } from "../../lib/clock.ts";
import { Connections } from "./connections.ts";
import { shown, TROUBLE_MS, Troubles } from "./troubles.ts";

function world(): { lines: string[]; clock: SimulatedClock; troubles: Troubles } {
  const lines: string[] = [];
  const clock = new SimulatedClock();
  const log = { warn: (_fields: object, message: string) => lines.push(message) } as unknown as Logger;
  return { lines, clock, troubles: new Troubles(log, clock) };
}

/** What there is of a socket to somebody who counts it. */
function socketFrom(address: string, port: number): { socket: Socket; close: () => void } {
  let closed = (): void => undefined;
  const socket = { remoteAddress: address, remotePort: port, once: (_event: string, listener: () => void) => (closed = listener) };
  return { socket: socket as unknown as Socket, close: () => closed() };
}

test("strangers of one address get few connections, those of another are not concerned, and what is a host's does not count", () => {
  const { lines, clock, troubles } = world();
  const connections = new Connections({ port: "OVSDB", perAddress: 2, perPrefix: 3, total: 3, troubles });
  const [a, b] = [socketFrom("192.0.2.1", 1), socketFrom("192.0.2.1", 2)];
  expect([a, b].map((s) => connections.admit(s.socket))).toEqual([true, true]);
  for (let port = 3; port < 50; port++) expect(connections.admit(socketFrom("192.0.2.1", port).socket)).toBe(false);
  expect(lines).toHaveLength(1);
  expect([...troubles.problems()]).toMatchObject([{ kind: "peer_limit", text: expect.stringContaining("47 times") as string }]);
  expect(connections.admit(socketFrom("192.0.2.2", 1).socket)).toBe(true);
  expect(connections.admit(socketFrom("192.0.2.3", 1).socket)).toBe(false);
  connections.proved("192.0.2.1:1");
  b.close();
  b.close();
  expect(connections.waiting).toBe(1);
  expect(connections.admit(socketFrom("192.0.2.1", 60).socket)).toBe(true);
  clock.advance(TROUBLE_MS);
  expect([...troubles.problems()]).toEqual([]);
});

test("who has a /64 of IPv6 to itself has few connections from all its addresses, and is one problem with few lines", () => {
  const { lines, troubles } = world();
  const connections = new Connections({ port: "OVSDB", perAddress: 2, perPrefix: 5, total: 1000, troubles });
  const from = (address: string, port = 1): boolean => connections.admit(socketFrom(address, port).socket);
  expect([1, 2, 3].map((port) => from("2001:db8::1", port))).toEqual([true, true, false]);
  const rest = Array.from({ length: 300 }, (_, n) => from(`2001:db8::2:${n.toString(16)}`));
  expect(rest.filter(Boolean)).toHaveLength(3);
  expect(from("2001:db8:0:1::1")).toBe(true);
  expect(from("192.0.2.1")).toBe(true);
  expect(connections.waiting).toBe(7);
  expect(lines).toHaveLength(1);
  expect([...troubles.problems()]).toMatchObject([{ text: expect.stringMatching(/^2001:db8::.*298 times/) as string }]);
  connections.proved("[2001:db8::1]:1");
  expect(from("2001:db8::ffff")).toBe(true);
  for (let n = 0; n < 300; n++) troubles.line("ovsdb", `2001:db8::${n.toString(16)}`, {}, "bad");
  expect(lines).toHaveLength(21);
});

test("many lines about one address are a number, and others still have theirs", () => {
  const { lines, clock, troubles } = world();
  for (let n = 0; n < 11_000; n++) troubles.line("openflow", "192.0.2.1", {}, "bad");
  expect(lines).toHaveLength(20);
  troubles.line("openflow", "192.0.2.2", {}, "other");
  for (let n = 0; n < 11_000; n++) troubles.line("openflow", `2001:db8:${n.toString(16)}::1`, {}, "many");
  expect(lines.length).toBeLessThanOrEqual(200);
  expect(lines).toContain("other");
  clock.advance(60_000);
  expect(lines.at(-1)).toMatch(/left out/);
});

test("what a peer says is shown without control characters, and not at any length", () => {
  expect(shown("a\nb\u001b[31m\u202e")).toBe("a?b?[31m?");
  expect(shown("x".repeat(100_000)).length).toBeLessThan(400);
});
