// `axion problems`, `axion tunnels` and `axion access`: what is wrong now, and the access rules in force.
import { stringify } from "yaml";
import { OpsError, type Answer } from "../ops-api.ts";
import type { Call } from "../call.ts";
import { cell, plain, plainLines, table } from "../table.ts";

/** The answer, or an error that says that this controller is too old for the question. */
export const ask = async (call: Call, path: string, query: Readonly<Record<string, string>> = {}): Promise<unknown> => (await answerOf(call, path, query)).body;

/** The same with what its headers say. */
export async function answerOf({ api }: Call, path: string, query: Readonly<Record<string, string>> = {}): Promise<Answer> {
  try {
    return await api.get(path, query);
  } catch (error) {
    // What a parameter names may not be there either.
    if (!(error instanceof OpsError) || error.code !== "NOT_THERE" || error.message.startsWith("--")) throw error;
    throw new OpsError("NOT_THERE", `the controller at ${api.url} has no GET ${path} (404): its version does not answer this`, error);
  }
}

interface Problem {
  readonly kind?: unknown;
  readonly severity?: unknown;
  readonly since?: unknown;
  readonly text?: unknown;
  readonly resources?: readonly { readonly type?: unknown; readonly id?: unknown }[];
  readonly switches?: unknown;
  readonly cure?: { readonly text?: unknown } | string;
}

export async function problems(call: Call): Promise<number> {
  const body = await ask(call, "/problems");
  if (call.json) await call.write(`${JSON.stringify(body)}\n`);
  else if (!Array.isArray(body)) await call.write(plainLines(stringify(body)));
  else if (body.length === 0) await call.write("no problems\n");
  else {
    for (const p of body as readonly Problem[]) {
      const cure = typeof p.cure === "object" ? p.cure.text : p.cure;
      const lines = [
        ["since", p.since],
        ["switches", p.switches],
        ["resources", p.resources?.map((r) => `${String(r.type)}:${String(r.id)}`)],
        ["cure", cure],
      ] as const;
      await call.write(`${cell(p.severity)} ${cell(p.kind)}: ${cell(p.text)}\n${lines.filter(([, value]) => cell(value) !== "-").map(([name, value]) => `  ${name.padEnd(9)}  ${cell(value)}\n`).join("")}`);
    }
  }
  return 0;
}

interface Tunnel {
  readonly from?: unknown;
  readonly to?: unknown;
  readonly type?: unknown;
  readonly state?: unknown;
  readonly since?: unknown;
  readonly latency_ms?: unknown;
  readonly loss?: unknown;
  readonly mtu?: unknown;
  readonly bfd?: unknown;
}

export const tunnelStates = ["down", "unknown", "up"] as const;
export interface TunnelOptions {
  readonly switch?: string;
  readonly state?: string;
}

export async function tunnels(call: Call, options: TunnelOptions): Promise<number> {
  const body = await ask(call, "/tunnels", { ...(options.switch !== undefined && { switch: options.switch }), ...(options.state !== undefined && { state: options.state }) });
  if (call.json) await call.write(`${JSON.stringify(body)}\n`);
  else if (!Array.isArray(body)) await call.write(plainLines(stringify(body)));
  else if (body.length === 0) await call.write("no tunnels\n");
  else {
    const rank = ({ state }: Tunnel): number => (state === "down" ? 0 : state === "unknown" ? 1 : 2);
    const byName = new Intl.Collator("en", { numeric: true });
    const rows = (body as readonly Tunnel[]).toSorted((a, b) => rank(a) - rank(b) || byName.compare(cell(a.from), cell(b.from)) || byName.compare(cell(a.to), cell(b.to)));
    const percent = (loss: unknown): unknown => (typeof loss === "number" ? `${Math.round(loss * 100)}%` : loss);
    await call.write(table(["FROM", "TO", "TYPE", "STATE", "SINCE", "LATENCY (ms)", "LOSS", "MTU", "BFD"], rows.map((t) => [t.from, t.to, t.type, t.state, t.since, t.latency_ms, percent(t.loss), t.mtu, t.bfd])));
  }
  return 0;
}

interface Rule {
  readonly name?: unknown;
  readonly rule?: unknown;
  /** null: only the file has it. */
  readonly default?: unknown;
}

export async function access(call: Call): Promise<number> {
  const body = await ask(call, "/policy", { format: "json" });
  if (call.json) {
    await call.write(`${JSON.stringify(body)}\n`);
    return 0;
  }
  const { rules, problem } = body as { readonly rules?: readonly Rule[]; readonly problem?: unknown };
  if (!Array.isArray(rules)) await call.write(plainLines(stringify(body)));
  else if (rules.length === 0) await call.write("no access rules\n");
  else await call.write(table(["ACTION", "FROM", "RULE"], (rules as readonly Rule[]).map((r) => [r.name, r.default === undefined || r.rule === r.default ? "default" : "file", r.rule])));
  if (typeof problem === "string" && problem !== "") call.warn(plain(problem));
  return 0;
}
