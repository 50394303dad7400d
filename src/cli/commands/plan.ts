// `axion plan`: what a call of the API would come to, and the call made if that is still so. `axion receipts`: which switches have confirmed what.
import { readFileSync } from "node:fs";
import { fileErrorText } from "../../lib/files.ts";
import { UsageError } from "../../lib/usage-error.ts";
import type { Call } from "../call.ts";
import { changeText, flowsText, type Change, type SwitchFlows } from "./history.ts";
import { cell, plain, table } from "../table.ts";

export interface PlanOptions {
  readonly project?: string;
  readonly roles?: string;
  /** Token of a plan. */
  readonly apply?: string;
}

interface Pair {
  readonly from?: unknown;
  readonly to?: unknown;
  readonly ethertype?: unknown;
  readonly protocol?: unknown;
  readonly port?: unknown;
  readonly port_max?: unknown;
  readonly address?: unknown;
}

export interface Planned {
  readonly token?: unknown;
  readonly generation?: unknown;
  readonly answer?: { readonly status?: unknown };
  readonly objects?: readonly (Change & { readonly op?: unknown })[];
  readonly switches?: Readonly<Record<string, SwitchFlows>>;
  readonly reachability?: { readonly gained?: readonly Pair[]; readonly lost?: readonly Pair[]; readonly truncated?: unknown; readonly unexamined?: unknown };
}

/** JSON as it is given, or of a file with "@" before its name. @throws UsageError */
function bodyOf(given: string): unknown {
  let text = given;
  if (given.startsWith("@")) {
    const file = given.slice(1);
    try {
      text = readFileSync(file, "utf8");
    } catch (error) {
      throw new UsageError(`cannot read ${file === "" ? "a file without a name" : file}: ${fileErrorText(error)}`);
    }
  }
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new UsageError(`the body${given.startsWith("@") ? ` in ${given.slice(1)}` : ""} is not JSON`);
  }
}

export async function plan({ api, json, write }: Call, method: string, path: string, given: string | undefined, { project, roles, apply }: PlanOptions): Promise<number> {
  if (roles !== undefined && project === undefined) throw new UsageError("--roles are those of a --project's caller");
  if (apply === "") throw new UsageError("--apply: the token is empty");
  const call = { method, path, ...(given !== undefined && { body: bodyOf(given) }), ...(project !== undefined && { project }), ...(roles !== undefined && { roles }) };
  if (apply !== undefined) {
    const { status, body: answer, generation } = await api.post("/call", {}, { ...call, plan: apply });
    await write(json ? `${JSON.stringify({ status, generation: generation === undefined ? null : Number(generation), answer })}\n` : `${plain(method.toUpperCase())} ${plain(path)}: status ${status}, generation ${cell(generation)}\n`);
    return 0;
  }
  const { body } = await api.post("/plan", {}, call);
  await write(json ? `${JSON.stringify(body)}\n` : planText(body as Planned, `${method.toUpperCase()} ${path}`));
  return 0;
}

const left = (reachability: NonNullable<Planned["reachability"]>): string => (reachability.truncated === true ? `not all was looked at${reachability.unexamined === 0 ? "" : `: ${cell(reachability.unexamined)} more pairs and classes of traffic, at least`}` : "");

/** What a plan comes to, in a line. */
export function planLine({ switches = {}, reachability }: Planned): string {
  const flows = Object.entries(switches).map(([id, { add = [], change = [], remove = [] }]) => `${plain(id)} +${add.length} ~${change.length} -${remove.length}`);
  const [gained, lost] = [reachability?.gained?.length ?? 0, reachability?.lost?.length ?? 0];
  const pairs = reachability === undefined ? "" : gained + lost === 0 ? "; no ports gain or lose each other" : `; reachability +${gained} -${lost}`;
  return `${flows.length === 0 ? "no flows change" : `flows ${flows.join(", ")}`}${pairs}${reachability?.truncated === true ? `; ${left(reachability)}` : ""}`;
}

function planText({ token, generation, answer, objects = [], switches = {}, reachability }: Planned, call: string): string {
  const flows = Object.entries(switches).map(([id, those]) => flowsText(plain(id), those));
  const pair = (mark: string, { from, to, ethertype, protocol, port, port_max: last, address }: Pair): string => {
    const ports = cell(port) === "-" ? "" : ` ${cell(port)}${cell(last) === "-" ? "" : `-${cell(last)}`}`;
    return `  ${mark} ${cell(from)} -> ${cell(to)}${cell(address) === "-" ? "" : ` at ${cell(address)}`}  ${cell(protocol)}${ports}${ethertype === "IPv6" ? " by IPv6" : ""}\n`;
  };
  const pairs = [...(reachability?.gained ?? []).map((p) => pair("+", p)), ...(reachability?.lost ?? []).map((p) => pair("-", p))];
  const more = reachability?.truncated === true ? `  ${left(reachability)}\n` : "";
  return [
    `${plain(call)} as of generation ${cell(generation)}: status ${cell(answer?.status)}\n`,
    objects.length === 0 ? "no resource changes\n" : `resources\n${objects.map(changeText).join("")}`,
    flows.length === 0 ? "no flows change\n" : `flows\n${flows.join("")}`,
    ...(reachability === undefined ? [] : pairs.length + more.length === 0 ? ["no ports gain or lose each other\n"] : [`reachability\n${pairs.join("")}${more}`]),
    `to make it: the same with --apply ${cell(token)}, or the call with the header X-Axion-Plan: ${cell(token)}\n`,
  ].join("");
}

interface Receipt {
  readonly generation?: unknown;
  readonly call?: unknown;
  readonly project?: unknown;
  readonly committed_at?: unknown;
  readonly complete?: unknown;
  readonly switches?: Readonly<Record<string, { readonly sent_at?: unknown; readonly confirmed_at?: unknown; readonly ms?: unknown }>>;
}

export async function receipts({ api, json, write }: Call, generation: string | undefined, limit: string | undefined): Promise<number> {
  if (generation !== undefined && !/^\d{1,15}$/.test(generation)) throw new UsageError(`a generation is a whole number, not ${generation === "" ? "empty" : generation}`);
  if (generation !== undefined && limit !== undefined) throw new UsageError("one generation needs no --limit");
  const { body } = generation === undefined ? await api.get("/receipts", { limit }) : await api.get(`/receipts/${generation}`);
  if (json) await write(`${JSON.stringify(body)}\n`);
  else if (generation === undefined) await write(listText(body as readonly Receipt[]));
  else await write(receiptText(body as Receipt));
  return 0;
}

/** How many of a receipt's switches have confirmed, and the slowest of them. */
function progress({ switches = {} }: Receipt): readonly [of: string, slowest: unknown] {
  const all = Object.values(switches);
  const ms = all.map((told) => told.ms).filter((value) => typeof value === "number");
  return [`${ms.length}/${all.length}`, ms.length === 0 ? undefined : Math.max(...ms)];
}

function listText(list: readonly Receipt[]): string {
  if (list.length === 0) return "nothing was committed since the start\n";
  return table(["GENERATION", "COMMITTED", "CONFIRMED", "MS", "COMPLETE", "PROJECT", "CALL"], list.map((receipt) => {
    const [of, slowest] = progress(receipt);
    return [receipt.generation, receipt.committed_at, of, slowest, receipt.complete === true ? "yes" : "no", receipt.project, receipt.call];
  }));
}

function receiptText(receipt: Receipt): string {
  const switches = Object.entries(receipt.switches ?? {});
  const head = `${cell(receipt.generation)}  ${cell(receipt.committed_at)}  ${cell(receipt.call)}${cell(receipt.project) === "-" ? "" : `  project ${cell(receipt.project)}`}  ${receipt.complete === true ? "complete" : "not complete"}\n`;
  return head + (switches.length === 0 ? "no switch is concerned\n" : table(["SWITCH", "SENT", "CONFIRMED", "MS"], switches.map(([id, told]) => [id, told.sent_at, told.confirmed_at, told.ms])));
}
