// Rows of the reachability suite as text: what they come to, and that one which is not understood is no row that holds.
import { expect, test } from "vitest";
import { nameOf } from "./matrix.ts";
import { mixed } from "./topologies/mixed.ts";
import { overlay } from "./topologies/overlay.ts";
import { physical } from "./topologies/physical.ts";
import { checksOf } from "./topology.ts";

const topology = overlay("geneve");
const names = (row: string): string[] => checksOf(topology, row).map(nameOf);

test("a row has as many checks as it has senders, receivers and ways", () => {
  expect(names("a, b > c: ping tcp6")).toEqual(["a > c: ping", "a > c: tcp6", "b > c: ping", "b > c: tcp6"]);
  expect(names("d: dhcp")).toEqual(["d: dhcp"]);
  expect(names("x > near@shared:2222: not tcp")).toEqual(["x > near@shared:2222: not tcp"]);
  expect(checksOf(topology, "b > x: trace r.blue x")).toMatchObject([{ from: "b", to: "x", probe: "trace", expected: ["r.blue", "x"] }]);
  expect(checksOf(topology, "a > x: tcp as fa")).toMatchObject([{ as: "fa", reaches: true }]);
});

test("what is not understood is refused, by row and reason", () => {
  for (const [row, why] of [
    ["a > nobody: ping", "nobody is called nobody"], ["a > b: sing", "no check is called sing"], ["a > b@none: tcp", "no floating IP is called none"], ["a > b: tcp as none", "no router or floating IP is called none"],
    ["a > b", "not a row"], ["a > r: tcp", "routers serve nothing"], ["a: ping", "ping is of two"], ["a > b: dhcp", "dhcp is of one"], ["a > r.nowhere: ping", "nobody is called r.nowhere"],
  ] as const) expect(() => checksOf(topology, row), row).toThrow(`geneve: "${row}": ${why}`);
});

test("all rows of all topologies are understood", () => {
  for (const t of [topology, physical("vlan"), physical("flat"), mixed]) expect(t.rows.flatMap((row) => checksOf(t, row)).length).toBeGreaterThan(200);
});
