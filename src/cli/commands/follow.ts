// `axion flows --follow`: what comes, changes and goes, as it happens, until it is interrupted.
import { StringDecoder } from "node:string_decoder";
import type { Call } from "../call.ts";
import { OpsError, type Query } from "../ops-api.ts";
import { cell, colored } from "../table.ts";

/** A flow of the dump, as far as a table shows it. */
export interface Shown {
  readonly switch?: string;
  readonly table?: string;
  readonly priority?: number;
  readonly state?: string;
  readonly app?: string;
  readonly rule?: string;
  readonly about?: string;
  readonly match?: string;
  readonly actions?: string;
  readonly match_named?: string;
  readonly actions_named?: string;
  readonly static?: boolean;
  readonly duration_s?: number;
  readonly packets_per_s?: number;
  readonly bytes_per_s?: number;
  readonly packet_count?: number;
  readonly byte_count?: number;
  readonly resources?: readonly { readonly type?: string; readonly id?: string; readonly name?: string; readonly call?: string; readonly generation?: number }[];
}

/** App and rule, then the resources, each with its name where it has one. */
export function causeOf({ app, rule, static: always, resources = [] }: Shown): string {
  const named = resources.map(({ type = "", id = "", name }) => `${type}:${id}${name === undefined ? "" : `(${name})`}`);
  return [...(app === undefined || app === "" ? [] : [`${app}/${rule ?? ""}`]), ...(always === true ? ["static"] : []), ...named].join(" ");
}

/** The last call that changed a resource behind the flow, and its generation. */
export function callOf({ resources = [] }: Shown): string {
  let last: { readonly call?: string; readonly generation?: number } = {};
  for (const one of resources) if (one.call !== undefined && (last.call === undefined || (one.generation ?? 0) > (last.generation ?? 0))) last = one;
  return last.call === undefined ? "" : `${last.call}${last.generation === undefined ? "" : ` @${last.generation}`}`;
}

/** Of one event; a flow has 64 kB at most. */
const EVENT_LIMIT = 16 << 20;

/** The data of server-sent events, one by one. @throws Error when one is too large */
export async function* eventData(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  for await (const chunk of chunks) {
    const events = (rest + decoder.write(chunk)).split("\n\n");
    rest = events.pop()!;
    if (rest.length > EVENT_LIMIT) throw new Error(`an event is larger than ${EVENT_LIMIT} characters`);
    for (const event of events) {
      const data = event.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).replace(/^ /, ""));
      if (data.length > 0) yield data.join("\n");
    }
  }
}

const signs = { added: ["+", "green"], changed: ["~", "yellow"], removed: ["-", "red"] } as const;

/** One line for each event: what happened, at which generation, to which flow, and because of what. */
export async function follow({ api, json, color, write }: Call, query: Query, raw: boolean): Promise<number> {
  for await (const data of eventData(api.stream("/flows/stream", query))) {
    if (json) {
      await write(`${data}\n`);
      continue;
    }
    let event: { readonly event?: string; readonly generation?: number; readonly flow?: Shown };
    try {
      event = JSON.parse(data) as typeof event;
    } catch (error) {
      throw new OpsError("NOT_A_CONTROLLER", `the events of ${api.url} cannot be read: ${(error as Error).message}`, error);
    }
    const { flow = {} } = event;
    const [sign, hue] = signs[event.event as keyof typeof signs] ?? ["?", "yellow"];
    const match = raw ? flow.match : (flow.match_named ?? flow.match);
    const actions = raw ? flow.actions : (flow.actions_named ?? flow.actions);
    const said = [`@${cell(event.generation)}`, cell(flow.switch), cell(flow.table), `priority=${cell(flow.priority)}`, match === "" ? "any" : cell(match), `actions=${actions === "" ? "drop" : cell(actions)}`, `# ${cell(causeOf(flow))}`];
    await write(`${colored(`${sign} ${said.join(" ")}`, color ? hue : undefined)}\n`);
  }
  throw new OpsError("UNREACHABLE", `the controller at ${api.url} ended the stream: it stops, or this end was too slow`);
}
