// `axion store ...`: the data directory of a controller that does not run, or a store in etcd. A new subcommand is one more `group.command`.
import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Option, type Command } from "commander";
import { storeOf } from "../../config/store.ts";
import { UsageError } from "../../lib/usage-error.ts";
import { checkStore, compactStore, copyStore, exportStore, importStore, restoreStore, type Place, type StoreReport } from "../../store/admin.ts";
import { StoreError } from "../../store/errors.ts";
import { record } from "../table.ts";

/** What the subcommands write with. */
export interface StoreCall {
  readonly json: boolean;
  readonly write: (text: string) => Promise<void>;
  /** A line beside what is written. */
  readonly warn: (text: string) => void;
}

interface Where extends EtcdFlags {
  readonly dataDir: string;
  readonly store?: string;
}

interface EtcdFlags {
  readonly storeCa?: string;
  readonly storeCert?: string;
  readonly storeKey?: string;
  readonly storeUser?: string;
  readonly storePasswordFile?: string;
}

const ETCD_FLAGS = [
  ["store-ca <file>", "CA that etcd's certificate is verified against"], ["store-cert <file>", "certificate shown to etcd"], ["store-key <file>", "its private key"],
  ["store-user <name>", "user of etcd"], ["store-password-file <file>", "file with that user's password"],
] as const;

/** @throws UsageError */
function etcdOf(url: string, flags: EtcdFlags, where: string): Place {
  const given = { store: url, "store-ca": flags.storeCa, "store-cert": flags.storeCert, "store-key": flags.storeKey, "store-user": flags.storeUser, "store-password-file": flags.storePasswordFile };
  const { store, etcd } = storeOf((name) => given[name], (name) => (name === "store" ? where : `--${name}`));
  if (store === "memory:") throw new UsageError(`${where} memory: ends with its controller: there is nothing to work on`);
  return { url: store, etcd };
}

/** @throws UsageError */
const placeOf = (where: Where): Place => (where.store === undefined || where.store === "level:" ? where.dataDir : etcdOf(where.store, where, "--store"));

/** One end of a copy: level:DIR, or etcd. @throws UsageError */
function endOf(end: string, name: string, flags: EtcdFlags): Place {
  if (!end.startsWith("level:")) return etcdOf(end, flags, name);
  if (end === "level:") throw new UsageError(`${name} level: is of no directory: level:DIR is expected`);
  return end.slice("level:".length);
}

/** The group, for commands below it that ask a running controller. */
export function storeCommands(program: Command, call: () => StoreCall, finish: (code: number) => void): Command {
  const group = program.command("store").description("check, write out, read in, copy, compact a store or take changes back, while no controller runs on its directory; or accept what a running one has");
  group.helpCommand(false);
  const withEtcd = (command: Command): Command => {
    for (const [flag, about] of ETCD_FLAGS) command.addOption(new Option(`--${flag}`, about).env(`AXION_${flag.split(" ")[0]!.toUpperCase().replaceAll("-", "_")}`));
    return command;
  };
  const command = (name: string, about: string): Command =>
    withEtcd(group.command(name).description(about).addOption(new Option("--data-dir <dir>", "data directory of the controller").env("AXION_DATA_DIR").default("./data")).addOption(new Option("--store <url>", "etcd://HOST:2379,... in place of the data directory").env("AXION_STORE")));
  const said = async (values: Readonly<Record<string, unknown>>): Promise<void> => {
    const { json, write } = call();
    await write(json ? `${JSON.stringify(values)}\n` : record(values));
    finish(0);
  };
  const shown = ({ dir, generation, oldest, rows, bytes }: StoreReport): Record<string, unknown> => ({ store: dir, generation, history_from: oldest > generation ? null : oldest, rows, bytes });

  command("check", "read all of it as a start does: is it whole, and up to which generation?").action(async (where: Where) => said({ ...shown(await checkStore(placeOf(where))), whole: true }));

  command("export", "write the rows as text, JSON lines with a checksum at the end; the history is not part of it")
    .argument("[file]", "a new file; without it, the output")
    .action(async (file: string | undefined, where: Where) => {
      const place = placeOf(where);
      const { json, write, warn } = call();
      if (file === undefined) {
        const { generation, rows } = await exportStore(place, write);
        warn(`exported ${rows} rows of generation ${generation}`);
        finish(0);
        return;
      }
      const done = await toNewFile(file, (out) => exportStore(place, out));
      await write(json ? `${JSON.stringify({ file, ...done })}\n` : record({ file, ...done }));
      finish(0);
    });

  command("import", "make a new store of an export")
    .argument("<file>", "what `axion store export` wrote; - for the input")
    .action(async (file: string, where: Where) => {
      const place = placeOf(where);
      await said({ ...(typeof place === "string" ? { data_dir: place } : { store: place.url }), ...(await importStore(place, linesOf(file))) });
    });

  withEtcd(group.command("copy").description("make a new store of the rows of another, as they are at one instant, and compare the two; the history is not part of it"))
    .argument("<from>", "level:DIR or etcd://HOST:2379,...")
    .argument("<to>", "likewise, where no store is yet")
    .action(async (from: string, to: string, flags: EtcdFlags) => said({ from, to, ...(await copyStore(endOf(from, "FROM", flags), endOf(to, "TO", flags))) }));

  // No defaults: what the controller keeps is in its own configuration, which is not read here.
  command("compact", "let go of the room of what was overwritten and deleted, and of history beyond what is to be kept if that is said")
    .addOption(new Option("--history-days <days>", "how long changes are kept; without it, however old").env("AXION_HISTORY_DAYS"))
    .addOption(new Option("--history-mb <mb>", "how much of them is kept at most; without it, however much").env("AXION_HISTORY_MB"))
    .action(async ({ historyDays, historyMb, ...where }: Where & { historyDays?: string; historyMb?: string }) => {
      const keep = {
        ms: historyDays === undefined ? Infinity : whole("--history-days", historyDays, 36_500) * 86_400_000,
        bytes: historyMb === undefined ? Infinity : whole("--history-mb", historyMb, 1_048_576) * 1024 * 1024,
      };
      const report = await compactStore(placeOf(where), keep);
      await said({ ...shown(report), bytes_before: report.before });
    });

  command("restore", "make all resources again what they were at a generation of the history, as one more change")
    .argument("<generation>", "which one; axion history and GET /history tell them")
    .action(async (generation: string, where: Where) => {
      if (!/^\d{1,14}$/.test(generation)) throw new UsageError(`a generation is a whole number, not ${generation === "" ? "empty" : generation}`);
      await said({ ...(await restoreStore(placeOf(where), Number(generation))) });
    });
  return group;
}

function whole(name: string, value: string, max: number): number {
  if (!/^\d{1,9}$/.test(value) || Number(value) < 1 || Number(value) > max) throw new UsageError(`${name} must be a whole number from 1 to ${max}, not ${value === "" ? "empty" : value}`);
  return Number(value);
}

/** The file is on disk when it resolves; one that fails is not left. */
async function toNewFile<T>(path: string, work: (write: (text: string) => Promise<void>) => Promise<T>): Promise<T> {
  const file = await open(path, "wx", 0o600).catch((error: unknown) => {
    const { code, message } = error as NodeJS.ErrnoException;
    throw new StoreError("IO", code === "EEXIST" ? `${path} is there already` : `cannot write ${path}: ${message}`, {}, error);
  });
  try {
    const result = await work(async (text) => {
      await file.appendFile(text); // all of it: write() may stop short
    });
    await file.sync();
    return result;
  } catch (error) {
    await rm(path, { force: true }).catch(() => undefined); // why it failed says more
    throw error;
  } finally {
    await file.close();
  }
}

async function* linesOf(file: string): AsyncGenerator<string> {
  const input: Readable = file === "-" ? process.stdin : createReadStream(file);
  try {
    const failed = new Promise<never>((_, reject) => input.once("error", (error: Error) => reject(new StoreError("IO", `cannot read ${file}: ${error.message}`, {}, error))));
    failed.catch(() => undefined);
    const lines = createInterface({ input, crlfDelay: Infinity })[Symbol.asyncIterator]();
    for (;;) {
      const next = await Promise.race([lines.next(), failed]);
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    input.destroy();
  }
}
