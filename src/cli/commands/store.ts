// `axion store ...`: the store of a controller that does not run. A new subcommand is one more `group.command`.
import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { Option, type Command } from "commander";
import { UsageError } from "../../lib/usage-error.ts";
import { checkStore, compactStore, exportStore, importStore, restoreStore, type StoreReport } from "../../store/admin.ts";
import { StoreError } from "../../store/errors.ts";
import { record } from "../table.ts";

/** What the subcommands write with. */
export interface StoreCall {
  readonly json: boolean;
  readonly write: (text: string) => Promise<void>;
  /** A line beside what is written. */
  readonly warn: (text: string) => void;
}

interface Where {
  readonly dataDir: string;
}

/** The group, for commands below it that ask a running controller. */
export function storeCommands(program: Command, call: () => StoreCall, finish: (code: number) => void): Command {
  const group = program.command("store").description("check, write out, read in, compact a store or take changes back, while no controller runs on it; or accept what a running one has");
  group.helpCommand(false);
  const command = (name: string, about: string): Command =>
    group.command(name).description(about).addOption(new Option("--data-dir <dir>", "data directory of the controller").env("AXION_DATA_DIR").default("./data"));
  const said = async (values: Readonly<Record<string, unknown>>): Promise<void> => {
    const { json, write } = call();
    await write(json ? `${JSON.stringify(values)}\n` : record(values));
    finish(0);
  };
  const shown = ({ dir, generation, oldest, rows, bytes }: StoreReport): Record<string, unknown> => ({ store: dir, generation, history_from: oldest > generation ? null : oldest, rows, bytes });

  command("check", "read all of it as a start does: is it whole, and up to which generation?").action(async ({ dataDir }: Where) => said({ ...shown(await checkStore(dataDir)), whole: true }));

  command("export", "write the rows as text, JSON lines with a checksum at the end; the history is not part of it")
    .argument("[file]", "a new file; without it, the output")
    .action(async (file: string | undefined, { dataDir }: Where) => {
      const { json, write, warn } = call();
      if (file === undefined) {
        const { generation, rows } = await exportStore(dataDir, write);
        warn(`exported ${rows} rows of generation ${generation}`);
        finish(0);
        return;
      }
      const done = await toNewFile(file, (out) => exportStore(dataDir, out));
      await write(json ? `${JSON.stringify({ file, ...done })}\n` : record({ file, ...done }));
      finish(0);
    });

  command("import", "make a new data directory of an export")
    .argument("<file>", "what `axion store export` wrote; - for the input")
    .action(async (file: string, { dataDir }: Where) => said({ data_dir: dataDir, ...(await importStore(dataDir, linesOf(file))) }));

  // No defaults: what the controller keeps is in its own configuration, which is not read here.
  command("compact", "let go of the room of what was overwritten and deleted, and of history beyond what is to be kept if that is said")
    .addOption(new Option("--history-days <days>", "how long changes are kept; without it, however old").env("AXION_HISTORY_DAYS"))
    .addOption(new Option("--history-mb <mb>", "how much of them is kept at most; without it, however much").env("AXION_HISTORY_MB"))
    .action(async ({ dataDir, historyDays, historyMb }: Where & { historyDays?: string; historyMb?: string }) => {
      const keep = {
        ms: historyDays === undefined ? Infinity : whole("--history-days", historyDays, 36_500) * 86_400_000,
        bytes: historyMb === undefined ? Infinity : whole("--history-mb", historyMb, 1_048_576) * 1024 * 1024,
      };
      const report = await compactStore(dataDir, keep);
      await said({ ...shown(report), bytes_before: report.before });
    });

  command("restore", "make all resources again what they were at a generation of the history, as one more change")
    .argument("<generation>", "which one; axion history and GET /history tell them")
    .action(async (generation: string, { dataDir }: Where) => {
      if (!/^\d{1,14}$/.test(generation)) throw new UsageError(`a generation is a whole number, not ${generation === "" ? "empty" : generation}`);
      await said({ ...(await restoreStore(dataDir, Number(generation))) });
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
