// The controller and the demo under signals, however they were started: they end in order, and nothing of them is left.
import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { connect as tlsConnect } from "node:tls";
import path from "node:path";
import { afterAll, afterEach, expect, test } from "vitest";
import { repositoryRoot } from "../../../lab/controller.ts";
import { alive, exec, until } from "../../../lab/exec.ts";
import { certificates } from "../../../src/southbound/testing/certificates.ts";
import { nightly } from "../../support/process.ts";

const dir = mkdtempSync(path.join(tmpdir(), "axion-start-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const root = repositoryRoot();
const TIMEOUT_MS = 120_000;

/** The unit's command line, with the paths of this machine. */
function unitCommand(): string[] {
  const unit = readFileSync(path.join(root, "packaging/systemd/axion.service"), "utf8");
  const line = /^ExecStart=(.*)$/m.exec(unit)![1]!;
  return line.replace("/usr/bin/node", process.execPath).replace("/opt/axion", root).replace(/ --config .*/, "").split(" ");
}

const ways: Readonly<Record<string, readonly string[]>> = {
  "npm start": ["npm", "start", "--"],
  "axion start": [process.execPath, path.join(root, "bin/axion.js"), "start"],
  "the unit's command": unitCommand(),
  "node main.js": [process.execPath, path.join(root, "dist/src/main.js")],
};

interface Launched {
  readonly child: ChildProcess;
  /** Its output so far. */
  readonly out: () => string;
  /** Resolves when its output has this. */
  readonly seen: (what: string) => Promise<void>;
  /** Exit code and signal of what was started; its output is at its end. */
  readonly ended: Promise<unknown>;
}

interface Started extends Launched {
  /** Of the controller, which npm has as a child. */
  readonly pid: number;
  readonly api: number;
}

const started = new Set<ChildProcess>();
afterEach(() => {
  for (const child of started) {
    try {
      process.kill(-child.pid!, "SIGKILL"); // the group: also what was left behind
    } catch {
      // all of it has ended
    }
  }
  started.clear();
});

/** A group of its own, as a service manager makes it. */
function launch(command: readonly string[], env: Record<string, string> = {}): Launched {
  const child = spawn(command[0]!, command.slice(1), { cwd: root, env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"], detached: true });
  started.add(child);
  const ended = once(child, "close");
  let out = "";
  child.stdout.on("data", (chunk: Buffer) => (out += chunk.toString()));
  return {
    child, ended, out: () => out,
    seen: (what) => until(what, () => {
      if (child.exitCode !== null || child.signalCode !== null) throw new Error(`ended: ${out}`);
      return out.includes(what);
    }, { timeoutMs: TIMEOUT_MS }).then(() => undefined),
  };
}

let runs = 0;
async function start(way: string, flags: readonly string[] = []): Promise<Started> {
  const data = path.join(dir, String(runs++));
  mkdirSync(data);
  const made = launch([...ways[way]!, "--data-dir", data, "--ops", "127.0.0.1:0", "--openflow", "127.0.0.1:0", "--ovsdb", "127.0.0.1:0", ...flags], { AXION_API: "127.0.0.1:0", AXION_NAME: "by-test" });
  await made.seen('"msg":"ready"');
  const { stdout } = await exec(["ps", "-eo", "pid=,args="]);
  const line = stdout.split("\n").find((one) => one.includes(data) && / *\d+ \S*node /.test(one) && !one.includes("npm"))!;
  const { api } = JSON.parse(made.out().split("\n").find((one) => one.includes('"msg":"ready"'))!) as { api: { port: number } };
  return { ...made, pid: Number.parseInt(line, 10), api: api.port };
}

/** Nothing runs, nothing listens. */
async function nothingLeft({ pid, api }: Started): Promise<void> {
  expect(await alive(pid)).toBe(false);
  const error = await new Promise<NodeJS.ErrnoException | undefined>((resolve) => connect(api, "127.0.0.1", () => resolve(undefined)).on("error", resolve));
  expect(error?.code).toBe("ECONNREFUSED");
}

for (const way of Object.keys(ways)) for (const signal of nightly || way === "npm start" ? (["SIGTERM", "SIGINT"] as const) : (["SIGTERM"] as const)) test(`${way}: ${signal} ends it with 0, settings of the environment and of a flag in force`, { timeout: TIMEOUT_MS, ...(way !== "npm start" && { tags: "long" }) }, async () => {
  const run = await start(way);
  expect(run.out()).toContain('"name":"by-test"');
  run.child.kill(signal);
  expect(await run.ended).toEqual([0, null]);
  expect(run.out()).toContain(`"signal":"${signal}","msg":"stopping"`);
  await nothingLeft(run);
});

for (const signal of ["SIGHUP", "SIGKILL"] as const) test(`npm start: ${signal} ends npm, and the controller after it in order`, { timeout: TIMEOUT_MS, ...(signal === "SIGHUP" && { tags: "long" }) }, async () => {
  const run = await start("npm start");
  run.child.kill(signal);
  await run.ended;
  await until("the end of the controller", async () => !(await alive(run.pid)));
  expect(run.out()).toContain('"signal":"npm ended","msg":"stopping"');
  await nothingLeft(run);
});

test.each(["axion start", "the unit's command", "node main.js"])("%s: SIGHUP has files read again", { tags: "long", timeout: TIMEOUT_MS }, async (way) => {
  const tokens = path.join(dir, `tokens-${runs}.yaml`);
  writeFileSync(tokens, "- {token: 0123456789abcdef, project_id: p, roles: [member]}\n");
  const run = await start(way, ["--auth", "tokens", "--tokens", tokens]);
  const status = (token: string): Promise<number> => fetch(`http://127.0.0.1:${run.api}/v2.0/networks`, { headers: { "x-auth-token": token } }).then((answer) => answer.status);
  expect(await status("fedcba9876543210")).toBe(401);
  writeFileSync(tokens, "- {token: fedcba9876543210, project_id: p, roles: [member]}\n");
  run.child.kill("SIGHUP");
  await until("the new token", async () => (await status("fedcba9876543210")) === 200);
  expect(run.out()).toContain('"msg":"asked to read files again"');
  expect(await status("0123456789abcdef")).toBe(401);
  run.child.kill("SIGTERM");
  expect(await run.ended).toEqual([0, null]);
});

test("certificates that were renewed are taken, at SIGHUP or without; what cannot be used leaves those before", { tags: "long", timeout: TIMEOUT_MS }, async () => {
  await certificates(dir, "ca", ["old", "new", "host"]);
  const use = (name: string): void => ["pem", "key"].forEach((kind) => copyFileSync(path.join(dir, `${name}.${kind}`), path.join(dir, `own.${kind}`)));
  use("old");
  const run = await start("axion start", ["--tls-cert", path.join(dir, "own.pem"), "--tls-key", path.join(dir, "own.key"), "--tls-ca", path.join(dir, "ca.pem")]);
  const { openflow, ovsdb } = JSON.parse(run.out().split("\n").find((one) => one.includes('"msg":"ready"'))!) as Record<"openflow" | "ovsdb", { port: number }>;
  const pem = (name: string): Buffer => readFileSync(path.join(dir, name));
  const shown = (): Promise<string[]> => Promise.all([openflow, ovsdb].map(async ({ port }) => {
    const socket = tlsConnect({ port, host: "127.0.0.1", ca: pem("ca.pem"), cert: pem("host.pem"), key: pem("host.key"), checkServerIdentity: () => undefined });
    await once(socket, "secureConnect");
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return String(subject.CN);
  }));
  expect(await shown()).toEqual(["old", "old"]);
  for (const name of ["new", "old", "new"]) {
    use(name);
    if (name === "old") run.child.kill("SIGHUP");
    await until("the new certificate", async () => (await shown()).every((one) => one === name));
  }
  writeFileSync(path.join(dir, "own.key"), "none");
  run.child.kill("SIGHUP");
  await run.seen("certificates stay as they were");
  expect(run.out()).toContain('"reason":"--tls-key: not a private key');
  expect(await shown()).toEqual(["new", "new"]);
  run.child.kill("SIGTERM");
  expect(await run.ended).toEqual([0, null]);
});

/** A request that has begun and will not end. */
async function half(port: number): Promise<() => void> {
  const socket = connect(port, "127.0.0.1").on("error", () => undefined);
  await once(socket, "connect");
  socket.write("POST /v2.0/networks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 100\r\n\r\n{");
  await new Promise((done) => setTimeout(done, 100));
  return () => socket.destroy();
}

test("a request that does not end does not hold the end up for long", async () => {
  const run = await start("node main.js");
  const drop = await half(run.api);
  run.child.kill("SIGTERM");
  expect(await run.ended).toEqual([0, null]);
  drop();
}, TIMEOUT_MS);

test("a second signal ends it at once", async () => {
  const run = await start("node main.js");
  const drop = await half(run.api);
  run.child.kill("SIGTERM");
  await run.seen('"msg":"stopping"');
  run.child.kill("SIGTERM"); // npm and a terminal's group say the same twice
  run.child.kill("SIGINT");
  expect(await run.ended).toEqual([130, null]);
  drop();
}, TIMEOUT_MS);

test("its terminal closed: it ends in order", async () => {
  const data = path.join(dir, "terminal");
  const log = path.join(dir, "terminal.log");
  const command = [...ways["node main.js"]!, "--data-dir", data, ...["api", "ops", "openflow", "ovsdb"].flatMap((flag) => [`--${flag}`, "127.0.0.1:0"])];
  // the terminal closes when python ends
  const script = "import os,pty,sys\npid,fd=pty.fork()\nif pid==0:\n  os.dup2(os.open(sys.argv[1],os.O_WRONLY|os.O_CREAT),1)\n  os.execv(sys.argv[2],sys.argv[2:])\nprint(pid,flush=True)\nsys.stdin.read()";
  const python = spawn("python3", ["-c", script, log, ...command], { stdio: ["pipe", "pipe", "inherit"], detached: true });
  started.add(python);
  const pid = Number(String(((await once(python.stdout, "data")) as [Buffer])[0]));
  await until("ready", () => existsSync(log) && readFileSync(log, "utf8").includes('"msg":"ready"'), { timeoutMs: TIMEOUT_MS });
  python.stdin.end();
  await until("the end of the controller", async () => !(await alive(pid)));
  expect(readFileSync(log, "utf8")).toContain('"signal":"SIGHUP","msg":"stopping"');
}, TIMEOUT_MS);

test("the unit is one that systemd takes", async () => {
  const unit = path.join(dir, "axion.service");
  writeFileSync(unit, readFileSync(path.join(root, "packaging/systemd/axion.service"), "utf8").replace("/usr/bin/node", process.execPath));
  const said = await new Promise<string>((resolve) => execFile("systemd-analyze", ["verify", unit], (error, out, err) => resolve((error as NodeJS.ErrnoException | null)?.code === "ENOENT" ? "" : out + err)));
  expect(said.split("\n").filter((line) => line.includes("axion.service") && !line.includes("documentation"))).toEqual([]);
}, TIMEOUT_MS);

/** Namespaces, files and processes that bear the name of a run of the lab. */
async function leftOfLab(name: string): Promise<string[]> {
  const [spaces, processes, files] = await Promise.all([exec(["ip", "netns"]), exec(["ps", "-eo", "pid,args"]), exec(["ls", "/tmp", "/etc/netns"], { allowFailure: true })]);
  return [spaces, processes, files].flatMap(({ stdout }) => stdout.split("\n")).filter((line) => line.includes(name));
}

for (const signal of ["SIGTERM", "SIGHUP"] as const) test(`npm run demo: ${signal} for npm removes everything`, { timeout: TIMEOUT_MS, ...(signal === "SIGHUP" && { tags: "long" }) }, async () => {
  const run = launch(["npm", "run", "demo", "--", "--check"]);
  await run.seen("hypervisors, each");
  const demo = (await exec(["ps", "-eo", "pid=,pgid=,args="])).stdout.split("\n").map((line) => /^ *(\d+) +(\d+) +(.*)$/.exec(line)).find((match) => Number(match?.[2]) === run.child.pid && match?.[3]?.includes("lab/demo.js") === true && /^\S*node /.test(match[3]))!;
  const name = `ax${demo[1]!}`;
  expect(await leftOfLab(name)).not.toEqual([]);
  run.child.kill(signal);
  await run.ended;
  await until("nothing left", async () => (await leftOfLab(name)).length === 0 && !(await alive(Number(demo[1]))), { timeoutMs: 30_000 });
});
