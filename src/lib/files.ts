// Files of the operator's: why one cannot be read, and one that is read again when it changes. What cannot be used leaves what was read before in
// force and is told of: one log line, and a problem for as long as it lasts.
import { readFileSync, unwatchFile, watchFile, type Stats } from "node:fs";
import { mkdir, open, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type { Logger } from "pino";
import { LineCounter, parseDocument } from "yaml";
import type { Problem } from "./problem.ts";

const reasons: Readonly<Record<string, string>> = {
  ENOENT: "no such file", ENOTDIR: "no such file", EACCES: "no permission", EPERM: "no permission", EISDIR: "it is a folder",
};

/** Of an error of node:fs; the system's own code for what has no plainer name. */
export function fileErrorText(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code === undefined ? message : (reasons[code] ?? code);
}

/**
 * Makes a folder and those above it that are missing, to last through a loss of power. Node's own recursive mkdir goes on for ever where the
 * system says of a parent that it is not there and cannot be made, as below /proc. @throws Error of one line that names the folder
 */
export async function makeFolder(path: string): Promise<void> {
  const folder = resolve(path);
  try {
    const missing: string[] = [];
    for (let at = folder; !(await exists(at)); at = dirname(at)) missing.push(at);
    for (const one of missing.toReversed()) {
      await mkdir(one).catch((error: unknown) => {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      });
      const above = await open(dirname(one), "r");
      await above.sync().finally(() => above.close());
    }
  } catch (error) {
    throw new Error(`cannot use ${folder}: ${(error as Error).message}`, { cause: error });
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return false;
    throw error;
  }
}

/** How often the file is looked at. Polling also sees files that are replaced by renaming or through links, as configuration mounts are. */
const POLL_MS = 1000;
const MAX_BYTES = 1024 * 1024;

/** Calls when one of the files has changed and all are as they were for a look: what belongs together is seldom written at once. Returns what ends it. */
export function whenChanged(paths: readonly string[], changed: () => void, pollMs = POLL_MS): () => void {
  let settling: NodeJS.Timeout | undefined;
  const looked = (now: Stats, before: Stats): void => {
    if (now.mtimeMs === before.mtimeMs && now.size === before.size && now.ino === before.ino) return;
    clearTimeout(settling);
    settling = setTimeout(changed, pollMs).unref();
  };
  for (const path of paths) watchFile(path, { interval: pollMs, persistent: false }, looked);
  return () => {
    clearTimeout(settling);
    for (const path of paths) unwatchFile(path, looked);
  };
}

export interface WatchedFileOptions {
  /** For people: "policy file". */
  readonly what: string;
  /** Kind of the problem. */
  readonly kind: string;
  /** Takes the text. @throws Error of one line if it cannot be used; then nothing has changed */
  readonly use: (text: string) => void;
  /** What stays in force: "the rules before it stay in force". */
  readonly otherwise: string;
  readonly cure: string;
  readonly log: Logger;
  readonly pollMs?: number;
}

export class WatchedFile {
  private readonly path: string;
  private readonly options: WatchedFileOptions;
  private current: Problem | undefined;
  private read: string | undefined;
  private readonly changed = (now: Stats, before: Stats): void => {
    if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) this.reload();
  };

  /** Reads it and watches it. @throws Error of one line: the first one must be good */
  constructor(path: string, options: WatchedFileOptions) {
    this.path = path;
    this.options = options;
    try {
      this.load();
    } catch (error) {
      throw new Error(`${this.name}: ${(error as Error).message}`, { cause: error });
    }
    watchFile(path, { interval: options.pollMs ?? POLL_MS, persistent: false }, this.changed);
  }

  /** What is wrong with the file as it is now. */
  get problem(): Problem | undefined {
    return this.current;
  }

  /** Takes the file as it is now, if it can be used. */
  reload(): void {
    const { kind, log, otherwise, cure, what } = this.options;
    try {
      if (!this.load()) return;
      this.current = undefined;
      log.info({ file: this.path }, `${what} read again`);
    } catch (error) {
      const reason = (error as Error).message;
      const text = `${this.name}: ${reason}; ${otherwise}`;
      if (this.current?.text === text) return;
      this.current = { kind, severity: "error", since: this.current?.since ?? new Date().toISOString(), text, resources: [], switches: [], cure: { text: cure } };
      log.error({ file: this.path, reason }, `the ${what} cannot be used; ${otherwise}`);
    }
  }

  close(): void {
    unwatchFile(this.path, this.changed);
  }

  private get name(): string {
    return `the ${this.options.what} ${this.path}`;
  }

  /** False: as it was. */
  private load(): boolean {
    let text: string;
    try {
      text = readFileSync(this.path, "utf8");
    } catch (error) {
      throw new Error(`cannot be read: ${fileErrorText(error)}`, { cause: error });
    }
    if (text === this.read && this.current === undefined) return false;
    this.options.use(text);
    this.read = text;
    return true;
  }
}

/** What YAML or JSON of an operator's says; null: nothing. @throws Error of one line */
export function parseYaml(text: string): unknown {
  if (text.length > MAX_BYTES) throw new Error(`is larger than ${MAX_BYTES} bytes`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`line ${lines.linePos(error.pos[0]).line}: ${error.message}`);
  return (document.toJS({ maxAliasCount: 100 }) as unknown) ?? null;
}
