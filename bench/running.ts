// A controller without its ends, for benchmarks: the standard workload in a model on disk, compiled, and the compiler's loop behind it.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { Engine } from "../src/compiler/engine.ts";
import { CompilerLoop } from "../src/compiler/loop.ts";
import { Model } from "../src/model/model.ts";
import { createNorthbound } from "../src/northbound/index.ts";
import type { KvStore } from "../src/store/kv.ts";
import { openStore } from "../src/store/open.ts";
import { loadApps } from "./compile.ts";
import { putWorkload, type Workload } from "./workload.ts";

export type Api = ReturnType<typeof createNorthbound>;
type Foresight = NonNullable<Parameters<typeof createNorthbound>[0]["foresight"]>;

export interface Running {
  readonly apps: Awaited<ReturnType<typeof loadApps>>["apps"];
  readonly tables: Awaited<ReturnType<typeof loadApps>>["tables"];
  readonly layout: Awaited<ReturnType<typeof loadApps>>["layout"];
  readonly log: Logger;
  readonly model: Model;
  readonly engine: Engine;
  readonly store: KvStore;
  readonly loop: CompilerLoop;
  /** Ports of each host: the next one plugged there has a number more. */
  readonly slots: number[];
  /** The API over it, as an administrator's; `foresight`: what plans its writes. */
  api(foresight?: Foresight): Api;
  /** Until what is committed is compiled. */
  settled(): Promise<void>;
  /** Ends all, the data included. */
  stop(): Promise<void>;
}

/** @throws what a rule throws */
export async function startRunning(w: Workload, appsFolder: string): Promise<Running> {
  const log = pino({ level: "error" }, pino.destination(2));
  const { apps, tables, layout } = await loadApps(appsFolder);
  const dataDir = mkdtempSync(join(tmpdir(), "axion-bench-"));
  const remove = (): void => rmSync(dataDir, { recursive: true, force: true });
  process.once("exit", remove);
  const store = await openStore("level:", { dataDir });
  const model = await Model.open(store, tables);
  const slots = await putWorkload(model, w, "load");
  const engine = new Engine({ apps, tables, layout, rows: model.layer, log });
  engine.compileAll(model.generation);
  const loop = new CompilerLoop(model, engine, (error) => {
    throw error;
  });
  const opened: Api[] = [];
  return {
    apps, tables, layout, log, model, engine, loop, slots,
    store,
    api: (foresight) => {
      const api = createNorthbound({ apps, model, view: engine.view, auth: "none", log, ...(foresight !== undefined && { foresight }) });
      opened.push(api);
      return api;
    },
    settled: async () => {
      while (engine.generation < model.generation) await new Promise((done) => setImmediate(done));
    },
    stop: async () => {
      loop.stop();
      for (const api of opened) await api.close();
      await model.close();
      process.off("exit", remove);
      remove();
    },
  };
}
