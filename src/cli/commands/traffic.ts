// `axion statistics` and `axion logs`: what ports, routers and floating IPs let pass, and what security groups accepted and dropped of logged ports.
import { stringify } from "yaml";
import type { Call } from "../call.ts";
import { cell, plain, plainLines, table } from "../table.ts";
import { answerOf, ask } from "./reports.ts";

export const statisticsTypes = ["port", "router", "floatingip"] as const;
export interface StatisticsOptions {
  readonly type?: string;
  readonly project?: string;
  readonly id?: string;
}

interface Count {
  readonly packets?: unknown;
  readonly bytes?: unknown;
}
interface Shown {
  readonly type?: unknown;
  readonly id?: unknown;
  readonly name?: unknown;
  readonly project?: unknown;
  readonly received?: Count;
  readonly sent?: Count;
  readonly routed?: Count;
  readonly complete?: unknown;
  readonly looked_at?: unknown;
}

export async function statistics(call: Call, options: StatisticsOptions): Promise<number> {
  const body = await ask(call, "/statistics", { ...options });
  if (call.json) await call.write(`${JSON.stringify(body)}\n`);
  else if (!Array.isArray(body)) await call.write(plainLines(stringify(body)));
  else {
    const lines = (body as readonly Shown[]).flatMap(({ type, id, name, project, received, sent, routed, complete, looked_at }) =>
      Object.entries({ received, sent, routed }).flatMap(([counter, count]) => (count === undefined ? [] : [[type, id, name, project, counter, count.packets, count.bytes, complete, looked_at]])));
    await call.write(lines.length === 0 ? "no statistics\n" : table(["TYPE", "ID", "NAME", "PROJECT", "COUNTER", "PACKETS", "BYTES", "COMPLETE", "LOOKED AT"], lines));
  }
  return 0;
}

export const logEvents = ["ACCEPT", "DROP"] as const;
export interface LogOptions {
  readonly project?: string;
  readonly log?: string;
  readonly port?: string;
  readonly event?: string;
}

/** As the ops listener has an entry. */
type Entry = Readonly<Record<"at" | "event" | "direction" | "port_id" | "port_name" | "switch" | "protocol" | "source" | "source_port" | "destination" | "destination_port" | "icmp_type" | "icmp_code" | "log" | "log_name" | "rules", unknown>>;

const end = (address: unknown, port: unknown): string => (port === null ? cell(address) : `${cell(address)}${String(address).includes(":") ? " " : ":"}${cell(port)}`);

export async function logs(call: Call, options: LogOptions): Promise<number> {
  const { body, whyEmpty } = await answerOf(call, "/logs", { ...options });
  if (call.json) await call.write(`${JSON.stringify(body)}\n`);
  else if (!Array.isArray(body)) await call.write(plainLines(stringify(body)));
  else {
    const lines = (body as readonly Entry[]).map((e) => [
      e.at, e.event, e.direction, e.port_name === "" ? e.port_id : e.port_name, e.switch, e.icmp_type === null ? e.protocol : `${cell(e.protocol)} ${cell(e.icmp_type)}/${cell(e.icmp_code)}`,
      end(e.source, e.source_port), end(e.destination, e.destination_port), e.log_name === "" ? e.log : e.log_name, e.rules,
    ]);
    await call.write(lines.length === 0 ? `no entries${whyEmpty === undefined ? "" : `: ${plain(whyEmpty)}`}\n` : table(["AT", "EVENT", "DIRECTION", "PORT", "SWITCH", "PROTOCOL", "FROM", "TO", "LOG", "RULES"], lines));
  }
  return 0;
}
