// What packaging/ says to node, systemd, docker and the controller is what these take, and the same everywhere.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import type { App } from "#app";
import { discoverApps } from "../src/boot/discover.ts";
import { parseConfig, unknownVariables, type Config } from "../src/config/index.ts";
import { allFlags } from "../src/config/flags.ts";
import { appsFolder } from "./support/harness.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const dir = mkdtempSync(join(tmpdir(), "axion-packaging-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let apps: readonly App[];
beforeAll(async () => {
  apps = await discoverApps(appsFolder);
});

/** What the controller makes of a configuration file, with files that are there in place of those it names. */
function configured(text: string): Config {
  const some = join(dir, "some");
  writeFileSync(some, "x".repeat(20));
  const flags = allFlags(apps);
  const path = join(dir, "axion.yaml");
  writeFileSync(path, text.replace(/^([a-z-]+): \/.*$/gm, (line, name: string) => (flags.get(name)?.kind === "file" ? `${name}: ${some}` : line)));
  return parseConfig(["--config", path], {}, apps) as Config;
}

describe("settings", () => {
  test("of axion.yaml, as it is and with all that stands behind #", () => {
    const text = read("packaging/axion.yaml");
    expect(configured(text)).toMatchObject({ dataDir: "/var/lib/axion", store: "level:", api: { host: "127.0.0.1" } });
    const all = text.replace(/^#(?=[a-z-]+: )/gm, "");
    expect(Object.keys(parse(all) as object).length).toBeGreaterThan(10);
    expect(configured(all)).toMatchObject({ name: "ctl1", advertise: "192.0.2.11", auth: { kind: "tokens" }, api: { host: "0.0.0.0" } });
  });

  test("of axion.env are variables that there are", () => {
    const env = Object.fromEntries([...read("packaging/systemd/axion.env").matchAll(/^#([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name!, value!]));
    expect(Object.keys(env)).toContain("AXION_LOG_LEVEL");
    expect(unknownVariables(env, apps)).toEqual([]);
    expect(parseConfig([], env, apps)).toMatchObject({ logLevel: "debug" });
  });

  test("of docs/deployment.md", () => {
    const page = read("docs/deployment.md");
    const blocks = [...page.matchAll(/^```yaml\n([^]*?)^```$|^cat >>\/etc\/axion\/axion\.yaml <<EOF\n([^]*?)^EOF$/gm)].map((m) => (m[1] ?? m[2])!);
    expect(blocks.length).toBe(3);
    // Certificates belong together; that they are none is found when they are read.
    for (const block of blocks) expect(configured(block)).toBeTypeOf("object");
  });
});

describe("the image", () => {
  const lines = read("packaging/docker/Dockerfile").replaceAll("\\\n", " ").split("\n").filter((line) => !/^(#|$)/.test(line));
  const instruction = (name: string): string => lines.find((line) => line.startsWith(`${name} `))!.slice(name.length + 1);

  test("has the instructions that Docker has", () => {
    for (const line of lines) expect(line).toMatch(/^(FROM|RUN|USER|WORKDIR|VOLUME|EXPOSE|HEALTHCHECK|STOPSIGNAL|ENTRYPOINT) \S/);
  });

  test("starts what the unit of Debian's package starts, as the same user", () => {
    const unit = read("packaging/systemd/axion.service");
    const build = read("packaging/deb/build.sh");
    const [, from, to] = /s#(\/usr\/bin\/node)#([^#]+)#/.exec(build)!;
    const start = /^ExecStart=(.*)$/m.exec(unit)![1]!.replace(from!, to!).replace("/opt/axion", "/usr/lib/axion");
    expect((JSON.parse(instruction("ENTRYPOINT")) as string[]).join(" ")).toBe(start);
    expect(instruction("USER")).toBe(/^User=(.*)$/m.exec(unit)![1]);
  });

  test("and the compose file agree with each other and with the controller", () => {
    interface Service { readonly image: string; readonly environment?: Record<string, string>; readonly ports?: string[]; readonly depends_on?: string[]; readonly volumes: string[]; readonly command?: string[] }
    const { services, volumes } = parse(read("packaging/docker/compose.yaml"), { merge: true }) as { services: Record<string, Service>; volumes: Record<string, unknown> };
    const controllers = Object.values(services).filter(({ image }) => image === "axion");
    const members = Object.keys(services).filter((name) => services[name]!.image !== "axion");
    expect([controllers.length, members.length]).toEqual([3, 3]);
    const published = new Set<string>();
    for (const { environment = {}, ports = [], depends_on = [] } of controllers) {
      const env = { ...environment, AXION_ADVERTISE: environment["AXION_ADVERTISE"]!.replace(/^\$\{AXION_HOST:\?[^}]*\}$/, "192.0.2.1") };
      expect(unknownVariables(env, apps)).toEqual([]);
      const config = parseConfig([], env, apps) as Config;
      const inside = ports.map((port) => Number(port.split(":").at(-1)));
      expect(inside).toEqual([config.ovsdb.port, config.openflow.port, config.api.port, config.ops.port]);
      // Hosts are told the controller's own port: outside it has to be the same. What asks nobody who he is is for this machine alone.
      for (const port of ports) expect(port).toMatch(/^(\d+):\1$|^127\.0\.0\.1:\d+:969[67]$/);
      for (const port of ports) published.add(port.split(":").slice(0, -1).join(":"));
      expect([...config.store.matchAll(/(etcd\d):2379/g)].map((m) => m[1])).toEqual(members);
      expect(depends_on).toEqual(members);
    }
    expect(published.size).toBe(12);
    expect(new Set(controllers.map(({ environment }) => environment!["AXION_NAME"])).size).toBe(3);
    for (const [name, { command = [] }] of Object.entries(services).filter(([name]) => members.includes(name))) {
      expect(command).toContain(`--name=${name}`);
      expect(command).toContain(`--initial-cluster=${members.map((one) => `${one}=http://${one}:2380`).join(",")}`);
    }
    expect(Object.values(services).flatMap((one) => one.volumes.map((volume) => volume.split(":")[0])).sort()).toEqual(Object.keys(volumes).sort());
  });
});

test("paths are seen from where the Debian package is asked for, also through npm", () => {
  const from = join(realpathSync(dir), "deb");
  mkdirSync(join(from, "out"), { recursive: true });
  const asked = (cwd: string, env: Record<string, string>, ...args: string[]): string => spawnSync("bash", [join(root, "packaging/deb/build.sh"), ...args], { cwd, env: { ...process.env, ...env }, encoding: "utf8" }).stderr;
  // Both folders are there: what is missing comes after.
  expect(asked(from, { npm_lifecycle_event: "" }, "--out", "out", "--archive", "no.tgz")).toBe(`axion: --archive: there is no file ${from}/no.tgz\n`);
  expect(asked(root, { npm_lifecycle_event: "deb", INIT_CWD: from }, "--out", "out", "--archive", "../no.tgz")).toBe(`axion: --archive: there is no file ${dirname(from)}/no.tgz\n`);
  expect(asked(from, { npm_lifecycle_event: "" }, "--out", "none", "--archive", "no.tgz")).toBe(`axion: --out: there is no folder ${from}/none\n`);
});
