// What the process makes of its settings: how it starts, what it says when it cannot, how it ends.
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execFile, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { discoverApps } from "../boot/discover.ts";
import { version } from "../lib/version.ts";
import { openStore } from "../store/open.ts";
import { usage } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "axion-process-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const file = (name: string, text: string): string => {
  writeFileSync(join(dir, name), text);
  return join(dir, name);
};

describe("the process", () => {
  const repository = fileURLToPath(new URL("../..", import.meta.url));
  const main = join(repository, "dist/src/main.js");
  beforeAll(() => {
    if (!existsSync(main)) throw new Error(`not built (npm run build): ${main}`);
  });

  const anywhere = ["--api", "127.0.0.1:0", "--ops", "127.0.0.1:0", "--openflow", "127.0.0.1:0", "--ovsdb", "127.0.0.1:0"];
  const env = Object.fromEntries(Object.entries(process.env).filter(([n]) => !n.startsWith("AXION_")));

  function run(...args: string[]): Promise<{ code: number | string | null; out: string; err: string }> {
    return new Promise((resolve) => {
      execFile(process.execPath, [main, ...args], { cwd: dir, env, timeout: 20_000 }, (error, out, err) => resolve({ code: error === null ? 0 : (error.code ?? null), out, err }));
    });
  }

  test("--help: the flags on stdout, 0", async () => {
    expect(await run("--help")).toEqual({ code: 0, out: `${usage(120, await discoverApps(join(repository, "apps")))}\n`, err: "" });
  });

  test("--version: the version on stdout, 0", async () => {
    expect(await run("--version")).toEqual({ code: 0, out: `${version()}\n`, err: "" });
    expect(version()).toMatch(/^\d+\.\d+\.\d+$/);
  });

  test.each([
    [["--nothing"], "axion: unknown argument --nothing; --help lists the flags\n"],
    [["--api", "nowhere"], "axion: --api must be HOST:PORT, not nowhere\n"],
    [["--config", "nowhere.json"], "axion: --config: cannot read nowhere.json: no such file\n"],
  ])("%j: one line, 2", async (args, line) => {
    expect(await run(...args)).toEqual({ code: 2, out: "", err: line });
  });

  test.each([
    ["ghost", /^axion: --disable-app ghost: there is no app of that name; there are .*dhcp, .*l2, .*\n$/],
    ["l2", /^axion: --disable-app l2: .*\bipam\b.* require it; disable those as well\n$/],
  ])("--disable-app %s: one line, 2", async (name, line) => {
    const { code, err } = await run("--store", "memory:", ...anywhere, "--disable-app", name);
    expect(code).toBe(2);
    expect(err).toMatch(line);
  });

  test.each(["--api", "--ops", "--openflow", "--ovsdb"])("a port of %s that is taken: one line that names it, 1", async (flag) => {
    const holder = createServer().listen(0, "127.0.0.1");
    await once(holder, "listening");
    const { port } = holder.address() as AddressInfo;
    try {
      const { code, err } = await run("--store", "memory:", ...anywhere, flag, `127.0.0.1:${port}`);
      expect({ code, err }).toEqual({ code: 1, err: `axion: ${flag}: port ${port} on 127.0.0.1 is taken by another process\n` });
    } finally {
      holder.close();
    }
  });

  test("an address that is not of this host: one line, 1", async () => {
    const { code, err } = await run("--store", "memory:", ...anywhere, "--ops", "192.0.2.1:1", "--insecure");
    expect({ code, err }).toEqual({ code: 1, err: "axion: --ops: 192.0.2.1 is not an address of this host\n" });
  });

  test("TLS files that are not what they should be: one line that names the flag, 2", { tags: "long" }, async () => {
    const self = (name: string): Promise<unknown> =>
      new Promise((resolve) => execFile("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", `/CN=${name}`, "-keyout", `${name}.key`, "-out", `${name}.crt`], { cwd: dir }, resolve));
    await Promise.all([self("a"), self("b")]);
    const start = async (cert: string, key: string, ca: string): Promise<string> => {
      const { code, err } = await run("--store", "memory:", ...anywhere, "--tls-cert", cert, "--tls-key", key, "--tls-ca", ca);
      expect(code).toBe(2);
      expect(err).toMatch(/^axion: .*\n$/);
      return err;
    };
    expect(await start(file("cert.pem", "the cert"), "a.key", "a.crt")).toContain("--tls-cert: not a certificate in PEM form");
    expect(await start("a.crt", "a.crt", "a.crt")).toContain("--tls-key: not a private key");
    expect(await start("a.crt", "a.key", "a.key")).toContain("--tls-ca: not a certificate in PEM form");
    expect(await start("a.crt", "b.key", "a.crt")).toContain("--tls-key is not the key of --tls-cert");
  });

  test("a host name that nobody knows: one line, 1", async () => {
    const { code, err } = await run("--store", "memory:", ...anywhere, "--ops", "nowhere.invalid:1", "--insecure");
    expect({ code, err }).toEqual({ code: 1, err: "axion: --ops: nowhere.invalid is not a known host name\n" });
  });

  test("requests on their way when it is told to end are answered", async () => {
    const child = spawn(process.execPath, [main, "--store", "memory:", ...anywhere, "--api", "127.0.0.1:0"], { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
    try {
      let log = "";
      await new Promise<void>((resolve) => child.stdout.on("data", (chunk: Buffer) => { log += chunk.toString(); if (log.includes('"msg":"ready"')) resolve(); }));
      const { api } = JSON.parse(log.split("\n").find((l) => l.includes('"msg":"ready"'))!) as { api: { port: number } };
      const agent = new Agent({ keepAlive: true, maxSockets: 16 });
      const outcomes: Record<string, number> = {};
      const ask = (): Promise<string> => new Promise((resolve) => {
        const asked = request({ host: "127.0.0.1", port: api.port, method: "POST", path: "/v2.0/networks", agent }, (answer) => { answer.resume().on("end", () => resolve(String(answer.statusCode))); });
        // A new connection that was never accepted is refused, or reset as well.
        asked.on("error", (error: NodeJS.ErrnoException) => resolve(asked.reusedSocket ? (error.code ?? error.message) : "REFUSED"));
        asked.end('{"network":{}}');
      });
      const clients = Array.from({ length: 16 }, async () => {
        for (let last = ""; last !== "REFUSED"; outcomes[last] = (outcomes[last] ?? 0) + 1) last = await ask();
      });
      await new Promise((done) => setTimeout(done, 300));
      child.kill("SIGTERM");
      await Promise.all(clients);
      agent.destroy();
      expect(Object.keys(outcomes).sort()).toEqual(["201", "REFUSED"]);
    } finally {
      child.kill("SIGKILL");
    }
  });

  test.each(["nothing:", "etcd://127.0.0.1:2379:1"])("a store %s that there is not: one line that names the flag, 2", async (url) => {
    const { code, err } = await run("--store", url, ...anywhere);
    expect(code).toBe(2);
    expect(err).toMatch(/^axion: --store.*\n$/);
  });

  test("an etcd that nobody reaches: one line that names it, 1", { tags: "long" }, async () => {
    const { code, err } = await run("--store", "etcd://127.0.0.1:1,127.0.0.1:2", ...anywhere);
    expect(code).toBe(1);
    expect(err).toMatch(/^axion: --store etcd:\/\/127\.0\.0\.1:1,127\.0\.0\.1:2: etcd at 127\.0\.0\.1:[12] cannot be used: .*ECONNREFUSED.*\n$/);
  });

  test("a corrupt store: one line that names the folder, 1", async () => {
    const dataDir = join(dir, "corrupt");
    const store = await openStore("level:", { dataDir });
    await store.txn([], [{ put: "t/chassis/h1", value: Buffer.from("{}") }]);
    await store.close();
    writeFileSync(join(dataDir, "store", "CURRENT"), "garbage");
    const { code, err } = await run("--data-dir", dataDir, ...anywhere);
    expect(code).toBe(1);
    expect(err).toMatch(/^axion: .*\n$/);
    expect(err).toContain(join(dataDir, "store"));
  });

  test("networks acknowledged, kill -9, bytes of the journal damaged: the start refuses and names the generation; with --accept-loss it has what is whole", { tags: "long", timeout: 60_000 }, async () => {
    const dataDir = join(dir, "damaged");
    const started = async (...args: string[]) => {
      const child = spawn(process.execPath, [main, "--data-dir", dataDir, ...anywhere, ...args], { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
      let log = "";
      child.stdout.setEncoding("utf8").on("data", (text: string) => (log += text));
      const until = Date.now() + 20_000;
      while (!log.includes('"msg":"ready"')) {
        if (child.exitCode !== null || Date.now() > until) throw new Error(`not ready: ${log}`);
        await new Promise((done) => setTimeout(done, 20));
      }
      const port = Number(/"api":\{?"?[^}]*?:(\d+)/.exec(log)?.[1]);
      const ops = Number(/"ops":\{?"?[^}]*?:(\d+)/.exec(log)?.[1]);
      return { child, log: () => log, url: `http://127.0.0.1:${port}/v2.0/networks`, ops: `http://127.0.0.1:${ops}` };
    };
    const first = await started();
    const generations: number[] = [];
    for (let i = 0; i < 5; i++) {
      const answer = await fetch(first.url, { method: "POST", body: JSON.stringify({ network: { name: `n${i}` } }) });
      expect(answer.status).toBe(201);
      generations.push(Number(answer.headers.get("x-axion-generation")));
    }
    for (const [i, generation] of generations.entries()) {
      const { call, changes } = (await (await fetch(`${first.ops}/history/${generation}`)).json()) as { call: string; changes: { type: string; after: { name?: string } }[] };
      expect([call, changes.filter((change) => change.type === "network").map((change) => change.after.name)]).toEqual(["POST /v2.0/networks", [`n${i}`]]);
    }
    const killed = once(first.child, "exit");
    first.child.kill("SIGKILL");
    await killed;

    const store = join(dataDir, "store");
    const journal = join(store, readdirSync(store).filter((name) => name.endsWith(".log")).sort().at(-1)!);
    const bytes = readFileSync(journal);
    bytes.fill(0x55, bytes.length - 3000, bytes.length - 2992);
    writeFileSync(journal, bytes);
    const { code, out, err } = await run("--data-dir", dataDir, ...anywhere);
    expect({ code, ready: out.includes('"msg":"ready"') }).toEqual({ code: 1, ready: false });
    expect(err).toMatch(/^axion: .*acknowledged changes of generations \d+ to \d+ are missing\. --accept-loss \d+ starts without them\n$/);
    expect(Number(/to (\d+) are/.exec(err)![1])).toBeGreaterThanOrEqual(generations.at(-1)!);
    const whole = Number(/--accept-loss (\d+)/.exec(err)![1]);
    expect((await run("--data-dir", dataDir, ...anywhere, "--accept-loss", String(whole + 1))).code).toBe(1);

    const again = await started("--accept-loss", String(whole));
    const { networks } = (await (await fetch(again.url)).json()) as { networks: { name: string }[] };
    expect(networks.map(({ name }) => name).sort()).toEqual(generations.flatMap((generation, i) => (generation <= whole ? [`n${i}`] : [])));
    expect(again.log()).toContain("a loss of acknowledged changes is accepted");
    const ended = once(again.child, "exit");
    again.child.kill("SIGTERM");
    expect((await ended)[0]).toBe(0);
    expect(readdirSync(dataDir).some((name) => name.startsWith("store.lost-"))).toBe(true);
  });

  test("a record in the store that is no row: one line that names its key, 1", async () => {
    const dataDir = join(dir, "garbage");
    const store = await openStore("level:", { dataDir });
    await store.txn([], [{ put: "t/chassis/h1", value: Buffer.from("{") }]);
    await store.close();
    const { code, err } = await run("--data-dir", dataDir, ...anywhere);
    expect({ code, err }).toEqual({ code: 1, err: "axion: the store's record t/chassis/h1 is not JSON\n" });
  });

  test("a data folder that cannot be made: one line, 1", async () => {
    const { code, err } = await run("--data-dir", join(file("plain", ""), "data"), ...anywhere);
    expect(code).toBe(1);
    expect(err).toMatch(/^axion: .*plain.*\n$/);
  });

  test.each(["/proc/axion/data", "/dev/null/data", `/tmp/${"x".repeat(300)}`])("a data folder %s that nobody can make: one line, 1", async (dataDir) => {
    const { code, err } = await run("--data-dir", dataDir, ...anywhere);
    expect(code).toBe(1);
    expect(err).toMatch(/^axion: cannot use .*\n$/);
    expect(err).toContain(dataDir);
  });

  test("an ops listener that is not on loopback wants a token: one line, 2; a file that holds none: one line, 1", { tags: "long" }, async () => {
    expect(await run("--store", "memory:", ...anywhere, "--ops", "0.0.0.0:0")).toEqual({
      code: 2, out: "", err: "axion: --ops 0.0.0.0:0: anyone who reaches this address sees all and can remove hosts; give --ops-token-file, or --insecure if that is meant\n",
    });
    const { code, err } = await run("--store", "memory:", ...anywhere, "--ops", "0.0.0.0:0", "--ops-token-file", file("short-token", "short\n"));
    expect({ code, err }).toEqual({ code: 1, err: `axion: the file of the ops token ${join(dir, "short-token")}: must hold one token of 16 to 1024 printable characters without spaces\n` });
  });

  test("a data folder that another controller has: one line, 1; SIGTERM and SIGINT end the first with 0", { tags: "long" }, async () => {
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      const dataDir = join(dir, `shared-${signal}`);
      mkdirSync(dataDir);
      const first = spawn(process.execPath, [main, "--data-dir", dataDir, ...anywhere], { cwd: dir, env, stdio: ["ignore", "pipe", "inherit"] });
      try {
        let log = "";
        const ended = once(first, "exit");
        await new Promise<void>((resolve, reject) => {
          first.stdout.on("data", (chunk: Buffer) => {
            log += chunk.toString();
            if (log.includes('"msg":"ready"')) resolve();
          });
          first.on("exit", () => reject(new Error(`ended: ${log}`)));
        });
        const { code, err } = await run("--data-dir", dataDir, ...anywhere);
        expect(code).toBe(1);
        expect(err).toMatch(/^axion: .*\n$/);
        first.kill(signal);
        expect(await ended).toEqual([0, null]);
        expect(log).toContain('"msg":"stopping"');
      } finally {
        first.kill("SIGKILL");
      }
    }
  });
});
