// The policy file: overrides of access rules.
import type { Logger } from "pino";
import { isObject } from "../../app/contract.ts";
import { parseYaml, WatchedFile } from "../../lib/files.ts";
import type { PolicyBook } from "./book.ts";

/** Rule name -> text or list. YAML or JSON. @throws Error of one line */
export function parsePolicy(text: string): Readonly<Record<string, unknown>> {
  const rules = parseYaml(text);
  if (rules === null) return {};
  if (!isObject(rules)) throw new Error("is no mapping of rule names to rules");
  return rules;
}

export class PolicyFile extends WatchedFile {
  /** @throws Error of one line: the first book must be a good one */
  constructor(path: string, book: PolicyBook, log: Logger) {
    super(path, {
      what: "policy file", kind: "policy_file", otherwise: "the rules before it stay in force", log,
      cure: "Mend the file: it is read again when it changes. GET /policy shows the rules in force.",
      use: (text) => book.override(parsePolicy(text)),
    });
  }
}
