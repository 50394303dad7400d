// `axion drops`: what switches drop of packets of ports, and why.
import { stringify } from "yaml";
import type { Call } from "../call.ts";
import { cell, plainLines, table } from "../table.ts";
import { ask } from "./reports.ts";

export const dropReasons = ["port_security", "no_ipv6", "security_group_egress", "security_group_ingress", "unknown_vlan"] as const;
export interface DropOptions {
  readonly port?: string;
  readonly project?: string;
  readonly switch?: string;
  readonly reason?: string;
}

interface Drop {
  readonly port?: unknown;
  readonly name?: unknown;
  readonly project?: unknown;
  readonly switch?: unknown;
  readonly reason?: unknown;
  readonly packets?: unknown;
  readonly per_second?: unknown;
  readonly last_minute?: unknown;
  readonly last_seen?: unknown;
  readonly persistent_since?: unknown;
}

export async function drops(call: Call, options: DropOptions): Promise<number> {
  const body = await ask(call, "/drops", { ...options });
  if (call.json) await call.write(`${JSON.stringify(body)}\n`);
  else if (!Array.isArray(body)) await call.write(plainLines(stringify(body)));
  else if (body.length === 0) await call.write("no drops\n");
  else {
    const goesOn = (d: Drop): boolean => typeof d.persistent_since === "string";
    const late = (d: Drop): string => (typeof d.last_seen === "string" ? d.last_seen : "");
    const rows = (body as readonly Drop[]).toSorted((a, b) => Number(goesOn(b)) - Number(goesOn(a)) || (late(a) < late(b) ? 1 : late(a) > late(b) ? -1 : 0) || (cell(a.port) < cell(b.port) ? -1 : 1));
    await call.write(table(["PORT", "NAME", "PROJECT", "SWITCH", "REASON", "PACKETS", "LAST MINUTE", "PER SECOND", "LAST SEEN", "GOES ON SINCE"], rows.map((d) => [d.port, d.name, d.project, d.switch, d.reason, d.packets, d.last_minute, d.per_second, d.last_seen, d.persistent_since])));
  }
  return 0;
}
