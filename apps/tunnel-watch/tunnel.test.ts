// What probes of a tunnel say of it, and which size is tried next.
import { describe, expect, test } from "vitest";
import { Tunnel, watched } from "./tunnel.ts";

const make = (): Tunnel => new Tunnel({ from: "hv1", to: "hv2", fromKey: 1, toKey: 2, type: "geneve", shared: true, least: 96, most: 1500 }, 0);

/** Sends so many probes by a path that carries packets up to a size; what comes of each. */
function by(tunnel: Tunnel, mtu: number, times: number, nowMs = 0): number[] {
  return Array.from({ length: times }, () => {
    const size = tunnel.next();
    if (size <= mtu) tunnel.heard(size, 5, nowMs);
    else tunnel.missed(size, nowMs);
    return size;
  });
}

test("up with the first that arrives; small and full ones in turns", () => {
  const tunnel = make();
  expect([tunnel.state, tunnel.pace]).toEqual(["unknown", "turn"]);
  expect(by(tunnel, 1500, 5)).toEqual([96, 1500, 96, 1500, 96]);
  expect(tunnel.seen(undefined)).toMatchObject({ state: "up", mtu: 1500, loss: 0, latency_ms: null, missing: undefined });
  expect(tunnel.seen(3.5)).toMatchObject({ latency_ms: 1.5 });
  expect(tunnel.seen(9), "never less than nothing").toMatchObject({ latency_ms: 0 });
});

test("down when four in a row are lost, up again when two arrive", () => {
  const tunnel = make();
  by(tunnel, 1500, 4);
  expect(by(tunnel, 0, 3, 1000)).toEqual([96, 96, 96]);
  expect([tunnel.state, tunnel.pace]).toEqual(["up", "now"]);
  by(tunnel, 0, 1, 2000);
  expect([tunnel.state, tunnel.pace]).toEqual(["down", "later"]);
  expect(tunnel.seen(0)).toMatchObject({ since: "1970-01-01T00:00:02.000Z", loss: 0.5 });
  by(tunnel, 1500, 1, 3000);
  expect(tunnel.state).toBe("down");
  by(tunnel, 0, 1, 3500);
  by(tunnel, 1500, 2, 4000);
  expect(tunnel.seen(0)).toMatchObject({ state: "up", since: "1970-01-01T00:00:04.000Z" });
});

test("one that is lost now and then does no more than count", () => {
  const tunnel = make();
  by(tunnel, 1500, 1);
  for (let i = 0; i < 64; i++) by(tunnel, i % 4 === 0 ? 0 : 1500, 1);
  expect(tunnel.seen(0)).toMatchObject({ state: "up", loss: 0.25, missing: undefined });
});

test("one that was never heard is down as well, after four", () => {
  const tunnel = make();
  by(tunnel, 0, 3);
  expect(tunnel.state).toBe("unknown");
  by(tunnel, 0, 1);
  expect(tunnel.state).toBe("down");
});

describe.each([96, 97, 576, 1280, 1400, 1499])("full ones are lost, up to %i arrive", (mtu) => {
  test("the largest that arrives is found, and the tunnel stays up; when it is mended it is known at once", () => {
    const tunnel = make();
    by(tunnel, 1500, 2);
    by(tunnel, mtu, 60);
    expect(tunnel.seen(0)).toMatchObject({ state: "up", mtu, missing: 1500 });
    expect(tunnel.pace).toBe("turn");
    expect(new Set(by(tunnel, mtu, 6)), "what is known to be lost is tried now and then").toEqual(new Set([1500, 96, mtu]));
    by(tunnel, 1500, 3);
    expect(tunnel.seen(0)).toMatchObject({ mtu: 1500, missing: undefined });
  });

  test("it is down all the same when nothing arrives", () => {
    const tunnel = make();
    by(tunnel, mtu, 60);
    by(tunnel, 0, 12);
    expect(tunnel.state).toBe("down");
    by(tunnel, 1500, 8);
    expect(tunnel.seen(0)).toMatchObject({ state: "up", mtu: 1500, missing: undefined });
  });
});

test("a path that becomes narrower yet is found anew", () => {
  const tunnel = make();
  by(tunnel, 1400, 60);
  by(tunnel, 1300, 80);
  expect(tunnel.seen(0)).toMatchObject({ state: "up", mtu: 1300, missing: 1500 });
});

test("what is forgotten is unknown, and counts for nothing", () => {
  const tunnel = make();
  by(tunnel, 1400, 60);
  tunnel.forget(7000);
  expect(tunnel.seen(0)).toEqual({ id: "hv1 hv2 geneve", from: "hv1", to: "hv2", type: "geneve", state: "unknown", since: "1970-01-01T00:00:07.000Z", latency_ms: null, loss: null, mtu: null, missing: undefined });
});

test("of many hosts the nearest by key on either side are watched, so that each is by as many", () => {
  const hosts = Array.from({ length: 300 }, (_, i) => ({ key: i + 1 }));
  const by100 = new Map<number, number>();
  for (const { key } of hosts) {
    const chosen = watched(key, hosts.filter((h) => h.key !== key));
    expect(new Set(chosen.map((h) => h.key)).size).toBe(100);
    for (const h of chosen) by100.set(h.key, (by100.get(h.key) ?? 0) + 1);
  }
  expect([...new Set(by100.values())]).toEqual([100]);
  expect(watched(5, hosts.slice(0, 3)).map((h) => h.key)).toEqual([1, 2, 3]);
});
