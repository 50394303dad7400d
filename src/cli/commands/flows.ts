// `axion flows`: the flow dump as a table, in ovs-ofctl's syntax, or as JSON; of any size, as it comes.
import { StringDecoder } from "node:string_decoder";
import { UsageError } from "../../lib/usage-error.ts";
import { jsonItems } from "../json-items.ts";
import { OpsError, type Query } from "../ops-api.ts";
import type { Call } from "../call.ts";
import { colored, plainLines, TablePrinter, type Hue } from "../table.ts";
import { callOf, causeOf, follow, type Shown } from "./follow.ts";

export const formats = ["table", "text", "json"] as const;
export const states = ["desired", "installed", "diff"] as const;

export interface FlowOptions {
  readonly switch?: string;
  readonly table?: string;
  readonly resource?: string;
  readonly app?: string;
  readonly match?: string;
  readonly state?: (typeof states)[number];
  readonly stats?: true;
  readonly at?: string;
  readonly format?: (typeof formats)[number];
  readonly text?: true;
  readonly raw?: true;
  readonly rate?: string;
  readonly follow?: true;
}

/** @throws UsageError for options that contradict each other */
function checked({ text, format, follow: live, state, stats, rate }: FlowOptions, json: boolean): void {
  const chosen = [...(text === true ? ["--text"] : []), ...(json ? ["--json"] : []), ...(format === undefined ? [] : [`--format ${format}`])];
  if (chosen.length > 1) throw new UsageError(`${chosen[0]!} and ${chosen[1]!} contradict each other`);
  if (live !== true) return;
  const without = text === true ? "--text" : format !== undefined && format !== "json" && format !== "table" ? `--format ${format}` : state !== undefined ? "--state" : stats === true ? "--stats" : rate !== undefined ? "--rate" : undefined;
  if (without !== undefined) throw new UsageError(`--follow shows changes of what there should be: it has no ${without}`);
}

export async function flows(call: Call, options: FlowOptions): Promise<number> {
  const { api, json, write } = call;
  if (!(json && options.format === "json")) checked(options, json);
  const format = json ? "json" : options.text === true ? "text" : (options.format ?? "table");
  const { switch: id, table, resource, app, match, state, at, rate, raw } = options;
  const filters: Query = { switch: id, table, resource, app, match };
  if (options.follow === true) return follow(format === "json" ? { ...call, json: true } : call, filters, raw === true);
  const stats = options.stats === true || rate !== undefined;
  const query: Query = { ...filters, state, at, stats: stats ? "1" : undefined, rate, raw: raw === true ? "1" : undefined, format: format === "text" ? "text" : "json" };
  const chunks = api.stream("/flows", query, rate === undefined ? 0 : 60_000);
  if (format === "table") return asTable(chunks, { stats, rate: rate !== undefined, call }, write);
  if (options.text === true) return asOvsOfctl(chunks, write);
  const decoder = new StringDecoder("utf8");
  // JSON has its own escapes, and goes to programs.
  for await (const chunk of chunks) await write(format === "json" ? decoder.write(chunk) : plainLines(decoder.write(chunk)));
  await write(decoder.end() + (format === "json" ? "\n" : ""));
  return 0;
}

/** Flows alone, as ovs-ofctl prints them: without the lines that say why. */
async function asOvsOfctl(chunks: AsyncIterable<Buffer>, write: Call["write"]): Promise<number> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.write(chunk)).split("\n");
    rest = lines.pop()!;
    await write(plainLines(lines.filter((line) => !line.startsWith("#")).map((line) => `${line}\n`).join("")));
  }
  return 0;
}

/** What is not as it should be catches the eye. */
const hues: Readonly<Record<string, Hue>> = { missing: "red", foreign: "red", quarantined: "red", learned: "yellow" };

/** Where a terminal is narrow: what is cut first is what says most words. */
const NARROWEST = { CAUSE: 16, CALL: 12, MATCH: 16, ACTIONS: 16, WHY: 24, SWITCH: 8, TABLE: 8 };
const SPARE = ["WHY", "CALL"];

async function asTable(chunks: AsyncIterable<Buffer>, { stats, rate, call: { color, columns } }: { readonly stats: boolean; readonly rate: boolean; readonly call: Call }, write: Call["write"]): Promise<number> {
  const head = ["SWITCH", "TABLE", "PRIORITY", "STATE", ...(stats ? ["PACKETS", "BYTES", "AGE S"] : []), ...(rate ? ["PACKETS/S", "BYTES/S"] : []), "CAUSE", "CALL", "MATCH", "ACTIONS", "WHY"];
  const printer = new TablePrinter(head, undefined, columns === undefined ? undefined : { columns, least: NARROWEST, spare: SPARE });
  let any = false;
  try {
    for await (const item of jsonItems(chunks)) {
      const flow: Shown = item;
      any = true;
      const counts = [...(stats ? [flow.packet_count, flow.byte_count, flow.duration_s] : []), ...(rate ? [flow.packets_per_s, flow.bytes_per_s] : [])];
      const match = flow.match_named ?? flow.match;
      const actions = flow.actions_named ?? flow.actions;
      const hue = color ? hues[flow.state ?? ""] : undefined;
      await write(printer.add([flow.switch, flow.table, flow.priority, flow.state, ...counts, causeOf(flow), callOf(flow), match === "" ? "any" : match, actions === "" ? "drop" : actions, flow.about], hue === undefined ? undefined : (line) => colored(line, hue)));
    }
  } catch (error) {
    if (error instanceof OpsError || error instanceof UsageError) throw error;
    throw new OpsError("NOT_A_CONTROLLER", `the flow dump cannot be read: ${(error as Error).message}`, error);
  }
  await write(printer.end());
  if (!any) await write("no flows\n");
  return 0;
}
