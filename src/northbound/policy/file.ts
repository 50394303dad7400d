// The policy file: overrides of access rules, read again when it changes. One that cannot be used leaves the last good book in force
// and is told of: one log line, and a problem for as long as it lasts.
import { readFileSync, unwatchFile, watchFile, type Stats } from "node:fs";
import type { Logger } from "pino";
import { LineCounter, parseDocument } from "yaml";
import { isObject } from "../../app/contract.ts";
import { fileErrorText } from "../../lib/file-error.ts";
import type { Problem } from "../../lib/problem.ts";
import type { PolicyBook } from "./book.ts";

const MAX_BYTES = 1024 * 1024;
/** How often the file is looked at. Polling also sees files that are replaced by renaming or through links, as configuration mounts are. */
const POLL_MS = 1000;

/** Rule name -> text or list. YAML or JSON. @throws Error of one line */
export function parsePolicy(text: string): Readonly<Record<string, unknown>> {
  if (text.length > MAX_BYTES) throw new Error(`is larger than ${MAX_BYTES} bytes`);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  const [error] = document.errors;
  if (error !== undefined) throw new Error(`line ${lines.linePos(error.pos[0]).line}: ${error.message}`);
  const rules: unknown = document.toJS({ maxAliasCount: 100 });
  if (rules === null || rules === undefined) return {};
  if (!isObject(rules)) throw new Error("is no mapping of rule names to rules");
  return rules;
}

export class PolicyFile {
  private readonly path: string;
  private readonly book: PolicyBook;
  private readonly log: Logger;
  private current: Problem | undefined;
  private read: string | undefined;
  private readonly changed = (now: Stats, before: Stats): void => {
    if (now.mtimeMs !== before.mtimeMs || now.size !== before.size || now.ino !== before.ino) this.reload();
  };

  /** Reads it and watches it. @throws Error of one line: the first book must be a good one */
  constructor(path: string, book: PolicyBook, log: Logger, pollMs = POLL_MS) {
    this.path = path;
    this.book = book;
    this.log = log;
    try {
      this.load();
    } catch (error) {
      throw new Error(`the policy file ${path}: ${(error as Error).message}`, { cause: error });
    }
    watchFile(path, { interval: pollMs, persistent: false }, this.changed);
  }

  /** What is wrong with the file as it is now. */
  get problem(): Problem | undefined {
    return this.current;
  }

  /** Takes the file as it is now, if it can be used. */
  reload(): void {
    try {
      if (!this.load()) return;
      this.current = undefined;
      this.log.info({ file: this.path, rules: this.book.entries().filter((e) => e.override !== undefined).length }, "access rules read again");
    } catch (error) {
      const text = `the policy file ${this.path}: ${(error as Error).message}; the rules before it stay in force`;
      if (this.current?.text === text) return;
      this.current = {
        kind: "policy_file", severity: "error", since: this.current?.since ?? new Date().toISOString(), text, resources: [], switches: [],
        cure: { text: "Mend the file: it is read again when it changes. GET /policy shows the rules in force." },
      };
      this.log.error({ file: this.path, reason: (error as Error).message }, "the policy file cannot be used; the rules before it stay in force");
    }
  }

  close(): void {
    unwatchFile(this.path, this.changed);
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
    this.book.override(parsePolicy(text));
    this.read = text;
    return true;
  }
}
