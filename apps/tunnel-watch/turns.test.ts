// Whose turn it is: bounded in all and to each host, and fair.
import { expect, test } from "vitest";
import { Tunnel, watched } from "./tunnel.ts";
import { Turns } from "./turns.ts";

interface World {
  readonly turns: Turns;
  readonly tunnels: readonly Tunnel[];
  /** Lets so many seconds pass; how often each was sent. `lost`: those that do not arrive, a second later. */
  readonly run: (seconds: number, lost?: (tunnel: Tunnel) => boolean) => Map<Tunnel, number>;
}

function make(hosts: number, perSecond: number): World {
  const turns = new Turns(perSecond, 0);
  const keys = Array.from({ length: hosts }, (_, i) => ({ key: i + 1 }));
  const tunnels = keys.flatMap(({ key }) => {
    const own = watched(key, keys.filter((h) => h.key !== key)).map((to) => new Tunnel({ from: `hv${key}`, to: `hv${to.key}`, fromKey: key, toKey: to.key, type: "geneve", shared: true, least: 96, most: 1500 }, 0));
    turns.set(`hv${key}`, own);
    return own;
  });
  let now = 0;
  const under: { readonly tunnel: Tunnel; readonly atMs: number; readonly size: number }[] = [];
  return {
    turns, tunnels,
    run(seconds, lost = () => false) {
      const sent = new Map<Tunnel, number>();
      for (const end = now + seconds * 1000; now < end; now += 200) {
        while (under.length > 0 && under[0]!.atMs <= now) {
          const { tunnel, size } = under.shift()!;
          tunnel.missed(size, now);
          turns.done(tunnel, now);
        }
        for (const tunnel of turns.take(now, () => true)) {
          sent.set(tunnel, (sent.get(tunnel) ?? 0) + 1);
          const size = tunnel.next();
          if (lost(tunnel)) under.push({ tunnel, atMs: now + 1000, size });
          else {
            tunnel.heard(size, 1, now);
            turns.done(tunnel, now);
          }
        }
      }
      return sent;
    },
  };
}
const total = (sent: Map<Tunnel, number>): number => [...sent.values()].reduce((sum, n) => sum + n, 0);

test("few tunnels have a probe each two seconds, whatever there might be more", () => {
  const { run, tunnels } = make(4, 200);
  const sent = run(20);
  for (const tunnel of tunnels) expect(sent.get(tunnel)).toBeGreaterThanOrEqual(9);
  expect(Math.max(...sent.values())).toBeLessThanOrEqual(11);
});

test("many tunnels have what there is, all as often as others, and no host is sent more than it takes", () => {
  const { run, tunnels } = make(60, 100);
  run(40);
  const sent = run(100);
  expect(total(sent)).toBeLessThanOrEqual(100 * 100 + 50);
  expect(total(sent)).toBeGreaterThan(100 * 95);
  const counts = tunnels.map((t) => sent.get(t) ?? 0);
  expect(Math.max(...counts) - Math.min(...counts), `${Math.min(...counts)}..${Math.max(...counts)}`).toBeLessThanOrEqual(2);
});

test("a thousand hosts: within ten seconds each has sent, and has been sent to", () => {
  const { run } = make(1000, 200);
  const sent = run(10);
  expect(total(sent)).toBeLessThanOrEqual(2100);
  expect(new Set([...sent.keys()].map((t) => t.ends.from)).size).toBe(1000);
  expect(new Set([...sent.keys()].map((t) => t.ends.to)).size).toBe(1000);
});

test("a host that is cut is found out in seconds among many, and the others keep their turns", () => {
  const { run, tunnels } = make(200, 200);
  run(60);
  const isCut = (t: Tunnel): boolean => [t.ends.from, t.ends.to].includes("hv77");
  const sent = run(10, isCut);
  expect(tunnels.filter((t) => t.state === "down").length).toBeGreaterThan(0);
  expect(tunnels.filter((t) => t.state === "down").every(isCut)).toBe(true);
  expect([...sent].filter(([t]) => t.ends.to === "hv77").reduce((sum, [, n]) => sum + n, 0)).toBeLessThanOrEqual(16 * 10 + 16);
  expect([...sent].filter(([t]) => !isCut(t)).reduce((sum, [, n]) => sum + n, 0)).toBeGreaterThan(500);
  run(10);
  run(60);
  expect(tunnels.filter((t) => t.state === "down")).toEqual([]);
});

test("when all are cut, what is sent stays within the rate, and all are down in the end", () => {
  const { run, tunnels } = make(20, 100);
  run(20);
  const sent = run(60, () => true);
  expect(total(sent)).toBeLessThanOrEqual(6050);
  expect(tunnels.every((t) => t.state === "down")).toBe(true);
});

test("tunnels that are gone have no turn", () => {
  const { run, turns, tunnels } = make(3, 100);
  run(4, () => true);
  for (const t of tunnels.slice(0, 2)) t.gone = true;
  turns.set("hv1", []);
  const sent = run(20, () => true);
  expect(tunnels.slice(0, 2).map((t) => sent.get(t))).toEqual([undefined, undefined]);
  expect(sent.size).toBe(4);
});

test("one that may not be sent has lost its turn, and has the next", () => {
  const turns = new Turns(10, 0);
  const tunnel = new Tunnel({ from: "a", to: "b", fromKey: 1, toKey: 2, type: "gre", shared: true, least: 96, most: 1500 }, 0);
  turns.set("a", [tunnel]);
  expect(turns.take(1000, () => false)).toEqual([]);
  expect(turns.take(1200, () => true)).toEqual([tunnel]);
  expect(turns.take(1400, () => true), "under way").toEqual([]);
});
