// Networks on very many hosts, and with very many ports at one: what a change costs, and that all get their copy. On a real switch: test/integration/hosts/wide.test.ts.
import { afterEach, expect, test } from "vitest";
import { compare } from "../../test/support/from-scratch.ts";
import { type Harness } from "../../test/support/harness.ts";
import { copiesOf, costs, join, plugMany, wide } from "../../test/support/wide.ts";
import { COPIES } from "./model.ts";

const open: Harness[] = [];
afterEach(async () => {
  for (const h of open.splice(0)) {
    expect([h.complaints, h.engine.conflicts]).toEqual([[], []]);
    await h.close();
  }
});
async function made(keys: readonly number[]): Promise<{ readonly h: Harness; readonly network: string }> {
  const it = await wide(keys);
  open.push(it.h);
  return it;
}
const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);
const BROADCAST = { eth_dst: "ff:ff:ff:ff:ff:ff", eth_type: 0x88b5 } as const;

/** Of a host: flows of these tables, and groups. */
function shape(h: Harness, host: string): string {
  const flows = (table: string): number => [...h.engine.flowsOf(host)].filter((f) => h.layout.tableById(f.table)!.name === table && f.priority > 0).length;
  return `${flows("flood_remote")} ${flows("flood_local")} ${flows("flood_parts")} ${[...h.engine.itemsOf(host)].filter(({ kind }) => kind === "group").length}`;
}

test("a host that joins a network of a thousand changes one small flow at each, and all get their copy", { timeout: 60_000 }, async () => {
  const { h, network } = await made(range(1, 1023));
  expect(copiesOf(h, "hv7", BROADCAST)).toEqual({ hosts: 1021, ports: 0 });
  expect(shape(h, "hv7")).toBe("1 1 16 2");
  const seen = ["hv1", "hv500", "hv1022"];
  // The last that finds room in its part: none costs more.
  const last = await costs(h, seen, () => join(h, network, [1023]));
  expect(last.byTable.flood_parts).toBeGreaterThan(COPIES * 40);
  expect(last.byTable.flood_remote).toBeUndefined();
  expect(last.most).toBeLessThan(4096);
  // The first of a part is told to where the list begins, which has a few bytes of each part.
  expect((await costs(h, seen, () => join(h, network, [1024]))).most).toBeLessThan(2048);
  expect(copiesOf(h, "hv1023", BROADCAST)).toEqual({ hosts: 1023, ports: 0 });
});

test("few hosts are one flow, whatever their keys; parts come with one more, and go with it; groups come with many", { timeout: 60_000 }, async () => {
  const { h, network } = await made(range(1, COPIES).map((n) => n * 1000));
  await join(h, network, [65_000]);
  await h.settled();
  expect(shape(h, "hv1000")).toBe("1 1 0 0");
  const [port] = await join(h, network, [65_001]);
  await h.settled();
  expect(shape(h, "hv1000")).toBe(`1 1 ${COPIES} 0`);
  expect(copiesOf(h, "hv1000", BROADCAST)).toEqual({ hosts: COPIES, ports: 0 });
  compare(h, ["hv1000", "hv65001"]);
  await h.call("DELETE", `/v2.0/ports/${port}`);
  await h.settled();
  expect(shape(h, "hv1000")).toBe("1 1 0 0");
  await join(h, network, range(1, 300));
  await h.settled();
  expect(shape(h, "hv1000").endsWith(" 2")).toBe(true);
  expect(copiesOf(h, "hv1000", BROADCAST)).toEqual({ hosts: COPIES + 298, ports: 0 });
  compare(h, ["hv1000", "hv1"]);
});

test("a port more at a host with hundreds of the network costs no more either", async () => {
  const { h, network } = await made([1, 2]);
  await plugMany(h, network, "hv1", 11, 40);
  expect(shape(h, "hv1")).toBe("1 1 0 0");
  await plugMany(h, network, "hv1", 51, 560);
  expect(copiesOf(h, "hv1", BROADCAST)).toEqual({ hosts: 1, ports: 600 });
  const { byTable } = await costs(h, ["hv1"], () => plugMany(h, network, "hv1", 611, 1));
  for (const table of ["flood_parts", "flood_local", "flood_unknown"]) expect(byTable[table] ?? 0, table).toBeLessThan(2 * COPIES * 40);
  compare(h, ["hv1", "hv2"]);
});
