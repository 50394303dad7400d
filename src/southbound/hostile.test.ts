// Peers that are no switches: each costs its own connection and one line, and no other peer notices.
import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { afterEach, expect, test } from "vitest";
import { eventually, Ovs } from "./testing/ovs.ts";
import { numbered, World } from "./testing/world.ts";

const cleanup: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

const dial = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1", () => resolve(socket));
    socket.on("error", reject);
  });

const closed = (socket: Socket): Promise<void> =>
  new Promise((resolve) => {
    socket.on("error", () => undefined);
    socket.on("close", () => resolve());
    socket.resume();
  });

test("garbage, silence and half messages on both ports, beside a switch that works", async () => {
  const ovs = await Ovs.start({ "system-id": "hv1", "axion-encap-ip": "192.0.2.1" });
  cleanup.push(() => ovs.stop());
  const w = await World.start({ want: () => ({ flows: [numbered(1)] }), config: { handshakeTimeoutMs: 1500 } });
  cleanup.push(() => w.stop());
  await w.adopt(ovs);
  const { since } = w.info()!;

  const inputs: [name: string, bytes: Buffer][] = [
    ["silence", Buffer.alloc(0)],
    ["text", Buffer.from("GET / HTTP/1.1\r\nHost: x\r\n\r\n")],
    ["noise", randomBytes(4096)],
    ["zeros", Buffer.alloc(4096)],
    ["half a message", Buffer.from([4, 0, 0, 16, 0, 0, 0, 1])],
    ["half a document", Buffer.from('{"id":0,"method":"echo","params":[')],
    ["a version from the future", Buffer.from([99, 0, 0, 8, 0, 0, 0, 1])],
    ["an answer to no question", Buffer.from('{"id":77,"result":{},"error":null}')],
    ["deep nesting", Buffer.from("[".repeat(100_000))],
  ];
  for (const port of [w.ports.openflow, w.ports.ovsdb]) {
    for (const [name, bytes] of inputs) {
      const before = w.lines("warn").length;
      const socket = await dial(port);
      const gone = closed(socket);
      socket.write(bytes);
      await gone;
      await eventually(`a line about ${name}`, () => w.lines("warn").length > before);
      expect(w.lines("warn").slice(before), name).toHaveLength(1);
    }
  }
  expect(w.lines("error")).toEqual([]);
  expect(w.info()).toMatchObject({ state: "connected", since });
  await w.confirmed(await w.desired.become(() => ({ flows: [numbered(1), numbered(2)] })));
  expect(await ovs.flows()).toHaveLength(2);
});
