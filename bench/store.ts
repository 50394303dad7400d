// "What does a write cost in the store alone?" - rows as the model writes them, by calls that share a write, each synced; in turns with another build.
import { spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface, type Interface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { WriteJob, WriteResult } from "./store-writer.ts";

export interface StoreOptions {
  /** Of each case, in rounds whose medians are told. */
  readonly seconds: number;
  /** dist/src/main.js of another build. */
  readonly against?: string;
}

export interface StoreCase {
  readonly what: string;
  readonly calls: number;
  readonly per_s: number;
  /** Microseconds of CPU for each call: of the main thread, of all. */
  readonly main_us: number;
  readonly cpu_us: number;
  /** The other build's, as parts of this one's in the same round: above 1, this one is better. */
  readonly against_main?: number;
  readonly against_cpu?: number;
}

const ROUNDS = 7;
const WARM_UP_S = 1;
const GROUPS = [1, 8, 32];

class Process {
  private readonly child: ChildProcess;
  private readonly lines: Interface;
  private readonly dir = mkdtempSync(join(tmpdir(), "axion-bench-store-"));

  constructor(open: string) {
    process.on("exit", () => rmSync(this.dir, { recursive: true, force: true }));
    this.child = spawn(process.execPath, [fileURLToPath(new URL("./store-writer.js", import.meta.url)), open, join(this.dir, "data")], { stdio: ["pipe", "pipe", "inherit"] });
    this.lines = createInterface({ input: this.child.stdout! });
  }

  run(job: WriteJob): Promise<WriteResult> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error("the writer ended"));
      this.child.once("exit", ended);
      this.lines.once("line", (line) => {
        this.child.off("exit", ended);
        resolve(JSON.parse(line) as WriteResult);
      });
      this.child.stdin!.write(`${JSON.stringify(job)}\n`);
    });
  }

  async stop(): Promise<void> {
    const exited = new Promise((resolve) => this.child.once("exit", resolve));
    this.child.stdin!.end();
    await exited;
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const median = (of: readonly number[]): number => of.toSorted((a, b) => a - b)[of.length >> 1]!;
const round = (x: number): number => Math.round(x * 100) / 100;

export async function benchStore({ seconds, against }: StoreOptions): Promise<{ readonly cases: readonly StoreCase[] }> {
  const own = fileURLToPath(new URL("../src/store/open.js", import.meta.url));
  const processes = [new Process(own), ...(against === undefined ? [] : [new Process(join(against, "../store/open.js"))])];
  const cases: StoreCase[] = [];
  try {
    for (const update of [false, true]) {
      for (const group of GROUPS) {
        for (const one of processes) await one.run({ group, update, seconds: WARM_UP_S });
        const rounds: WriteResult[][] = [];
        for (let i = 0; i < ROUNDS; i++) {
          const results: WriteResult[] = [];
          for (const one of processes) results.push(await one.run({ group, update, seconds: seconds / ROUNDS }));
          rounds.push(results);
        }
        const ours = rounds.map(([first]) => first!);
        const ratio = (of: (r: WriteResult) => number): number => round(median(rounds.map(([a, b]) => of(b!) / of(a!))));
        cases.push({
          what: `${update ? "update" : "create"}, ${group} ${group === 1 ? "call" : "calls"} a write`,
          calls: ours.reduce((sum, { calls }) => sum + calls, 0),
          per_s: Math.round(median(ours.map((r) => r.calls / r.seconds))),
          main_us: round(median(ours.map((r) => r.main_us))), cpu_us: round(median(ours.map((r) => r.cpu_us))),
          ...(processes.length > 1 && { against_main: ratio((r) => r.main_us), against_cpu: ratio((r) => r.cpu_us) }),
        });
      }
    }
    return { cases };
  } finally {
    await Promise.all(processes.map((one) => one.stop()));
  }
}
