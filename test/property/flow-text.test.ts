// The dump as it is sent against the records that it is of: byte by byte the same, of flows of all apps after random histories, whatever is asked for.
import fc from "fast-check";
import { expect, test } from "vitest";
import { FLOW_MOD_MATCH_OFFSET, type FlowStatsView } from "node-openflow";
import { portTable } from "../../apps/l2/model.ts";
import { allTables } from "../../src/boot/registry.ts";
import type { Flow } from "../../src/compiler/desired.ts";
import { FlowDump } from "../../src/ops/flows/flow-dump.ts";
import { filtered, flowDump, flowFilter, type FlowQuery } from "../../src/ops/flows/flows.ts";
import type { Questions } from "../../src/southbound/index.ts";
import { Harness } from "../support/harness.ts";
import { History, step } from "./history.ts";

const HOSTS = ["hv0", "hv1", "hv2", "hv3"];
const ROUNDS = process.env.AXION_NIGHTLY === "1" ? 40 : 2;
const STEPS = 60;

/** A flow as a switch tells of it. */
const entryOf = ({ slab, off, len, matchLen, table, priority, cookieHi, cookieLo }: Flow, n: number, fields: Partial<FlowStatsView> = {}): FlowStatsView => ({
  buf: slab, table_id: table, priority, cookie_hi: cookieHi, cookie_lo: cookieLo, flags: 0, idle_timeout: 0, hard_timeout: 0, duration_sec: n, duration_nsec: n * 1_000_000, packet_count: n * 3, byte_count: n * 1000,
  match_off: off + FLOW_MOD_MATCH_OFFSET, match_len: matchLen, instructions_off: off + FLOW_MOD_MATCH_OFFSET + matchLen, instructions_len: len - FLOW_MOD_MATCH_OFFSET - matchLen, ...fields,
});

async function textOf(parts: AsyncIterable<Uint8Array | string>): Promise<string> {
  const all: Buffer[] = [];
  // Parts are good until the next is asked for.
  for await (const part of parts) all.push(Buffer.from(part));
  return Buffer.concat(all).toString();
}

test("a dump is what its records are, byte by byte, and nearly none of it is made from records", { timeout: 600_000 }, async () => {
  const h = await Harness.make();
  try {
    const history = new History(h);
    const { apps, engine, layout, model, view, clock } = h;
    // Of each switch some flows are there, some otherwise, some not; some are refused, some nobody's, some learned.
    const southbound = {
      switches: () => HOSTS.map((id) => ({ id })),
      quarantined: (id: string) => [...engine.flowsOf(id)].filter((_, i) => i % 17 === 5).map((flow) => ({ flow })),
      questions: { compareInstalled: (id: string, seen: Parameters<Questions["compareInstalled"]>[1]) => {
        const missing: Flow[] = [];
        [...engine.flowsOf(id)].forEach((flow, i) => {
          if (i % 5 < 3) seen(entryOf(flow, i), flow, true);
          else if (i % 5 === 3) seen(entryOf(flow, i, { cookie_lo: 5 }), flow, false);
          else missing.push(flow);
          if (i % 11 === 7) seen(entryOf(flow, i, { idle_timeout: i % 2 === 0 ? 300 : 0, hard_timeout: i % 3 === 0 ? 60 : 0 }), undefined, i % 2 === 0);
        });
        return Promise.resolve(missing);
      } },
    } as unknown as ConstructorParameters<typeof FlowDump>[0]["southbound"];
    const dump = new FlowDump({ apps, tables: allTables(apps), view, engine, layout, model, southbound, clock });
    const same = async (query: FlowQuery, format: "json" | "text"): Promise<string> => {
      const text = await textOf(dump.bytes(query, format));
      expect(text, JSON.stringify(query)).toBe(await textOf(flowDump(filtered(dump.flows(query), flowFilter(query)), format)));
      return text;
    };
    for (const n of [0, 1, 2]) await history.run({ do: "chassis", n });
    for (const n of [0, 1, 2, 3, 4]) {
      await history.run({ do: "network", n });
      for (const m of [0, 1]) await history.run({ do: "subnet", n, m });
      for (const m of [0, 1, 1]) await history.run({ do: "port", n, m });
      await history.run({ do: "group", n });
      await history.run({ do: "router", n });
      await history.run({ do: "interface", n, m: n });
    }
    for (let n = 0; n < 12; n++) await history.run({ do: "plug", n, m: n });
    for (let round = 0; round < ROUNDS; round++) {
      for (const s of fc.sample(step, { numRuns: STEPS, seed: round })) await history.run(s);
      // Names that need escapes, and one that is longer than a line.
      await model.transact({ requestId: "t", call: 'PUT "odd"\u2028 /v2.0/ports' }, (tx) => {
        let i = 0;
        for (const port of tx.all(portTable)) tx.put(portTable, { ...port, name: ['a "quoted" \\ name\n', "ünï𝄞\u0001", "x".repeat(255), "", "plain"][i++ % 5]! });
      });
      await h.settled();
      const text = await same({ stats: false }, "json");
      expect(() => JSON.parse(text) as unknown).not.toThrow();
      const [someFlow] = (JSON.parse(text) as { flows: { match: string; resources: { id: string }[] }[] }).flows.filter(({ resources }) => resources.length > 0).slice(round * 7);
      for (const format of ["json", "text"] as const) {
        for (const query of [
          { stats: false, raw: true }, { stats: true, switch: "hv1" }, { stats: false, state: "installed" }, { stats: false, state: "diff", switch: "hv2" }, { stats: true, state: "installed", raw: true, switch: "hv0" },
          { stats: false, app: "l2", switch: "hv1" }, { stats: false, table: "port_security" }, { stats: false, table: "3", state: "diff" }, { stats: false, resource: someFlow!.resources[0]!.id }, { stats: false, match: someFlow!.match.split(",")[0] || "ip" },
        ] satisfies FlowQuery[]) await same({ ...query, ...(format === "text" && { raw: true }) }, format);
      }
    }
    // What templates know is known by now.
    Object.assign(dump.text, { byTemplate: 0, byRecord: 0 });
    await same({ stats: false }, "json");
    expect(dump.text.byTemplate).toBeGreaterThan(500);
    expect(dump.text.byRecord * 8).toBeLessThan(dump.text.byTemplate);
  } finally {
    await h.close();
  }
});

test("what changes while a dump is read is not shown as it was before", async () => {
  const h = await Harness.make();
  try {
    const history = new History(h);
    for (const n of [0, 1]) await history.run({ do: "chassis", n });
    for (const n of [0, 1, 2]) {
      await history.run({ do: "network", n });
      await history.run({ do: "subnet", n, m: 0 });
      for (const m of [0, 1]) await history.run({ do: "port", n, m });
    }
    for (let n = 0; n < 6; n++) await history.run({ do: "plug", n, m: n });
    await h.settled();
    const { apps, engine, layout, model, view, clock } = h;
    const southbound = { switches: () => Array.from({ length: 40 }, (_, i) => ({ id: `hv${i % 2}` })), quarantined: () => [], questions: { compareInstalled: () => Promise.resolve([]) } } as unknown as ConstructorParameters<typeof FlowDump>[0]["southbound"];
    const dump = new FlowDump({ apps, tables: allTables(apps), view, engine, layout, model, southbound, clock });
    let generation: number | undefined;
    const all: Buffer[] = [];
    for await (const part of dump.bytes({ stats: false }, "json")) {
      all.push(Buffer.from(part));
      if (generation !== undefined) continue;
      await model.transact({ requestId: "t", call: "PUT /v2.0/ports/all" }, (tx) => {
        for (const port of [...tx.all(portTable)]) tx.put(portTable, { ...port, name: "renamed" });
      });
      await h.settled();
      generation = model.generation;
    }
    const { flows } = JSON.parse(Buffer.concat(all).toString()) as { flows: { resources: { type: string; call?: string; name?: string }[] }[] };
    const ports = (from: number, to: number): { call?: string; name?: string }[] => flows.slice(from, to).flatMap(({ resources }) => resources.filter(({ type }) => type === "port"));
    expect(all.length).toBeGreaterThan(2);
    expect(new Set(ports(0, 20).map(({ name }) => name))).not.toContain("renamed");
    const late = ports(flows.length / 2, flows.length);
    expect(late.length).toBeGreaterThan(20);
    for (const port of late) expect(port).toMatchObject({ name: "renamed", call: "PUT /v2.0/ports/all", generation });
  } finally {
    await h.close();
  }
});
