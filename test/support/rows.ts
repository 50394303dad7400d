// Stored rows put down one by one, and a view of them with all that the real apps derive: for tests of what reads rows, where going
// by the API would hide which rows matter. Derived rows cannot be put: the engine makes them.
import type { AnyTable, Fact, Row } from "#app";
import { discoverApps } from "../../src/boot/discover.ts";
import { allSoftTables, allTables } from "../../src/boot/registry.ts";
import { Engine } from "../../src/compiler/engine.ts";
import { SimulatedClock } from "../../src/lib/clock.ts";
import { Facts } from "../../src/model/facts.ts";
import { Layer } from "../../src/model/rows.ts";
import type { View } from "../../src/model/view.ts";
import { Layout } from "../../src/pipeline/layout.ts";
import { appsFolder, silent } from "./harness.ts";

const apps = await discoverApps(appsFolder);
const tables = allTables(apps);
const layout = new Layout(apps);

export class Rows {
  private readonly stored = new Layer();
  private readonly facts = new Facts(allSoftTables(apps), new SimulatedClock());
  private compiled: View | undefined;

  constructor() {
    for (const table of tables) if (!table.derived) this.stored.table(table);
  }

  put(table: AnyTable, row: Row): void {
    if (table.derived) throw new Error(`${table.name} is derived: put what it derives from`);
    if (!tables.includes(table)) throw new Error(`no app lists table ${table.name}`);
    this.stored.put(table, row);
    this.compiled = undefined;
  }

  /** As of the last row that was put. */
  get view(): View {
    if (this.compiled !== undefined) return this.compiled;
    const failures: object[] = [];
    const engine = new Engine({ apps, tables, layout, rows: this.stored, log: { ...silent, error: (fields: object) => failures.push(fields) } });
    engine.compileAll(1);
    if (failures.length > 0) throw new Error(`the rows do not compile: ${JSON.stringify(failures)}`);
    return (this.compiled = engine.view.with(this.facts));
  }

  /** What a packet taught. */
  learn(fact: Fact): void {
    this.facts.learn(fact);
  }
}
