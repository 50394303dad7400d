// What the demo proves of explanations: the way that a packet goes is told switch by switch, and of one that does not arrive why, and what helps.

import { until } from "../../exec.ts";
import { type Outcome, Surprise } from "../report.ts";
import type { Guest, Tenant } from "../tenants.ts";
import { backOf, type World } from "../world.ts";

interface Call {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}
interface Way {
  readonly verdict: string;
  readonly delivered: readonly { readonly switch: string; readonly id?: string }[];
  readonly hops: readonly { readonly switch: string; readonly table: string; readonly installed: boolean }[];
  readonly cause: { readonly reason: string; readonly text: string; readonly cure: { readonly text: string; readonly call?: Call } } | null;
  readonly answer?: Way | null;
}

/** What was traced, for the end of the demo. */
export interface Story {
  readonly lines: readonly string[];
}

const WIDTH = 110;

async function traced({ controller }: World, from: Guest, to: Guest, port: number): Promise<Way> {
  const { status, body } = await controller.ops("POST", "/trace", { from: from.port.id, to: to.port.id, protocol: "tcp", port });
  if (status !== 200) throw new Surprise("POST /trace: 200", `${status} ${JSON.stringify(body)}`);
  return body as Way;
}

/** A line for each switch that the packet passes: the tables that it looks into. */
function wayLines({ hops }: Way): string[] {
  const lines: string[] = [];
  let last = "";
  for (const { switch: host, table } of hops) {
    const word = last === host ? ` > ${table}` : `    ${host}  ${table}`;
    if (last !== host) lines.push(word);
    else if (lines.at(-1)!.length + word.length <= WIDTH) lines.push(`${lines.pop()!}${word}`);
    else lines.push(`         ${word.slice(1)}`);
    last = host;
  }
  return lines;
}

/** From one host to another by a tunnel, and back. */
export async function delivered(world: World): Promise<Outcome & Story> {
  const { red } = world;
  const [from, to] = [red.guests[0]!, red.guests[1]!];
  const way = await traced(world, from, to, 22);
  const hosts = [...new Set(way.hops.map((hop) => hop.switch))];
  return {
    held: way.verdict === "delivered" && way.delivered.some(({ id }) => id === to.port.id) && way.answer?.verdict === "delivered" && way.hops.every(({ installed }) => installed),
    figure: `tcp/22 from ${from.name} to ${to.name}: ${way.hops.length} lookups on ${hosts.join(" and ")}, ${way.verdict}, and the answer ${way.answer?.verdict ?? "is none"}`,
    expected: "delivered, and the answer too, by flows that the switches have",
    ...(way.cause !== null && { seen: way.cause.text }),
    lines: [`  tcp/22 from ${from.name} to ${to.name}, by the flows that the switches have:`, ...wayLines(way), `    ${way.verdict} to ${to.name} on ${to.hypervisor.name}${way.answer?.verdict === "delivered" ? `, and what it answers to ${from.name}` : ""}`],
  };
}

/** A security group lets nothing in: the trace says so and what would, which is done, and helps. */
export async function dropped(world: World, waiting: (awaited: string) => void): Promise<Outcome & Story> {
  const { red } = world;
  const [from, to] = [red.guests[0]!, backOf(red)];
  const way = await traced(world, from, to, 80);
  const { cause } = way;
  const call = cause?.cure.call;
  if (cause?.reason !== "security_group" || call === undefined) throw new Surprise("dropped because of a security group, with the rule that helps", JSON.stringify(cause ?? way.verdict));
  const listening = await to.vm.listen(80);
  const made = await makeRule(red, call);
  waiting("tcp/80 open by the rule that the trace named");
  await until("tcp/80 open by the rule that the trace named", () => from.vm.connectTcp(to.ip, 80, 300), { timeoutMs: 5000, intervalMs: 10 });
  const then = await traced(world, from, to, 80);
  await Promise.all([listening.close(), red.call("DELETE", `/v2.0/security-group-rules/${made}`, undefined, 204)]);
  return {
    held: way.verdict === "dropped" && then.verdict === "delivered",
    figure: `tcp/80 from ${from.name} to ${to.name}: ${way.verdict}, ${cause.reason}; its cure made, ${then.verdict}, and it connects`,
    expected: "dropped, then delivered",
    lines: [
      `  tcp/80 from ${from.name} to ${to.name}:`, ...wayLines(way),
      `    ${way.verdict}, ${cause.reason}: ${cause.text.replace(to.port.id, to.name)}`,
      `    ${cause.cure.text}:`, `    ${call.method} ${call.path} ${JSON.stringify(call.body)}`,
    ],
  };
}

/** Makes the rule as the tenant; its id. */
async function makeRule(tenant: Tenant, { method, path, body }: Call): Promise<string> {
  return (await tenant.call<{ security_group_rule: { id: string } }>(method, path, body, 201)).security_group_rule.id;
}

/** The console, as a browser asks for it. */
export async function consoleServed({ controller }: World): Promise<Outcome> {
  const { status, body } = await controller.ops<string>("GET", "/console/");
  return { held: status === 200 && body.includes("<script"), figure: `${status}, a page of ${body.length} characters`, expected: "200, a page" };
}
