// Writes to a store as the model does, for `bench -- store`: run as a process of its own with the store of the build that is measured.
//
//   node store-writer.js OPEN_JS DIR       a line of JSON for each line of standard input: {group, update, seconds}
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import type { openStore as OpenStore } from "../src/store/open.ts";
import type { KvOp, KvStore } from "../src/store/kv.ts";

export interface WriteJob {
  /** Calls that share a write, each with one row. */
  readonly group: number;
  /** Rows that are there are written again; else new ones. */
  readonly update: boolean;
  readonly seconds: number;
}

export interface WriteResult {
  readonly calls: number;
  readonly seconds: number;
  /** CPU for each call, in microseconds: of the main thread, of all. */
  readonly main_us: number;
  readonly cpu_us: number;
}

const ROWS = 1000;
const text = "x".repeat(500);

/** The first field of schedstat is nanoseconds on a processor. */
const mainUs = (): number => Number(readFileSync(`/proc/self/task/${process.pid}/schedstat`, "utf8").split(" ")[0]) / 1000;

class Writer {
  private readonly store: KvStore;
  private written = 0;
  private fence = 0;

  constructor(store: KvStore) {
    this.store = store;
  }

  private op(update: boolean): KvOp {
    const n = this.written++;
    const value = Buffer.from(JSON.stringify({ row: { n, text } }));
    return update ? { put: `t/port/again-${n % ROWS}`, value } : { put: `t/port/new-${n}-0000-4000-8000-000000000000`, value, fresh: true };
  }

  private async write({ group, update }: WriteJob): Promise<void> {
    const ops = Array.from({ length: group }, () => this.op(update));
    const note = '{"requestId":"req-00000000-0000-4000-8000-000000000000","call":"POST /v2.0/ports"}';
    if ("append" in this.store) {
      const answer = await this.store.append(this.store.revision, ops.map((op) => ({ ops: [op], note, at: Date.now() })), "bench");
      if (!answer.ok) throw new Error("a write that nobody contested was refused");
      return;
    }
    // Before there was a log, a key that all wrote kept writers apart.
    const store = this.store as KvStore;
    const answer = await store.txn([{ key: "fence", modRevision: this.fence }], [{ put: "fence", value: Buffer.from(note) }, ...ops]);
    if (!answer.ok) throw new Error("a write that nobody contested was refused");
    this.fence = answer.revision;
  }

  async run(job: WriteJob): Promise<WriteResult> {
    const [main, all, began] = [mainUs(), process.cpuUsage(), performance.now()];
    let writes = 0;
    for (; performance.now() - began < job.seconds * 1000; writes++) await this.write(job);
    const { user, system } = process.cpuUsage(all);
    const calls = writes * job.group;
    return { calls, seconds: (performance.now() - began) / 1000, main_us: (mainUs() - main) / calls, cpu_us: (user + system) / calls };
  }

  close(): Promise<void> {
    return this.store.close();
  }
}

const [open, dataDir] = process.argv.slice(2);
if (open !== undefined && dataDir !== undefined) {
  const { openStore } = (await import(pathToFileURL(open).href)) as { openStore: typeof OpenStore };
  const writer = new Writer(await openStore("level:", { dataDir }));
  for await (const line of createInterface({ input: process.stdin })) process.stdout.write(`${JSON.stringify(await writer.run(JSON.parse(line) as WriteJob))}\n`);
  await writer.close();
}
