// `axion history`: what changed, by which call, when.
import { UsageError } from "../../lib/usage-error.ts";
import type { Call } from "../call.ts";
import { cell, plain } from "../table.ts";

export interface HistoryOptions {
  readonly resource?: string;
  readonly project?: string;
  readonly since?: string;
  readonly until?: string;
  readonly limit?: string;
  readonly from?: string;
  readonly to?: string;
  readonly switch?: string;
}

type Fields = Readonly<Record<string, unknown>>;

export interface Change {
  readonly type?: unknown;
  readonly id?: unknown;
  readonly before?: Fields | null;
  readonly after?: Fields | null;
}

interface Commit {
  readonly generation?: unknown;
  readonly at?: unknown;
  readonly call?: unknown;
  readonly user?: unknown;
  readonly project?: unknown;
  readonly changes?: readonly Change[];
}

export async function history({ api, json, write, warn }: Call, generation: string | undefined, { from, to, switch: id, ...query }: HistoryOptions): Promise<number> {
  const differs = from !== undefined || to !== undefined;
  if (id !== undefined && from === undefined) throw new UsageError("--switch needs --from");
  if (differs && from === undefined) throw new UsageError("--to needs --from");
  if (differs && (generation !== undefined || Object.keys(query).length > 0)) throw new UsageError("--from and --to are for the difference of two instants, without anything else");
  if (generation !== undefined && Object.keys(query).length > 0) throw new UsageError("one generation needs no options");
  if (generation !== undefined && !/^\d{1,15}$/.test(generation)) throw new UsageError(`a generation is a whole number, not ${generation === "" ? "empty" : generation}`);
  if (differs) {
    const { body } = await api.get("/history/diff", { from, to, switch: id });
    const { changes = [], flows } = body as { readonly changes?: readonly Change[]; readonly flows?: SwitchFlows };
    const text = `${changes.map(changeText).join("")}${flows === undefined ? "" : flowsText(cell(flows.switch), flows)}`;
    await write(json ? `${JSON.stringify(body)}\n` : text === "" ? "no differences\n" : text);
    return 0;
  }
  const { body, moreUntil } = generation === undefined ? await api.get("/history", { ...query }) : await api.get(`/history/${generation}`);
  if (json) await write(`${JSON.stringify(body)}\n`);
  else {
    const commits = (Array.isArray(body) ? body : [body]) as readonly Commit[];
    await write(commits.length === 0 ? "no changes\n" : commits.map(commitText).join(""));
  }
  if (moreUntil !== undefined) warn(`there is more: --until ${plain(moreUntil)}`);
  return 0;
}

function commitText({ generation, at, call, user, project, changes = [] }: Commit): string {
  const who = [["project", project], ["user", user]].filter(([, value]) => cell(value) !== "-").map(([name, value]) => `  ${String(name)} ${cell(value)}`).join("");
  return `${cell(generation)}  ${cell(at)}  ${cell(call)}${who}\n${changes.map(changeText).join("")}`;
}

/** "+" made, "-" deleted, "~" changed: and what of it. */
export function changeText({ type, id, before, after }: Change): string {
  const name = (after ?? before)?.["name"];
  const what = `${cell(type)} ${cell(id)}${typeof name === "string" && name !== "" ? ` (${plain(name)})` : ""}`;
  if (before === null || before === undefined) return `  + ${what}\n`;
  if (after === null || after === undefined) return `  - ${what}\n`;
  const keys = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter((key) => JSON.stringify(before[key]) !== JSON.stringify(after[key]));
  return `  ~ ${what}\n${keys.map((key) => `      ${plain(key)}: ${cell(before[key])} -> ${cell(after[key])}\n`).join("")}`;
}

/** What becomes of a switch's flows, as lines of dumps. */
export interface SwitchFlows {
  readonly switch?: unknown;
  readonly add?: readonly string[];
  readonly change?: readonly string[];
  readonly remove?: readonly string[];
}

/** "+" added, "~" changed, "-" removed. */
export function flowsText(id: string, { add = [], change = [], remove = [] }: SwitchFlows): string {
  if (add.length + change.length + remove.length === 0) return "";
  const lines = ([["+", add], ["~", change], ["-", remove]] as const).flatMap(([mark, those]) => those.map((line) => `    ${mark} ${plain(line)}\n`));
  return `  ${id}: ${add.length} flows added, ${change.length} changed, ${remove.length} removed\n${lines.join("")}`;
}
