import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { generateTypes, OvsdbClient, parseSchema, type AnyTables, type DatabaseDefinition, type DatabaseSchema } from "../index.ts";
import type { Json } from "../wire/json.ts";
import { haveOvs, RealServer, VSWITCH_SCHEMA } from "../testing/support.ts";

const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));

/** A directory where "ovsdb-client" is this package, with a program of these files; the compiler's complaints. */
async function compile(files: Record<string, string>): Promise<string> {
  mkdirSync(join(PACKAGE, "dist"), { recursive: true });
  const directory = mkdtempSync(join(PACKAGE, "dist", "typed-"));
  onTestFinished(() => { rmSync(directory, { recursive: true, force: true }); });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({
    extends: join(PACKAGE, "../../tsconfig.base.json"),
    compilerOptions: { noEmit: true, composite: false, incremental: false, declaration: false, rootDir: PACKAGE },
    include: [`${directory}/*.ts`],
  }));
  const done = await promisify(execFile)(process.execPath, [join(PACKAGE, "../../node_modules/typescript-native/bin/tsc"), "-p", directory])
    .catch((error: unknown) => error as { stdout: string });
  return done.stdout;
}

const PROGRAM = `
import { namedUuid, operations, OvsdbClient, type Integer } from "ovsdb-client";
import { Open_vSwitch } from "./vswitch.ts";

const client = new OvsdbClient({ remotes: "unix:/nowhere", database: Open_vSwitch });
for (const bridge of client.table("Bridge").rows.values()) {
  const name: string = bridge.name;
  const mode: "secure" | "standalone" | undefined = bridge.fail_mode;
  const protocols: readonly string[] = bridge.protocols;
  const vlans: readonly number[] = bridge.flood_vlans;
  const id: string | undefined = bridge.external_ids["owner"];
  const tables: ReadonlyMap<number, string> = bridge.flow_tables;
  void [name, mode, protocols, vlans, id, tables, bridge._uuid];
  // @ts-expect-error no such column
  void bridge.nosuch;
  // @ts-expect-error optional
  void bridge.fail_mode.length;
  // @ts-expect-error an enum of two
  void (bridge.fail_mode === "open");
  // @ts-expect-error rows are not changed in place
  bridge.name = "x";
}
// @ts-expect-error no such table
client.table("Bridges");
client.table("Interface").find({ name: "p0" });
// @ts-expect-error no such column
client.table("Interface").find({ nam: "p0" });

await client.update((tx) => {
  const port = tx.insert("Port", { name: "p0", interfaces: [tx.insert("Interface", { name: "p0", type: "internal", ofport_request: 7 })], tag: null, vlan_mode: "access" });
  const bridge = tx.insert("Bridge", { name: "br0", ports: new Set([port]), external_ids: { a: "b" }, protocols: ["OpenFlow13"], flow_tables: new Map([[0, namedUuid("t")]]) });
  const root = tx.rows("Open_vSwitch")[0]!;
  const next: Integer = root.next_cfg;
  tx.update("Open_vSwitch", root, { next_cfg: BigInt(next) + 1n });
  tx.mutate("Open_vSwitch", root, [["bridges", "insert", bridge], ["external_ids", "delete", ["a"]], ["next_cfg", "+=", 1]]);
  const found = tx.rows("Bridge", [["name", "==", "br0"], ["external_ids", "includes", { a: "b" }], ["_uuid", "!=", root._uuid]]);
  // @ts-expect-error no such table
  tx.insert("Nosuch", {});
  // @ts-expect-error no such column
  tx.insert("Bridge", { name: "br0", nosuch: 1 });
  // @ts-expect-error a number where a string belongs
  tx.insert("Bridge", { name: 5 });
  // @ts-expect-error not of the enum
  tx.insert("Port", { interfaces: port, vlan_mode: "acces" });
  // @ts-expect-error a set of an enum
  tx.insert("Bridge", { protocols: ["OpenFlow9"] });
  // @ts-expect-error a port has at least one interface
  tx.insert("Port", { name: "p1" });
  // @ts-expect-error a string is no map
  tx.insert("Bridge", { external_ids: "a" });
  // @ts-expect-error values of a map
  tx.insert("Bridge", { external_ids: { a: 1 } });
  // @ts-expect-error keys of a map
  tx.insert("Bridge", { flow_tables: new Map([["0", namedUuid("t")]]) });
  // @ts-expect-error one value, not empty
  tx.insert("Bridge", { name: null });
  // @ts-expect-error the name of a bridge never changes
  tx.update("Bridge", bridge.namedUuid, { name: "other" });
  // @ts-expect-error no such column
  tx.rows("Bridge", [["nosuch", "==", 1]]);
  // @ts-expect-error a value of another type
  tx.rows("Bridge", [["name", "==", 1]]);
  // @ts-expect-error no such function
  tx.rows("Bridge", [["name", "=", "br0"]]);
  // @ts-expect-error a value of another type
  tx.mutate("Open_vSwitch", root, [["bridges", "insert", 5]]);
  // @ts-expect-error not the columns of this table
  tx.verify("Bridge", bridge.namedUuid, ["interfaces"]);
  return found.length;
});

const { insert, update, select, del, mutate, wait } = operations(Open_vSwitch);
await client.transact([
  insert("Bridge", { name: "br0" }, { uuidName: "b" }), update("Port", [["tag", ">", 5]], { tag: null }), select("Port", [], ["name", "_uuid"]),
  del("Port", [["name", "==", "p0"]]), mutate("Open_vSwitch", [], [["bridges", "insert", namedUuid("b")]]), wait("Bridge", [], ["name"], "==", [{ name: "br0" }], 0),
]);
// @ts-expect-error no such column
insert("Bridge", { nam: "br0" });
// @ts-expect-error no such column
select("Port", [], ["nam"]);
// @ts-expect-error no such column
new OvsdbClient({ remotes: "unix:/nowhere", database: Open_vSwitch, tables: { Bridge: ["nam"] } });
// @ts-expect-error no such table
new OvsdbClient({ remotes: "unix:/nowhere", database: Open_vSwitch, tables: { Brdge: ["name"] } });
new OvsdbClient({ remotes: "unix:/nowhere", database: Open_vSwitch, tables: { Bridge: ["name"] } });
// without a definition everything is decided at run time
new OvsdbClient({ remotes: "unix:/nowhere", database: "Open_vSwitch", tables: { Anything: ["x"] } }).table("Anything").find({ x: 1 });
`;

describe.skipIf(!haveOvs)("types of the Open vSwitch schema", () => {
  let schema: DatabaseSchema;
  beforeAll(() => { schema = parseSchema(JSON.parse(readFileSync(VSWITCH_SCHEMA, "utf8")) as Json); });

  test("a wrong table, column or value does not compile, and what is right does", async () => {
    expect(await compile({ "vswitch.ts": generateTypes(schema), "program.ts": PROGRAM })).toBe("");
  }, 120_000);

  test("and the compiler does look: without the marks it complains of each", async () => {
    const marks = PROGRAM.split("@ts-expect-error").length - 1;
    const complaints = (await compile({ "vswitch.ts": generateTypes(schema), "program.ts": PROGRAM.replaceAll("@ts-expect-error", "wrong:") })).split("\n").filter((line) => line.includes("error TS"));
    expect(new Set(complaints.map((line) => /\((\d+),/.exec(line)![1])).size).toBe(marks);
    expect(marks).toBe(26);
  }, 120_000);

  test("some tables only, from a module of another name", async () => {
    const text = generateTypes(schema, { tables: ["SSL", "AutoAttach"], from: "./elsewhere.ts" });
    expect([...text.matchAll(/interface (\w+)Row/g)].map((match) => match[1])).toEqual(["SSL", "AutoAttach"]);
    expect(text).toContain('import type { DatabaseDefinition } from "./elsewhere.ts";');
    expect(text).toContain('SSL: ["bootstrap_ca_cert", "ca_cert", "certificate", "external_ids", "private_key"],');
    expect(() => generateTypes(schema, { tables: ["Nosuch"] })).toThrow(/no table Nosuch/);
    expect(await compile({ "elsewhere.ts": 'export * from "ovsdb-client";', "some.ts": text })).toBe("");
  }, 120_000);

  test("the definition is what a client follows", async () => {
    const server = await RealServer.start();
    onTestFinished(() => server.stop());
    const text = generateTypes(schema, { tables: ["Open_vSwitch", "Bridge"] });
    const literal = /DatabaseDefinition<\w+> = (\{[^]*\});/.exec(text)![1]!;
    const definition = (0, eval)(`(${literal})`) as DatabaseDefinition<AnyTables>;
    expect(definition).toMatchObject({ name: "Open_vSwitch", version: schema.version });
    const client = new OvsdbClient({ remotes: `unix:${server.path}`, database: definition });
    onTestFinished(() => client.close());
    await client.ready();
    expect(client.replica.report).toMatchObject({ missingTables: [], missingColumns: [] });
    expect(client.replica.tables).toEqual(["Open_vSwitch", "Bridge"]);
    const row = [...client.table("Open_vSwitch")][0]!;
    expect(Object.keys(row).sort()).toEqual(["_uuid", ...schema.tables.get("Open_vSwitch")!.columns.keys()].sort());
  });
});

test("types of every kind of column", () => {
  const columns: Record<string, [Json, string, string]> = {
    wide: ["integer", "Integer", "?: Integer | undefined"],
    narrow: [{ key: { type: "integer", minInteger: 1, maxInteger: 9 } }, "number", ": number"],
    r: ["real", "number", "?: number | undefined"],
    en: [{ key: { type: "string", enum: ["set", ["a", "b"]] } }, '"a" | "b"', ': "a" | "b"'],
    one: [{ key: { type: "integer", enum: ["set", [0, 5]] } }, "0 | 5", "?: 0 | 5 | undefined"],
    refs: [{ key: { type: "uuid", refTable: "T" }, min: 0, max: "unlimited" }, "readonly string[]", "?: string | Uuid | NamedUuid | readonly (string | Uuid | NamedUuid)[] | ReadonlySet<string | Uuid | NamedUuid> | null | undefined"],
    em: [{ key: { type: "string", enum: ["set", ["x", "y"]] }, value: "boolean", min: 0, max: 5 }, 'Readonly<Partial<Record<"x" | "y", boolean>>>', '?: Readonly<Partial<Record<"x" | "y", boolean>>> | ReadonlyMap<"x" | "y", boolean> | null | undefined'],
  };
  const text = generateTypes(parseSchema({ name: "D", version: "1.0.0", tables: { T: { columns: Object.fromEntries(Object.entries(columns).map(([name, [type]]) => [name, { type }])) } } }));
  for (const [name, [, read, write]] of Object.entries(columns)) {
    expect(text).toContain(`  readonly ${name}: ${read};\n`);
    expect(text).toContain(`  readonly ${name}${write};\n`);
  }
  expect(text).toContain("/** 1 to 9. */");
  expect(text).toContain("/** Refer to T. */");
  expect(text).toContain("/** At most 5. */");
});
