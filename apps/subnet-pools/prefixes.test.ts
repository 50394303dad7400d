import { expect, test } from "vitest";
import { formatCidr, parseCidr, type Cidr } from "#app";
import { compact, subtract, within } from "./prefixes.ts";

const of = (text: string): Cidr[] => text.split(" ").filter((t) => t !== "").map((t) => parseCidr(t)!);
const text = (list: readonly Cidr[]): string => list.map(formatCidr).join(" ");

test.each([
  ["10.0.1.0/24 10.0.0.0/24", "10.0.0.0/23"],
  ["10.0.1.0/24 10.0.2.0/24", "10.0.1.0/24 10.0.2.0/24"],
  ["10.0.0.0/25 10.0.0.128/26 10.0.0.192/26 10.0.1.0/24", "10.0.0.0/23"],
  ["10.0.0.0/8 10.1.0.0/16 10.0.0.0/8", "10.0.0.0/8"],
  ["10.0.0.77/24", "10.0.0.0/24"],
  ["fd00:0:0:1::/64 fd00::/64 fd01::/64", "fd00::/63 fd01::/64"],
  ["0.0.0.0/1 128.0.0.0/1", "0.0.0.0/0"],
])("%s are %s", (given, want) => expect(text(compact(of(given)))).toBe(want));

test.each([
  ["10.0.0.0/23", "10.0.0.0/24", "10.0.1.0/24"],
  ["10.0.0.0/24 10.1.0.0/24", "10.0.0.0/8", ""],
  ["10.0.0.0/24", "10.0.0.64/26", "10.0.0.0/26 10.0.0.128/25"],
  ["10.0.0.0/24", "192.0.2.0/24", "10.0.0.0/24"],
  ["10.0.0.0/24", "10.0.0.0/26 10.0.0.64/26 10.0.0.128/26", "10.0.0.192/26"],
])("%s without %s are %s", (from, taken, want) => expect(text(subtract(of(from), of(taken)))).toBe(want));

test("sets are within others", () => {
  expect(within(of("10.0.0.0/25 10.1.0.0/24"), of("10.0.0.0/24 10.1.0.0/16"))).toBe(true);
  expect(within(of("10.0.0.0/24"), of("10.0.0.0/25"))).toBe(false);
  expect(within(of("10.2.0.0/24"), of("10.0.0.0/24"))).toBe(false);
});

test("what is left of very many pieces is not worked out", () => {
  const scattered = of([...Array(256).keys()].map((n) => `${(n * 0x80).toString(16)}:${n}:${n}:1::1/128`).join(" "));
  expect(subtract(of("::/1"), scattered, 256)).toHaveLength(257);
});
