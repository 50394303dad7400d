// `axion flows`: the flow dump as a table, in ovs-ofctl's syntax, or as JSON; of any size, as it comes.
import { StringDecoder } from "node:string_decoder";
import { UsageError } from "../lib/usage-error.ts";
import { jsonItems } from "./json-items.ts";
import { OpsError, type Query } from "./ops-api.ts";
import type { Call } from "./call.ts";
import { plainLines, TablePrinter } from "./table.ts";

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
}

/** A flow of the dump, as far as a table shows it. */
interface Shown {
  readonly switch?: string;
  readonly table?: string;
  readonly priority?: number;
  readonly state?: string;
  readonly app?: string;
  readonly rule?: string;
  readonly match?: string;
  readonly actions?: string;
  readonly packet_count?: number;
  readonly byte_count?: number;
  readonly resources?: readonly { readonly type?: string; readonly id?: string }[];
}

export async function flows({ api, json, write }: Call, options: FlowOptions): Promise<number> {
  const format = json ? "json" : (options.format ?? "table");
  const { switch: id, table, resource, app, match, state, stats, at } = options;
  const query: Query = { switch: id, table, resource, app, match, state, at, stats: stats === true ? "1" : undefined, format: format === "text" ? "text" : "json" };
  const chunks = api.stream("/flows", query);
  if (format === "table") return asTable(chunks, stats === true, write);
  const decoder = new StringDecoder("utf8");
  // JSON has its own escapes, and goes to programs.
  for await (const chunk of chunks) await write(format === "json" ? decoder.write(chunk) : plainLines(decoder.write(chunk)));
  await write(decoder.end() + (format === "json" ? "\n" : ""));
  return 0;
}

async function asTable(chunks: AsyncIterable<Buffer>, stats: boolean, write: Call["write"]): Promise<number> {
  const printer = new TablePrinter(["SWITCH", "TABLE", "PRIORITY", "STATE", ...(stats ? ["PACKETS", "BYTES"] : []), "CAUSE", "MATCH", "ACTIONS"]);
  let any = false;
  try {
    for await (const item of jsonItems(chunks)) {
      const flow: Shown = item;
      any = true;
      const resources = (flow.resources ?? []).map((r) => `${r.type ?? ""}:${r.id ?? ""}`);
      const cause = [...(flow.app === undefined || flow.app === "" ? [] : [`${flow.app}/${flow.rule ?? ""}`]), ...resources].join(" ");
      const counts = stats ? [flow.packet_count, flow.byte_count] : [];
      await write(printer.add([flow.switch, flow.table, flow.priority, flow.state, ...counts, cause, flow.match === "" ? "any" : flow.match, flow.actions === "" ? "drop" : flow.actions]));
    }
  } catch (error) {
    if (error instanceof OpsError || error instanceof UsageError) throw error;
    throw new OpsError("NOT_A_CONTROLLER", `the flow dump cannot be read: ${(error as Error).message}`, error);
  }
  await write(printer.end());
  if (!any) await write("no flows\n");
  return 0;
}
