import { expect, test } from "vitest";
import { place, rank } from "./placement.ts";

const hosts = ["hv1", "hv2", "hv3", "hv4", "hv5"];
const keys = Array.from({ length: 1000 }, (_, n) => `6a5bd3b5-6c5c-4d4c-8a5e-${n.toString(16).padStart(12, "0")}`);

test("gateways are spread evenly over hosts, at every place in the list", () => {
  for (const place of [0, 1, 2]) {
    const counts = hosts.map((host) => keys.filter((key) => rank(key, hosts)[place] === host).length);
    for (const count of counts) expect(count).toBeGreaterThan(140);
  }
});

test("the order of hosts does not matter; three at most, each once", () => {
  for (const key of keys.slice(0, 50)) {
    expect(rank(key, hosts.toReversed())).toEqual(rank(key, hosts));
    expect(new Set(rank(key, hosts)).size).toBe(3);
    expect(rank(key, ["hv1"])).toEqual(["hv1"]);
  }
});

test("a host that goes leaves the order of the others as it was", () => {
  for (const key of keys.slice(0, 200)) {
    const before = rank(key, hosts).filter((h) => h !== "hv3");
    expect(rank(key, hosts.filter((h) => h !== "hv3")).slice(0, before.length)).toEqual(before);
  }
});

test("where all of them are being drained another one stands behind them, if there is any", () => {
  for (const key of keys.slice(0, 50)) {
    const chosen = rank(key, hosts);
    expect(place(key, hosts, (host) => host === chosen[0])).toEqual(chosen);
    const more = place(key, hosts, (host) => chosen.includes(host));
    expect(more.slice(0, 3)).toEqual(chosen);
    expect(more).toEqual([...chosen, rank(key, hosts, new Set(), 5)[3]]);
    expect(place(key, hosts, () => true)).toEqual(chosen);
    expect(place(key, ["hv1"], () => true)).toEqual(["hv1"]);
  }
});
