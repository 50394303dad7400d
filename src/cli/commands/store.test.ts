// `axion store` by its words: what it says and how it ends.
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { keepFirstEdition } from "../../store/first-edition.ts";
import { openStore } from "../../store/open.ts";
import { runCommand } from "../program.ts";

const dir = mkdtempSync(join(tmpdir(), "axion-cli-store-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const dataDir = join(dir, "data");

async function run(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let [out, err] = ["", ""];
  const code = await runCommand(argv, {
    write: (text) => {
      out += text;
      return Promise.resolve();
    },
    error: (text) => (err += text),
  });
  return { code, out, err };
}

test("check, export, import, restore, compact", async () => {
  expect(await run("store", "check", "--data-dir", dataDir)).toEqual({ code: 1, out: "", err: `axion: there is no store in ${dataDir}; --data-dir or AXION_DATA_DIR names another directory\n` });
  await keepFirstEdition(dataDir);
  const store = await openStore("level:", { dataDir });
  for (const n of [1, 2]) await store.txn([], [{ put: "t/thing/a", value: Buffer.from(`{"row":{"id":"a","n":${n}}}`) }]);
  expect((await run("store", "check", "--data-dir", dataDir)).err).toMatch(/^axion: .* is in use by this process: one controller per data directory\n$/);
  await store.close();

  const checked = await run("store", "check", "--data-dir", dataDir);
  expect(checked.out).toMatch(new RegExp(`^store +${dataDir}/store\ngeneration +2\nhistory_from +1\nrows +1\nbytes +\\d+\nwhole +true\n$`));
  expect(JSON.parse((await run("store", "check", "--data-dir", dataDir, "--json")).out)).toMatchObject({ store: join(dataDir, "store"), generation: 2, history_from: 1, rows: 1, whole: true });

  const file = join(dir, "export");
  expect(await run("store", "export", file, "--data-dir", dataDir, "--json")).toEqual({ code: 0, out: `{"file":"${file}","generation":2,"rows":1}\n`, err: "" });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect((await run("store", "export", file, "--data-dir", dataDir)).err).toBe(`axion: ${file} is there already\n`);
  const direct = await run("store", "export", "--data-dir", dataDir);
  expect(direct.err).toBe("axion: exported 1 rows of generation 2\n");
  expect(direct.out.split("\n").slice(1, 2)).toEqual(readFileSync(file, "utf8").split("\n").slice(1, 2));
  const copy = join(dir, "copy");
  expect(JSON.parse((await run("store", "import", file, "--data-dir", copy, "--json")).out)).toEqual({ data_dir: copy, generation: 2, rows: 1 });
  expect((await run("store", "import", file, "--data-dir", copy)).err).toMatch(/^axion: .*copy is not empty \(it has .*\n$/);
  writeFileSync(file, readFileSync(file, "utf8").replace('"generation":2', '"generation":3'));
  expect((await run("store", "import", file, "--data-dir", join(dir, "other"))).err).toMatch(/^axion: line 3 of the export: the checksum .*\n$/);
  expect((await run("store", "import", join(dir, "nothing"), "--data-dir", join(dir, "other"))).err).toMatch(/^axion: cannot read .*nothing.*\n$/);

  expect(JSON.parse((await run("store", "restore", "1", "--data-dir", dataDir, "--json")).out)).toEqual({ restored: 1, generation: 3, rows: 1 });
  expect((await run("store", "restore", "0", "--data-dir", copy)).err).toBe("axion: generation 1 is no longer kept, the oldest is 3\n");
  expect(JSON.parse((await run("store", "compact", "--data-dir", dataDir, "--json")).out)).toMatchObject({ generation: 3, history_from: 1, rows: 1 });

  rmSync(join(dataDir, "store.witness"));
  const refused = await run("store", "check", "--data-dir", dataDir);
  expect(refused).toMatchObject({ code: 1, out: "" });
  expect(refused.err).toMatch(/^axion: .*its witness is missing.*generation 3.*--accept-loss 3 starts without them\n$/);
});

test("an export that fails leaves no file", async () => {
  const file = join(dir, "failed");
  expect((await run("store", "export", file, "--data-dir", join(dir, "nowhere"))).code).toBe(1);
  expect(existsSync(file)).toBe(false);
});

test("compact lets go of no history unless it is told how much is kept", async () => {
  const old = join(dir, "old");
  await keepFirstEdition(old);
  const store = await openStore("level:", { dataDir: old, keep: { ms: Infinity, bytes: Infinity } });
  for (let i = 0; i < 600; i++) await store.append(i, [{ ops: [{ put: "t/thing/a", value: Buffer.from(`${i}`) }], at: Date.now() - 60 * 86_400_000 }]);
  await store.close();
  const from = async (...argv: string[]): Promise<unknown> => (JSON.parse((await run("store", "compact", "--data-dir", old, "--json", ...argv)).out) as { history_from: unknown }).history_from;
  expect(await from()).toBe(1);
  expect(await from("--history-mb", "100")).toBe(1);
  expect(await from("--history-days", "30")).toBeGreaterThan(500);
});

test("help names every subcommand, and their options", async () => {
  const { code, out } = await run("store", "--help");
  expect(code).toBe(0);
  for (const name of ["check", "export", "import", "compact", "restore"]) {
    expect(out).toContain(`  ${name} `);
    const own = await run("store", name, "--help");
    expect(own.code).toBe(0);
    expect(own.out).toContain("--data-dir");
  }
});
