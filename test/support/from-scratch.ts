// The incremental result against a compile from scratch, for every kind of output: flows, meters and groups, rows, patches.
import { expect } from "vitest";
import { allTables } from "../../src/boot/registry.ts";
import { Engine } from "../../src/compiler/engine.ts";
import { bytesOf, silent, type Harness } from "./harness.ts";

/** Fails when what the compiler came to, step by step, is not what a compile from scratch gives, or not what switches were told. */
export function compare(h: Harness, hosts: readonly string[] = ["hv0", "hv1", "hv2", "hv3"]): void {
  expect(h.complaints).toEqual([]);
  const fresh = new Engine({ apps: h.apps, tables: allTables(h.apps), layout: h.layout, rows: h.model.layer, log: silent });
  fresh.compileAll(h.model.generation);
  for (const chassis of hosts) {
    const want = new Map([...fresh.flowsOf(chassis)].map((f) => [f.key, bytesOf(f)]));
    const incremental = new Map([...h.engine.flowsOf(chassis)].map((f) => [f.key, bytesOf(f)]));
    expect([...h.engine.scopesOf(chassis)].sort(), `scopes of ${chassis}`).toEqual([...fresh.scopesOf(chassis)].sort());
    expect(difference(want, incremental), `incremental flows of ${chassis}`).toEqual([]);
    expect(difference(want, h.switches.get(chassis)?.flows ?? new Map()), `flows ${chassis} was told`).toEqual([]);
    const items = (engine: Engine): Map<string, string> => new Map([...engine.itemsOf(chassis)].map((i) => [`${i.kind} ${i.id}`, i.text]));
    const rows = (engine: Engine): string[] => [...engine.rowsOf(chassis), ...engine.patchesOf(chassis)].map((r) => JSON.stringify(r)).sort();
    expect(items(h.engine), `items of ${chassis}`).toEqual(items(fresh));
    expect(h.switches.get(chassis)?.items ?? new Map(), `items ${chassis} was notified of`).toEqual(items(fresh));
    expect(rows(h.engine), `rows of ${chassis}`).toEqual(rows(fresh));
    expect(h.switches.get(chassis)?.rows ?? [], `rows ${chassis} was notified of`).toEqual(rows(fresh));
  }
  expect(fresh.conflicts).toEqual([]);
}

function difference(want: ReadonlyMap<string, string>, got: ReadonlyMap<string, string>): string[] {
  const out: string[] = [];
  for (const [key, bytes] of want) if (got.get(key) !== bytes) out.push(`${got.has(key) ? "differs" : "missing"}: ${Buffer.from(key, "latin1").toString("hex")}`);
  for (const key of got.keys()) if (!want.has(key)) out.push(`extra: ${Buffer.from(key, "latin1").toString("hex")}`);
  return out;
}
