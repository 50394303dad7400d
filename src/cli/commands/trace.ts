// `axion trace`: a packet's way over the switches, and why it goes no further.
import { UsageError } from "../../lib/usage-error.ts";
import type { Call } from "../call.ts";
import { OpsError } from "../ops-api.ts";
import { cell, plain } from "../table.ts";

export const traceStates = ["installed", "desired"] as const;
export const connections = ["new", "established"] as const;

export interface TraceCommandOptions {
  readonly protocol?: string;
  readonly port?: string;
  readonly sourcePort?: string;
  readonly size?: string;
  readonly source?: string;
  readonly sourceMac?: string;
  readonly ttl?: string;
  readonly ct?: string;
  readonly state?: string;
  readonly at?: string;
  /** Commander's --no-reverse. */
  readonly reverse: boolean;
  readonly switch?: string;
  readonly flow?: string;
  readonly hops?: true;
}

interface Hop {
  readonly switch?: unknown;
  readonly table?: unknown;
  readonly priority?: unknown;
  readonly match?: unknown;
  readonly actions?: unknown;
  readonly app?: unknown;
  readonly rule?: unknown;
  readonly state?: unknown;
  readonly installed?: unknown;
  readonly resources?: readonly Named[];
}
interface Named {
  readonly type?: unknown;
  readonly id?: unknown;
  readonly name?: unknown;
}
interface Way {
  readonly verdict?: unknown;
  readonly delivered?: readonly { readonly switch?: unknown; readonly port?: unknown; readonly id?: unknown }[];
  readonly hops?: readonly Hop[];
  readonly cause?: { readonly reason?: unknown; readonly text?: unknown; readonly resources?: readonly Named[]; readonly cure?: { readonly text?: unknown; readonly call?: { readonly method?: unknown; readonly path?: unknown; readonly body?: unknown } } } | null;
  readonly notes?: readonly unknown[];
  readonly answer?: Way | null;
}

/** Exit code 1: the packet, or what answers it, does not arrive. */
export async function trace({ api, json, write }: Call, from: string | undefined, to: string | undefined, options: TraceCommandOptions): Promise<number> {
  const { switch: at, flow, reverse, protocol, port, sourcePort, size, source, sourceMac, ttl, ct, state, at: instant, hops } = options;
  const atSwitch = at !== undefined || flow !== undefined;
  if (atSwitch && from !== undefined) throw new UsageError("either two ports, FROM and TO, or --switch and --flow");
  if (!atSwitch && to === undefined) throw new UsageError("trace needs FROM and TO: a port, and a port or an address; or --switch and --flow");
  const body = {
    from, to, switch: at, flow, protocol, port: wholeOf("port", port), source_port: wholeOf("source-port", sourcePort), size: wholeOf("size", size), source, source_mac: sourceMac, ttl: wholeOf("ttl", ttl), ct, state, at: instant, ...(reverse ? {} : { reverse: false }),
  };
  const { body: answer } = await api.post("/trace", {}, body).catch((error: unknown) => {
    // An end that is not there is not understood, as a flag is that names what is not there.
    const isEnd = error instanceof OpsError && error.code === "NOT_THERE" && /^(?:from|to): /.test(error.message);
    throw error instanceof UsageError || isEnd ? new UsageError(asTyped((error as Error).message)) : error;
  });
  const way = answer as Way;
  if (json) await write(`${JSON.stringify(way)}\n`);
  else {
    await write(wayText(way, hops === true));
    if (way.answer !== null && way.answer !== undefined) await write(`\nand back\n${wayText(way.answer, hops === true)}`);
  }
  const arrives = (one: Way | null | undefined): boolean => one === null || one === undefined || one.verdict === "delivered";
  return arrives(way) && arrives(way.answer) ? 0 : 1;
}

/** The controller speaks of keys of the request. */
const asTyped = (message: string): string => message.replace(/^(from|to): /, (_, end: string) => `${end.toUpperCase()}: `).replace(/^([a-z_]+): /, (_, key: string) => `--${key.replaceAll("_", "-")}: `);

function wholeOf(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d{1,9}$/.test(text)) throw new UsageError(`--${name} must be a whole number, not ${text === "" ? "empty" : plain(text)}`);
  return Number(text);
}

const named = ({ type, id, name }: Named): string => `${cell(type)} ${name === undefined ? cell(id) : `${cell(name)} (${cell(id)})`}`;

/** A line for each hop; `whole`: with match and actions. */
function wayText({ verdict, delivered = [], hops = [], cause, notes = [] }: Way, whole: boolean): string {
  const lines: string[] = [];
  let at: unknown;
  for (const hop of hops) {
    if (hop.switch !== at) lines.push(`  ${cell(hop.switch)}`);
    at = hop.switch;
    const mark = hop.state === "desired" && hop.installed === true ? "" : hop.state === "desired" ? " [not on the switch]" : ` [${cell(hop.state)}]`;
    const why = cell(hop.rule) === "-" ? "" : `  ${cell(hop.app)}/${cell(hop.rule)}`;
    const resources = (hop.resources ?? []).map(named).join(", ");
    lines.push(`    ${cell(hop.table).padEnd(18)}  ${(hop.priority === null ? "-" : cell(hop.priority)).padStart(5)}${why}${resources === "" ? "" : `  ${resources}`}${mark}`);
    if (whole && hop.priority !== null) lines.push(`      ${hop.match === "" ? "any" : cell(hop.match)}`, `      -> ${cell(hop.actions)}`);
  }
  for (const { switch: host, port, id } of delivered) lines.push(`  out of ${cell(host)} by ${cell(port)}${id === undefined ? "" : ` (${cell(id)})`}`);
  for (const note of notes) lines.push(`  note: ${cell(note)}`);
  lines.push(cause === null || cause === undefined ? cell(verdict) : `${cell(verdict)}: ${cell(cause.reason)}: ${cell(cause.text)}`);
  if (cause !== null && cause !== undefined) {
    for (const resource of cause.resources ?? []) lines.push(`  of    ${named(resource)}`);
    lines.push(`  cure  ${cell(cause.cure?.text)}`);
    const { call } = cause.cure ?? {};
    if (call !== undefined) lines.push(`        ${cell(call.method)} ${cell(call.path)}${call.body === undefined ? "" : ` ${plain(JSON.stringify(call.body))}`}`);
  }
  return lines.map((line) => `${line}\n`).join("");
}
