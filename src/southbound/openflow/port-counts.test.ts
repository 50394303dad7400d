// What a switch says of its ports, and how much it may say.
import { connect } from "node:net";
import { encodeMessage, listen, type OpenFlowError } from "node-openflow";
import { expect, test, vi } from "vitest";
import { limits } from "../bounds/limits.ts";
import { portCountOf, SwitchSession } from "./session.ts";

const MULTIPART_REQUEST = 18;

test("counters that the switch does not know are none: Open vSwitch says all ones of a port whose device is gone", () => {
  const port = { port_no: 7, rx_packets: 3n, rx_bytes: 300n, tx_packets: 2n ** 64n - 1n, tx_bytes: 2n ** 64n - 1n, duration_sec: 9 };
  expect(portCountOf(port)).toEqual({ port: 7, rx_packets: 3, rx_bytes: 300, tx_packets: null, tx_bytes: null, durationS: 9 });
});

test("a switch that shows more ports than its database may have rows for is closed; one with as many as that is read whole", async () => {
  const sessions: SwitchSession[] = [];
  const listener = await listen({ host: "127.0.0.1", port: 0, connection: { maxReplyBytes: limits.replyBytes } }, (connection) => sessions.push(new SwitchSession(connection, "0".repeat(16), "")));
  const none = { rx_packets: 0n, tx_packets: 0n, rx_bytes: 0n, tx_bytes: 0n, rx_dropped: 0n, tx_dropped: 0n, rx_errors: 0n, tx_errors: 0n, rx_frame_err: 0n, rx_over_err: 0n, rx_crc_err: 0n, collisions: 0n, duration_sec: 9, duration_nsec: 0 };
  const counted = async (many: number): Promise<number | string> => {
    const socket = connect(listener.port, "127.0.0.1");
    socket.write(encodeMessage({ type: "hello", elements: [] }, 1));
    socket.on("error", () => undefined).on("data", (data) => {
      for (let at = 0; at < data.length; at += data.readUInt16BE(at + 2)) {
        if (data[at + 1] !== MULTIPART_REQUEST) continue;
        for (let from = 0; from < many; from += 512) {
          const ports = Array.from({ length: Math.min(512, many - from) }, (_, n) => ({ ...none, port_no: from + n + 1 }));
          const part = Buffer.from(encodeMessage({ type: "multipart_reply", kind: "port_stats", ports }, data.readUInt32BE(at + 4)));
          part.writeUInt16BE(from + 512 < many ? 1 : 0, 10);
          socket.write(part);
        }
      }
    });
    await vi.waitFor(() => expect(sessions).toHaveLength(1));
    try {
      return (await sessions.pop()!.portCounts()).length;
    } catch (error) {
      return (error as OpenFlowError).code;
    } finally {
      socket.destroy();
    }
  };
  try {
    expect([await counted(16_384), await counted(20_000)]).toEqual([16_384, "OF_CLOSED"]);
  } finally {
    await listener.close();
  }
});
