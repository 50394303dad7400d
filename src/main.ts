// The controller process: wiring, and the order of start and stop. Everything it wires is in the folders beside it.
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { pino, type Logger } from "pino";
import type { App } from "#app";
import { Controller } from "./controller.ts";
import { discoverApps } from "./boot/discover.ts";
import { collectWhatBurstsLeave } from "./collection.ts";
import { appsLeftOut, checkTls, parseConfig, unknownVariables, usage, type Config } from "./config/index.ts";
import { whenChanged } from "./lib/files.ts";
import type { ListenError } from "./lib/listening.ts";
import { UsageError } from "./lib/usage-error.ts";
import { version } from "./lib/version.ts";
import { endOnSignals, takeStartedBy } from "./process-end.ts";

/** Started by bin/axion.js. */
const asCommand = /^axion(\.js)?$/.test(basename(process.argv[1] ?? ""));
const appsFolder = join(fileURLToPath(new URL(".", import.meta.url)), "..", "apps");

/** Those that are not left out. */
let apps: readonly App[] = [];
/** Takes the settings once more, as files may have changed. */
let again: () => string | Config;

async function configure(): Promise<Config> {
  try {
    const argv = process.argv.slice(2);
    // Before anything else is judged: what may be given depends on the apps that are there.
    apps = await discoverApps(appsFolder, appsLeftOut(argv, process.env));
    again = () => parseConfig(argv, process.env, apps);
    const config = again();
    if (typeof config === "string") {
      process.stdout.write(`${config === "help" ? usage(process.stdout.columns, apps, asCommand ? "axion start" : undefined) : version()}\n`);
      process.exit(0);
    }
    checkTls(config);
    return config;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`axion: ${error.message}\n`);
    process.exit(2);
  }
}

/** The TLS files as they are now, if they can be used. */
function tlsNow(): Config["tls"] {
  try {
    const config = again();
    if (typeof config === "string") return undefined;
    checkTls(config);
    return config.tls;
  } catch (error) {
    running.log?.error({ reason: (error as Error).message }, "the settings cannot be read again; certificates stay as they were");
    return undefined;
  }
}

function makeLog(config: Config): Logger {
  const options = { level: config.logLevel, base: null, timestamp: pino.stdTimeFunctions.isoTime };
  return config.logPretty ? pino(options, prettyLines()) : pino(options, pino.destination({ fd: 1, sync: true }));
}

/** One readable line per entry, for terminals: time, level, message, fields. */
function prettyLines(): { write: (line: string) => void } {
  return {
    write(line: string): void {
      const { time, level, msg, ...rest } = JSON.parse(line) as { time: string; level: number; msg: string };
      const name = pino.levels.labels[level] ?? String(level);
      const fields = Object.entries(rest).map(([k, v]) => ` ${k}=${typeof v === "string" ? v : JSON.stringify(v)}`).join("");
      process.stdout.write(`${time.slice(11, 23)} ${name.padEnd(5)} ${msg}${fields}\n`);
    },
  };
}

/** Longer than all that is waited for in a stop: requests that are drained, switches that are sent what is pending. */
const STOP_LIMIT_MS = 10_000;

/** What there is to end. */
const running: { controller?: Controller; log?: Logger } = {};
endOnSignals({
  limitMs: STOP_LIMIT_MS,
  startedBy: takeStartedBy(process.env),
  stop: async (by) => {
    running.log?.info({ signal: by }, "stopping");
    await running.controller?.stop();
  },
  reread: () => running.controller?.reread(tlsNow()),
  failed: (error) => running.log?.error({ err: error }, "stop failed"),
});

const config = await configure();
const log = (running.log = makeLog(config));
for (const { variable, meant } of unknownVariables(process.env, apps)) log.warn({ variable, ...(meant !== undefined && { meant }) }, "an environment variable is no setting here, and ignored; --help lists what there is");
// No setting: only tests of the pipeline want flows that overwrite scratch registers at every call.
const controller = (running.controller = new Controller({ config, log, appsFolder, poisonScratch: process.env.AXION_POISON_SCRATCH === "1" }));

// Until the end of the process: it holds nothing up.
whenChanged(config.tlsFiles ?? [], () => controller.renewTls(tlsNow()));

try {
  await controller.start();
} catch (error) {
  process.stderr.write(`axion: ${describe(error)}\n`);
  await controller.stop().catch(() => undefined);
  process.exit(error instanceof UsageError ? 2 : 1);
}
// Likewise. Until here the heap grows by what stays.
collectWhatBurstsLeave();

function describe(error: unknown): string {
  const e = error as ListenError;
  const flag = e.setting === undefined ? "" : `--${e.setting}: `;
  if (e.code === "EADDRINUSE") return `${flag}port ${e.port ?? ""} on ${e.address ?? "this host"} is taken by another process`;
  if (e.code === "EACCES" && e.port !== undefined) return `${flag}no permission to listen on ${e.address ?? ""}:${e.port}`;
  if (e.code === "EADDRNOTAVAIL") return `${flag}${e.address ?? "the address"} is not an address of this host`;
  if (e.code === "ENOTFOUND" || e.code === "EAI_AGAIN") return `${flag}${(e as { hostname?: string }).hostname ?? "the host"} is not a known host name`;
  return e.message;
}
