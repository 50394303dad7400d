import { expect, test } from "vitest";
import { portCountOf } from "./session.ts";

test("counters that the switch does not know are none: Open vSwitch says all ones of a port whose device is gone", () => {
  const port = { port_no: 7, rx_packets: 3n, rx_bytes: 300n, tx_packets: 2n ** 64n - 1n, tx_bytes: 2n ** 64n - 1n, duration_sec: 9 };
  expect(portCountOf(port)).toEqual({ port: 7, rx_packets: 3, rx_bytes: 300, tx_packets: null, tx_bytes: null, durationS: 9 });
});
