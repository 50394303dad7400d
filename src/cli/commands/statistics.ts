// `axion statistics`: what ports, routers and floating IPs let pass.
import { stringify } from "yaml";
import type { Call } from "../call.ts";
import { plainLines, table } from "../table.ts";
import { ask } from "./reports.ts";

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
