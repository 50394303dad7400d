// `axion policy`: rules of security groups, what each has let pass, and the calls that would tighten them.
import { stringify } from "yaml";
import type { Call } from "../call.ts";
import { UsageError } from "../../lib/usage-error.ts";
import { OpsError } from "../ops-api.ts";
import { cell, plain, plainLines, table } from "../table.ts";
import { planLine, type Planned } from "./plan.ts";
import { ask } from "./reports.ts";

/** Calls that are planned at most; the others wait until these are made. A project's plans are kept in this number and a little more (docs/plan.md). */
const PLANNED = 50;

export interface RuleOptions {
  readonly project?: string;
  readonly group?: string;
  readonly port?: string;
  readonly unusedFor?: string;
  readonly shadowed?: true;
  readonly tighten?: true;
  readonly plan?: true;
}

interface Rule {
  readonly id?: unknown;
  readonly group?: unknown;
  readonly group_name?: unknown;
  readonly direction?: unknown;
  readonly ethertype?: unknown;
  readonly protocol?: unknown;
  readonly port_range_min?: unknown;
  readonly port_range_max?: unknown;
  readonly remote?: unknown;
  readonly ports?: unknown;
  readonly use?: unknown;
  readonly packets?: unknown;
  readonly last_hit?: unknown;
  readonly since?: unknown;
  readonly broad?: unknown;
  readonly shadowed_by?: unknown;
  readonly tighten?: { readonly why?: unknown; readonly method?: unknown; readonly path?: unknown } | null;
}

export async function rules(call: Call, { unusedFor, shadowed, tighten, plan, ...same }: RuleOptions): Promise<number> {
  if (plan === true && tighten !== true) throw new UsageError("--plan is for --tighten");
  const body = await ask(call, "/rules", { ...same, ...(unusedFor !== undefined && { "unused-for": unusedFor }), ...(shadowed === true && { shadowed: "true" }) });
  if (!Array.isArray(body)) {
    await call.write(call.json ? `${JSON.stringify(body)}\n` : plainLines(stringify(body)));
    return 0;
  }
  const all = (body as readonly Rule[]).filter((rule) => tighten !== true || (rule.tighten ?? null) !== null);
  if (plan === true && all.length > 0) return plans(call, all);
  if (call.json) await call.write(`${JSON.stringify(all)}\n`);
  else if (all.length === 0) await call.write(tighten === true ? "nothing to tighten\n" : "no rules\n");
  else if (tighten === true) await call.write(all.map(callOf).join(""));
  else await call.write(table(["RULE", "GROUP", "ALLOWS", "PORTS", "USE", "PACKETS", "LAST HIT", "COUNTED SINCE", "BROAD", "SHADOWED BY"], all.map((r) => [r.id, nameOf(r), saidOf(r), r.ports, r.use, r.packets, r.last_hit, r.since, r.broad, r.shadowed_by])));
  return 0;
}

const callOf = (rule: Rule): string => `${cell(rule.tighten!.method)} ${cell(rule.tighten!.path)}  # ${cell(rule.tighten!.why)}: ${saidOf(rule)}, group ${nameOf(rule)}\n`;

/** What each call comes to; one that cannot be planned any more makes the exit code 1. */
async function plans({ api, json, write, warn }: Call, rules: readonly Rule[]): Promise<number> {
  let code = 0;
  for (const rule of rules.slice(0, PLANNED)) {
    const { method, path } = rule.tighten!;
    try {
      const planned = (await api.post("/plan", {}, { method, path })).body as Planned;
      await write(json ? `${JSON.stringify({ ...rule, plan: planned })}\n` : `${callOf(rule)}  ${planLine(planned)}\n  axion plan ${cell(method)} ${cell(path)} --apply ${cell(planned.token)}\n`);
    } catch (error) {
      if (!(error instanceof OpsError) || !["REFUSED", "NOT_THERE"].includes(error.code)) throw error;
      warn(`${cell(method)} ${cell(path)}: ${plain(error.message)}`);
      code = 1;
    }
  }
  if (rules.length > PLANNED) warn(`${rules.length - PLANNED} more are not planned: make these first`);
  return code;
}

const nameOf = ({ group, group_name: name }: Rule): string => cell(name === "" || name === undefined ? group : name);

function saidOf({ direction, ethertype, protocol, port_range_min: min, port_range_max: max, remote }: Rule): string {
  const ports = min === null || min === undefined ? [] : [max === null || max === undefined || max === min ? cell(min) : `${cell(min)}-${cell(max)}`];
  return [cell(direction), cell(ethertype), protocol === null || protocol === undefined ? "any" : cell(protocol), ...ports, direction === "egress" ? "to" : "from", remote === null || remote === undefined ? "anybody" : cell(remote)].join(" ");
}
