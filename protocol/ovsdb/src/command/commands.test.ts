import { execFile } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";

import { run, USAGE } from "./commands.ts";
import type { JsonObject } from "../wire/json.ts";
import { haveOvs, RealServer, until, VSWITCH_SCHEMA } from "../testing/support.ts";
import { Cluster } from "../testing/cluster.ts";

const exec = promisify(execFile);
const PACKAGE = fileURLToPath(new URL("../..", import.meta.url));

interface Done { readonly status: number; readonly out: string; readonly err: string }

async function ovsdb(...argv: string[]): Promise<Done> {
  let out = "", err = "";
  const status = await run(argv, { out: (text) => { out += text; }, err: (text) => { err += text; }, interrupted: new AbortController().signal });
  return { status, out, err };
}

/** What ovsdb-client prints. */
async function reference(...argv: string[]): Promise<string> {
  return (await exec("ovsdb-client", argv, { maxBuffer: 1 << 26 })).stdout;
}

describe("what is asked wrongly", () => {
  const wrong: [string[], RegExp][] = [
    [[], /which command/], [["nosuch"], /no command is named nosuch/], [["toString"], /no command/], [["list-dbs", "--nosuch"], /nosuch/],
    [["dump", "--format", "html"], /table or json/], [["list-dbs", "--timeout", "soon"], /seconds/], [["transact", "unix:/nowhere"], /which transaction/],
    [["transact", "unix:/nowhere", "[1]"], /DATABASE/], [["dump", "unix:/a,unix:/b"], /must be named/], [["generate"], /which schema/],
  ];
  test.each(wrong)("%j", async (argv, message) => {
    const { status, out, err } = await ovsdb(...argv);
    expect({ status, out }).toEqual({ status: 2, out: "" });
    expect(err).toMatch(message);
    expect(err).toMatch(/^ovsdb: .*--help tells more\n$/);
  });

  test("what fails", async () => {
    const failing: [string[], RegExp][] = [
      [["list-dbs", "unix:/nosuch/socket"], /unix:\/nosuch\/socket: .*ENOENT/], [["list-dbs", "udp:1:2"], /is no server/], [["list-dbs", "ssl:127.0.0.1:1"], /private key/],
      [["generate", "/nosuch.json"], /ENOENT/], [["transact", "unix:/x", "{"], /the transaction is no JSON: .* at character 1/],
      [["dump", "unix:/nosuch/a,unix:/nosuch/b", "D", "--timeout", "0.2"], /no server/], [["list-dbs", "tcp:127.0.0.1:1", "-p", "/nosuch.pem"], /nosuch.pem/],
    ];
    for (const [argv, message] of failing) {
      const { status, out, err } = await ovsdb(...argv);
      expect({ status, out }, argv.join(" ")).toEqual({ status: 1, out: "" });
      expect(err).toMatch(message);
    }
  });

  test("--help helps", async () => {
    expect(await ovsdb("--help")).toEqual({ status: 0, out: USAGE, err: "" });
    expect(await ovsdb("dump", "-h")).toMatchObject({ status: 0, out: USAGE });
  });
});

describe.skipIf(!haveOvs)("commands", () => {
  let server: RealServer;
  let remote: string;
  beforeAll(async () => {
    server = await RealServer.start();
    remote = `unix:${server.path}`;
    await server.vsctl("add-br", "br0", "--", "add-port", "br0", "p1", "tag=5", "--", "add-br", "br-x");
    await server.vsctl("set", "Bridge", "br0", "external_ids:a=b", 'external_ids:"c d"="x y"', 'external_ids:t="true"', 'external_ids:n="12"', 'external_ids:q="a\\"b\\nc"',
      'external_ids:u="6b4a4a3c-7a6a-4c2e-8a0f-6b2ad8a36d15"', "protocols=OpenFlow13,OpenFlow10", "flood_vlans=7,100,20");
  });
  afterAll(async () => { await server.stop(); });

  test("print what ovsdb-client prints", async () => {
    const same: string[][] = [
      ["list-dbs"], ["get-schema"], ["get-schema", "Open_vSwitch"], ["get-schema", "_Server"], ["dump"], ["dump", "Bridge"], ["dump", "Open_vSwitch", "Port"],
      ["dump", "Open_vSwitch", "Bridge", "name", "external_ids", "_uuid", "ports"],
      ["transact", '["Open_vSwitch",{"op":"select","table":"Bridge","where":[["name","==","br0"]],"columns":["name","external_ids","ports","stp_enable"]}]'],
      ["transact", '["Open_vSwitch",{"op":"comment","comment":"é"},{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",1]]}]'],
    ];
    for (const [command, ...rest] of same) {
      expect(await ovsdb(command!, remote, ...rest), [command, ...rest].join(" ")).toEqual({ status: 0, out: await reference(command!, remote, ...rest), err: "" });
    }
    await server.vsctl("set", "Bridge", "br-x", 'external_ids:"é"="ü😀"');
    expect((await ovsdb("dump", remote, "Bridge", "external_ids", "name")).out).toContain(' {"é"="ü😀"} '.trim());
    for (const rest of [[], ["Open_vSwitch", "Bridge"], ["Port", "name", "tag"]]) {
      expect((await ovsdb("dump", remote, ...rest, "-f", "json")).out).toBe(await reference("-f", "json", "dump", remote, ...rest));
    }
  });

  test("a transaction that fails is printed and told by the status", async () => {
    for (const transaction of ['["Open_vSwitch",{"op":"insert","table":"Bridge","row":{"nosuch":1}}]', '["Open_vSwitch",{"op":"comment","comment":"x"},{"op":"abort"},{"op":"abort"}]', '["Open_vSwitch",5]']) {
      expect(await ovsdb("transact", remote, transaction)).toEqual({ status: 1, out: await reference("transact", remote, transaction), err: "" });
    }
    expect(await ovsdb("transact", remote, '["Nosuch"]')).toMatchObject({ status: 1, out: "", err: expect.stringContaining("unknown database") as string });
  });

  test("what is not there is named", async () => {
    const absent: [string[], RegExp][] = [
      [["dump", remote, "Nosuch"], /no table Nosuch/], [["dump", remote, "Bridge", "nosuch"], /no column nosuch/], [["get-schema", remote, "Nosuch"], /unknown database/],
      [["monitor", remote, "Nosuch"], /no table Nosuch/], [["monitor", remote, "Bridge", "nosuch"], /no column nosuch/],
    ];
    for (const [argv, message] of absent) {
      const { status, err } = await ovsdb(...argv);
      expect(status, argv.join(" ")).toBe(1);
      expect(err).toMatch(message);
    }
    expect((await ovsdb("list-dbs", remote, "more")).status).toBe(2);
    expect((await ovsdb("monitor", remote)).status).toBe(2);
  });

  test("monitor prints one change a line, over a restart of the server", async () => {
    const interrupted = new AbortController();
    let out = "", err = "";
    const lines = (): JsonObject[] => out.split("\n").slice(0, -1).map((line) => JSON.parse(line) as JsonObject);
    const done = run(["monitor", remote, "Open_vSwitch", "Bridge", "name,fail_mode", "protocols"], { out: (text) => { out += text; }, err: (text) => { err += text; }, interrupted: interrupted.signal });
    await until(() => lines().length === 2);
    expect(lines().map((line) => [line["action"], (line["new"] as JsonObject)["name"]]).sort()).toEqual([["initial", "br-x"], ["initial", "br0"]]);
    await server.vsctl("set", "Bridge", "br0", "fail_mode=secure");
    await until(() => lines().length === 3);
    expect(lines()[2]).toEqual({
      table: "Bridge", uuid: expect.any(String) as string, action: "modify", old: { fail_mode: ["set", []] },
      new: { name: "br0", fail_mode: "secure", protocols: ["set", ["OpenFlow10", "OpenFlow13"]] },
    });
    await server.halt();
    await until(() => err.includes("connecting again"));
    await server.run();
    await server.vsctl("--", "--id=@b", "create", "Bridge", "name=late", "--", "add", "Open_vSwitch", ".", "bridges", "@b");
    await until(() => lines().length === 4);
    expect(lines()[3]).toMatchObject({ action: "insert", new: { name: "late", protocols: ["set", []] } });
    await server.vsctl("del-br", "late");
    await until(() => lines().length === 5);
    expect(lines()[4]).toMatchObject({ action: "delete", old: { name: "late" } });
    interrupted.abort();
    expect(await done).toBe(0);
  });

  test("generate, from a file and from a server", async () => {
    const some = ["--tables", "Bridge,Port", "--import", "./x.ts"];
    const fromFile = await ovsdb("generate", VSWITCH_SCHEMA, ...some);
    expect(fromFile).toMatchObject({ status: 0, err: "" });
    expect(fromFile.out).toContain("export interface BridgeRow {");
    expect(fromFile.out).not.toContain("InterfaceRow");
    expect(await ovsdb("generate", remote, ...some)).toEqual(fromFile);
    expect(await ovsdb("generate", VSWITCH_SCHEMA, "--tables", "Nosuch")).toMatchObject({ status: 1, err: expect.stringContaining("no table Nosuch") as string });
  });

  test("the program builds itself the first time, and says so when it cannot", async () => {
    mkdirSync(join(PACKAGE, "dist"), { recursive: true });
    const directory = mkdtempSync(join(PACKAGE, "dist", "cli-"));
    onTestFinished(() => { rmSync(directory, { recursive: true, force: true }); });
    cpSync(join(PACKAGE, "bin", "ovsdb.js"), join(directory, "bin", "ovsdb.js"));
    writeFileSync(join(directory, "package.json"), '{"type":"module"}');
    const program = (...argv: string[]): Promise<{ stdout: string; stderr: string; code?: number }> =>
      exec(process.execPath, [join(directory, "bin", "ovsdb.js"), ...argv], { timeout: 60_000 }).catch((error: unknown) => error as { stdout: string; stderr: string; code: number });
    const failed = await program("list-dbs", remote);
    expect(failed).toMatchObject({ code: 1, stdout: "" });
    expect(failed.stderr).toMatch(/^ovsdb: building, once \.\.\.\n[^]*ovsdb: the build failed\n$/);
    writeFileSync(join(directory, "tsconfig.json"), JSON.stringify({
      extends: join(PACKAGE, "tsconfig.json"), include: [join(PACKAGE, "src/**/*.ts")],
      compilerOptions: { rootDir: join(PACKAGE, "src"), outDir: join(directory, "dist"), tsBuildInfoFile: join(directory, "dist", "info"), noCheck: true },
    }));
    expect(await program("list-dbs", remote)).toMatchObject({ stdout: "Open_vSwitch\n_Server\n", stderr: "ovsdb: building, once ...\n" });
    expect(await program("list-dbs", remote)).toMatchObject({ stdout: "Open_vSwitch\n_Server\n", stderr: "" });
    expect(await program("nosuch")).toMatchObject({ code: 2, stdout: "" });
  }, 120_000);
});

test.skipIf(!haveOvs)("a cluster: the leader is found, or any member taken", async () => {
  const cluster = await Cluster.start();
  onTestFinished(() => cluster.stop());
  await cluster.vsctl("init");
  const insert = '["Open_vSwitch",{"op":"mutate","table":"Open_vSwitch","where":[],"mutations":[["next_cfg","+=",1]]}]';
  expect(await ovsdb("transact", cluster.remotes, insert)).toEqual({ status: 0, out: '[{"count":1}]\n', err: "" });
  expect((await ovsdb("dump", cluster.remotes, "Open_vSwitch", "Open_vSwitch", "next_cfg", "--no-leader-only")).out).toMatch(/\n1\n$/);
  await cluster.members[0]!.kill();
  expect((await ovsdb("list-dbs", cluster.remotes)).out).toBe("Open_vSwitch\n_Server\n");
  expect(await ovsdb("transact", cluster.remotes, insert, "--timeout", "30")).toMatchObject({ status: 0, out: '[{"count":1}]\n' });
}, 120_000);
