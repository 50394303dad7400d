// kill -9 at any moment is a normal stop: a process that writes is killed again and again, at moments from before its
// store is open to deep in its work; whatever it acknowledged must be there, whole, at the revision it was told.
// This shows that no state in between is ever left or misread; the loss of power itself it cannot show.

import { spawn } from "node:child_process";
import { cp, mkdir, readFile, readdir, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { expect, test } from "vitest";
import { StoreError } from "./errors.ts";
import { openStore } from "./open.ts";
import { list, withDir } from "./testing/backends.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const ROUNDS = process.env["AXION_NIGHTLY"] === "1" ? 200 : 10;
const COPIES = process.env["AXION_NIGHTLY"] === "1" ? 50 : 5;

/** The store and the writer as plain JavaScript in `dir`, with no build needed; answers the writer's path. */
async function transpile(dir: string): Promise<string> {
  const store = (await readdir(join(ROOT, "src/store"), { recursive: true })).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));
  const sources = store.map((name) => `src/store/${name}`);
  const options = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext, rewriteRelativeImportExtensions: true };
  for (const source of sources) {
    const text = await readFile(join(ROOT, source), "utf8");
    const { outputText } = ts.transpileModule(text, { compilerOptions: options, fileName: source });
    const target = join(dir, source.replace(/\.ts$/, ".js"));
    await mkdir(join(target, ".."), { recursive: true });
    await writeFile(target, outputText);
  }
  await writeFile(join(dir, "package.json"), `{ "type": "module" }`);
  await symlink(join(ROOT, "node_modules"), join(dir, "node_modules"));
  return join(dir, "src/store/testing/writer.js");
}

/** Runs the writer until killed, `afterMs` after it started or, where said, after its store was open; its lines. */
async function runAndKill(script: string, dataDir: string, from: "start" | "open", afterMs: number): Promise<string[]> {
  const child = spawn(process.execPath, [script, dataDir], { stdio: ["ignore", "pipe", "pipe"] });
  const exited = new Promise<NodeJS.Signals | null>((resolve) => child.once("close", (_code, signal) => resolve(signal)));
  let output = "";
  let errors = "";
  let timer: NodeJS.Timeout | undefined;
  const arm = (): void => void (timer ??= setTimeout(() => child.kill("SIGKILL"), afterMs));
  if (from === "start") arm();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    output += text;
    arm();
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (errors += text));
  const signal = await exited;
  clearTimeout(timer);
  expect({ signal, errors }).toEqual({ signal: "SIGKILL", errors: "" });
  return output.split("\n").slice(0, -1); // what has no line end yet was not said
}

test(`${ROUNDS} times kill -9: every acknowledged write is there`, { timeout: 30_000 + ROUNDS * 10_000 }, () =>
  withDir(async (dir) => {
    const script = await transpile(join(dir, "js"));
    const dataDir = join(dir, "data");
    const acknowledged = new Map<number, number>(); // number -> revision
    let revision = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const from = round % 4 === 0 ? "start" : "open";
      const afterMs = Math.random() * (from === "start" ? 250 : 200);
      const lines = await runAndKill(script, dataDir, from, afterMs);
      const when = `round ${round}, killed ${afterMs.toFixed(1)} ms after ${from}`;
      if (lines[0] !== undefined) expect(lines[0], when).toBe(`open ${revision}`);
      for (const line of lines.slice(1)) {
        const [at, number] = line.split(" ").map(Number);
        expect(at!, when).toBeGreaterThan(revision);
        expect(acknowledged.has(number!), when).toBe(false);
        acknowledged.set(number!, at!);
      }

      const store = await openStore("level:", { dataDir }); // reads and checks every record
      const last = Math.max(revision, ...lines.slice(1).map((line) => Number(line.split(" ")[0])));
      expect(store.revision, when).toBeGreaterThanOrEqual(last);
      revision = store.revision;
      const entries = new Map((await list(store)).map((entry) => [entry.key, entry]));
      for (const [number, at] of acknowledged) {
        const entry = entries.get(`a/${number}`);
        if (entry?.modRevision !== at) expect(entry, `${when}: ${number} was acknowledged at ${at}`).toBeDefined();
        if (entry?.modRevision !== at) expect(entry?.modRevision, `${when}: revision of ${number}`).toBe(at);
      }
      let whole = 0;
      const revisions = new Set<number>();
      for (const [key, entry] of entries) {
        if (!key.startsWith("a/")) continue;
        const other = entries.get(`b/${key.slice(2)}`);
        if (other === undefined || !other.value.equals(entry.value) || other.modRevision !== entry.modRevision) {
          expect.fail(`${when}: half a txn, ${key}`);
        }
        revisions.add(entry.modRevision);
        whole++;
      }
      // Each revision put one pair: as many pairs as revisions means that none is missing, twice there, or torn.
      expect([whole, revisions.size, entries.size], when).toEqual([revision, revision, 2 * revision + lanes(entries)]);
      if (round === ROUNDS - 1) {
        // Also the log: without a gap, and with what each change made.
        let next = store.oldest;
        for await (const { generation, changes } of store.history(next)) {
          expect(generation).toBe(next++);
          for (const { key, after } of changes) if (after === undefined) expect.fail(`${when}: the log lacks what ${key} became in ${generation}`);
        }
        expect(next).toBe(revision + 1);
      }
      await store.close();
    }
    expect(acknowledged.size).toBeGreaterThan(ROUNDS * 10);
  }),
);

test(`${COPIES} copies of a directory that is written to: each opens with all that was acknowledged before it was begun, or is refused and says so`, { timeout: 30_000 + COPIES * 15_000 }, () =>
  withDir(async (dir) => {
    const script = await transpile(join(dir, "js"));
    const dataDir = join(dir, "data");
    const child = spawn(process.execPath, [script, dataDir], { stdio: ["ignore", "pipe", "inherit"] });
    const exited = new Promise((resolve) => child.once("close", resolve));
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => (output += text));
    try {
      for (let i = 0; i < COPIES; i++) {
        await new Promise((done) => setTimeout(done, 100 + Math.random() * 300));
        const acknowledged = output.split("\n").slice(1, -1).map((line) => line.split(" ").map(Number));
        const copy = join(dir, `copy-${i}`);
        await cp(dataDir, copy, { recursive: true }).catch((error: unknown) => {
          if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // a file that went away meanwhile: part of what may happen
        });
        try {
          const store = await openStore("level:", { dataDir: copy });
          const keys = new Map((await list(store)).map((entry) => [entry.key, entry.modRevision]));
          for (const [revision, number] of acknowledged) if (keys.get(`a/${number!}`) !== revision) expect.fail(`copy ${i} lacks ${number!}, acknowledged at ${revision!}`);
          await store.close();
        } catch (error) {
          if (!(error instanceof StoreError)) throw error;
          expect(["LOSS", "CORRUPT"]).toContain(error.code);
          expect(error.message).toMatch(/generations? \d+/);
        }
        await rm(copy, { recursive: true, force: true });
      }
    } finally {
      child.kill("SIGKILL");
      await exited;
    }
    expect(output.split("\n").length).toBeGreaterThan(20);
  }),
);

const lanes = (entries: ReadonlyMap<string, unknown>): number =>
  [...entries.keys()].filter((key) => key.startsWith("lane/")).length;
